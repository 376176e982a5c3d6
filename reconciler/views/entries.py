"""A conversation as pieces that people read one after the other: who, when, and what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.core.messages import Message
from reconciler.core.times import timestamp

_WHO = {"assistant": "agent"}


@dataclass(frozen=True, slots=True)
class Entry:
    """`title`: who said it, and when where that is known, in one line."""

    title: str
    text: str


def entries(messages: Iterable[Message], tools: dict[str, str]) -> Iterator[Entry]:
    """Prompts, answers with the tool calls in them (`> TOOL: ABOUT`), and what tools gave. A piece without any text is left out. `tools`:
    which tool was called, by call; those of these messages are added, for what comes later."""
    for one in messages:
        who = _WHO.get(one.role, one.role)
        if one.role == "toolResult":
            who = f"tool {tools.get(one.result_of, '')}".strip() + (", failed" if one.failed else "")
        calls = []
        for call in one.calls:
            tools[call.call_id] = call.tool
            calls.append(f"> {call.tool}: {call.about}" if call.about else f"> {call.tool}")
        error = [f"! {one.error}"] if one.error else []
        text = "\n".join([*([one.text.strip("\n")] if one.text.strip() else []), *calls, *error])
        if text:
            yield Entry(f"{who} {timestamp(one.at)}" if one.at else who, text)
