"""pi's session file, read into messages. Pure and incremental: give it the bytes that follow, with their offset.

The file is JSON lines; each finished message is one entry `{"type":"message","id",…,"message":{…}}` (pi-rpc §5). Entries of
other types, and what is not JSON, are passed over; an unfinished last line is left for the next time."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from decimal import Decimal

from reconciler.core.messages import PAID, Compaction, Message, ToolCall, Usage
from reconciler.core.times import seconds

TEXT_LIMIT = 65536
MAX_CALLS = 100
ABOUT_LIMIT = 1024
ABOUT = ("path", "file_path", "command")
FILE_TOOLS = frozenset({"write", "edit"})
CUT = "\n[… cut here; the whole text is in the session file]\n"
Loose = dict[str, object]
SUMMARIES = frozenset({"compaction", "branch_summary"})
"""Entries that a model was asked for, and that name none."""
_PAID = re.compile(rb'^\{"type": ?"(?:usage|compaction|branch_summary)"', re.M)
"""How pi begins such an entry; every answer has a `usage`, too, so that word alone would find them all."""


def parse(data: bytes, base: int, limit: int = TEXT_LIMIT) -> tuple[tuple[Message, ...], int]:
    """`data`: bytes of the file from offset `base`, which must be the start of a line. Returns the messages of all complete
    lines, their texts at most `limit` characters, and how many bytes those lines take."""
    messages: list[Message] = []
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        message = read_line(data[at:end], base + at, limit)
        if message is not None:
            messages.append(message)
        at = end + 1
    return tuple(messages), at


def compactions(data: bytes, base: int) -> tuple[Compaction, ...]:
    """Where the conversation was shortened: the entries `{"type":"compaction","id",…}` of all complete lines, as for `parse`."""
    found: list[Compaction] = []
    at = data.find(b'"compaction"')
    while at >= 0 and (end := data.find(b"\n", at)) >= 0:
        begin = data.rfind(b"\n", 0, at) + 1
        if (entry := read_compaction(data[begin:end], base + begin)) is not None:
            found.append(entry)
        at = data.find(b'"compaction"', end)
    return tuple(found)


def usages(data: bytes, base: int) -> tuple[Message, ...]:
    """What was spent beside the messages, as the entries of all complete lines tell, as for `parse`: `{"type":"usage","kind",…}` of facts
    that were looked for and of what pi itself asks for beside a turn, and `{"type":"compaction",…,"usage"}` of a summary. Their role is
    `PAID`; those of summaries don't say which model it was."""
    lines = [(at.start(), data.find(b"\n", at.start())) for at in _PAID.finditer(data)]
    found = [read_usage(data[begin:end], base + begin) for begin, end in lines if end >= 0]
    return tuple(one for one in found if one is not None)


