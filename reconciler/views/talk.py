"""A conversation a page at a time, from its end, however long it is: each page reads a bounded piece of the mirror."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from reconciler.core.conversation import parse
from reconciler.core.keys import Json, JsonValue
from reconciler.core.messages import Message, ToolCall
from reconciler.core.times import timestamp

WINDOW = 1 << 18
"""Bytes read at first; four times as many each time, where they hold too few messages."""
MOST_READ = 1 << 24
"""Bytes that one page reads at most. A line that is longer is passed over, and said to be."""
MOST_MESSAGES = 200
TEXT = 16384
"""Characters of one message."""
PAGE_TEXT = 1 << 20
"""Characters of all messages of a page."""


class Mirror(Protocol):
    """The part of a store that keeps conversations."""

    async def session(self, session: str, offset: int = 0, limit: int = ...) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Talk:
    """A piece of a conversation, oldest first. `start`, `end`: its bytes in the mirror. `size`: of the whole mirror. `skipped`: bytes
    between `start` and the first message that are too long a line to be shown."""

    messages: tuple[Message, ...]
    start: int
    end: int
    size: int
    skipped: int = 0

    def document(self) -> Json:
        """For programs. `before`: what to ask for to get the piece before this one; None: this is the beginning."""
        messages: list[JsonValue] = [message_document(one) for one in self.messages]
        before = self.start if self.start > 0 else None
        return {"messages": messages, "start": self.start, "end": self.end, "size": self.size, "before": before, "skipped": self.skipped}


async def size_of(store: Mirror, session: str, known: int = 0) -> int:
    """How long a mirror is; at least `known`. Asks for a byte at a time, by doubling and halving."""
    if not session or not await store.session(session, known, 1):
        return known
    low, step = known, 1 << 16
    while await store.session(session, low + step, 1):
        low, step = low + step, step * 2
    while step > 1:
        step //= 2
        if await store.session(session, low + step, 1):
            low += step
    return low + 1


async def talk(store: Mirror, session: str, size: int, before: int | None = None, limit: int = 50, after: int | None = None) -> Talk:
    """The last `limit` messages that end at `before` (None: at the end of the mirror), none that begins before `after`. The mirror
    holds whole lines."""
    end = min(size, before if before is not None else size)
    floor = min(after or 0, end)
    start, window = end, WINDOW
    found: tuple[Message, ...] = ()
    skipped = 0
    while start > floor:
        begin = max(floor, end - window)
        data = await _read(store, session, begin, end)
        whole = begin == 0 or begin == floor
        line = 0 if whole else data.find(b"\n") + 1
        if line > 0 or whole:
            found, _ = await asyncio.to_thread(parse, data[line:], begin + line, TEXT)
            start = begin + line
        if whole or len(found) >= limit or window >= MOST_READ:
            if start == end and not whole:  # not one whole line in all of this: it is passed over
                start, skipped = begin, end - begin
            break
        window = min(window * 4, MOST_READ)
    kept = _bounded(found[-limit:])
    first = kept[0].offset if kept and (len(kept) < len(found)) else start
    return Talk(kept, first, end, size, skipped)


async def _read(store: Mirror, session: str, begin: int, end: int) -> bytes:
    pieces: list[bytes] = []
    while begin < end and (data := await store.session(session, begin, end - begin)):
        pieces.append(data)
        begin += len(data)
    return b"".join(pieces)


def _bounded(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The last ones, as many as there is room for; at least one."""
    room, kept = PAGE_TEXT, 0
    for one in reversed(messages):
        room -= len(one.text) + len(one.error)
        if room < 0 and kept:
            break
        kept += 1
    return tuple(messages[len(messages) - kept :])


def message_document(one: Message) -> Json:
    """For programs; what is empty is left out."""
    calls: list[JsonValue] = [{"id": call.call_id, "tool": call.tool, "about": call.about} for call in one.calls]
    told: Json = {
        "id": one.entry_id,
        "offset": one.offset,
        "role": one.role,
        "at": timestamp(one.at) if one.at else "",
        "text": one.text,
        "bytes": one.text_bytes,
        "stopReason": one.stop_reason,
        "error": one.error,
        "calls": calls,
        "resultOf": one.result_of,
        "failed": one.failed,
    }
    return {name: value for name, value in told.items() if value or name in ("offset", "role", "text")}


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call and what came of it; `result` None: nothing in this piece of the conversation."""

    call: ToolCall
    result: Message | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said, with the tools that were called in it."""

    said: Message
    calls: tuple[Call, ...] = field(default_factory=tuple)


def turns(messages: Sequence[Message]) -> list[Turn]:
    """The same messages with results beside the calls that they answer; a result whose call is not among them stands alone."""
    results: Mapping[str, Message] = {one.result_of: one for one in messages if one.role == "toolResult" and one.result_of}
    calls = {call.call_id for one in messages for call in one.calls if call.call_id}
    found: list[Turn] = []
    for one in messages:
        if one.role == "toolResult" and one.result_of in calls:
            continue
        found.append(Turn(one, tuple(Call(call, results.get(call.call_id)) for call in one.calls)))
    return found


def shortened(one: Message, characters: int) -> Message:
    """With at most so many characters of text."""
    return one if len(one.text) <= characters else replace(one, text=one.text[:characters] + " […]")