def read_usage(line: bytes, offset: int) -> Message | None:
    """One entry, or None when it is another."""
    try:
        entry = json.loads(line.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not (entry.get("type") == "usage" or (entry.get("type") in SUMMARIES and entry.get("usage"))):
        return None
    spent, at = usage_of(entry.get("usage")), time_of(entry.get("timestamp"))
    return Message(storable(str(entry.get("id", "")))[:200], offset, PAID, "", usage=spent, at=at, model=model_of(entry))


def read_compaction(line: bytes, offset: int) -> Compaction | None:
    """One entry, or None when it is another."""
    try:
        entry = json.loads(line.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.get("type") != "compaction":
        return None
    return Compaction(storable(str(entry.get("id", "")))[:64], offset, time_of(entry.get("timestamp")))


def read_line(line: bytes, offset: int, limit: int = TEXT_LIMIT) -> Message | None:
    """One entry, or None when it is no message."""
    try:
        return _message(json.loads(line.decode(errors="replace")), offset, limit)
    except (ValueError, RecursionError):  # an agent can write to its own session file: nothing in it may harm us (G-65)
        return None


def _message(entry: object, offset: int, limit: int) -> Message | None:
    if not isinstance(entry, dict) or entry.get("type") != "message" or not isinstance(entry.get("message"), dict):
        return None
    said: Loose = entry["message"]
    return Message(
        entry_id=storable(str(entry.get("id", "")))[:200],
        offset=offset,
        role=storable(str(said.get("role", "")))[:200],
        text=text_of(said.get("content"), limit),
        text_bytes=len(joined(said.get("content")).encode(errors="replace")),
        stop_reason=storable(str(said.get("stopReason") or ""))[:TEXT_LIMIT],
        error=storable(str(said.get("errorMessage") or ""))[:TEXT_LIMIT],
        usage=usage_of(said.get("usage")),
        at=time_of(entry.get("timestamp")),
        calls=calls_of(said.get("content")),
        result_of=storable(str(said.get("toolCallId") or ""))[:200],
        failed=said.get("isError") is True,
        model=model_of(said),
    )


def calls_of(content: object) -> tuple[ToolCall, ...]:
    """The tool calls in a message, in order: `{"type": "toolCall", "id", "name", "arguments"}` (pi-rpc §5)."""
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "toolCall"] if isinstance(content, list) else []
    return tuple(
        ToolCall(storable(str(part.get("id", "")))[:200], storable(str(part.get("name", "")))[:100], about_of(part.get("arguments")))
        for part in parts[:MAX_CALLS]
    )


def about_of(arguments: object) -> str:
    """What a call is about, in one bounded string: the file, the command, or nothing."""
    if not isinstance(arguments, dict):
        return ""
    found = next((arguments[name] for name in ABOUT if isinstance(arguments.get(name), str)), "")
    return storable(str(found)[:ABOUT_LIMIT])


def files_written(messages: Iterable[Message]) -> tuple[str, ...]:
    """The files that successful calls of pi's file tools named, each once, in the order of their first writing."""
    paths: dict[str, str] = {}
    written: dict[str, None] = {}
    for message in messages:
        paths.update({call.call_id: call.about for call in message.calls if call.tool in FILE_TOOLS and call.about})
        if message.role == "toolResult" and not message.failed and message.result_of in paths:
            written[paths[message.result_of]] = None
    return tuple(written)


def text_of(content: object, limit: int = TEXT_LIMIT) -> str:
    """The text parts, joined; bounded: what is too long keeps its beginning and its end, with an explicit mark where it was cut."""
    text = joined(content)
    text = text if len(text) <= limit else text[: limit // 2] + CUT + text[-(limit // 2) :]
    return storable(text)


def joined(content: object) -> str:
    """The text parts, whole."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict) and part.get("type") == "text")
    return content if isinstance(content, str) else ""


def storable(text: str) -> str:
    """Without what no database and no UTF-8 can hold: NULs and half characters, which models do produce."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def usage_of(usage: object) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    cost = usage.get("cost")
    total = cost.get("total", 0.0) if isinstance(cost, dict) else 0.0
    return Usage(
        input=_whole(usage.get("input")),
        output=_whole(usage.get("output")),
        cache_read=_whole(usage.get("cacheRead")),
        cache_write=_whole(usage.get("cacheWrite")),
        cost=_money(total),
    )


def time_of(timestamp: object) -> float:
    """Seconds since the epoch by the machine's clock (for showing, never for deciding); 0 when there is none."""
    return seconds(timestamp) or 0.0


def model_of(said: Loose) -> str:
    """PROVIDER/MODEL of an answer; '' for anything else."""
    provider, model = said.get("provider"), said.get("model")
    return storable(f"{provider}/{model}")[:200] if isinstance(provider, str) and isinstance(model, str) and model else ""


def _money(value: object) -> Decimal:
    """Exactly what stands there: the shortest number that reads as this one."""
    return Decimal(str(_finite(value))) if value else Decimal(0)


def _finite(value: object) -> float:
    number = float(value) if isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 63) else 0.0
    return number if math.isfinite(number) else 0.0


def _whole(value: object) -> int:
    return int(_finite(value))
