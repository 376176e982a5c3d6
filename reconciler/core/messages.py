"""The conversation as it is read from the session file."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

PAID = "usage"
"""The role of what is no message and was paid for all the same."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money of messages, as pi reports them; `cost` in US dollars."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost: Decimal = Decimal(0)

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.cost + other.cost,
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call: its id, the tool, and what it is about (a path, a command), bounded."""

    call_id: str
    tool: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One finished message of the session file. `offset`: byte position of its line. `stop_reason` and `usage` only for
    the assistant; `text` is the message's text parts joined (bounded by the reader),
    `text_bytes` the length of all of it. `calls`: the tool calls of an assistant's
    message; `result_of`: the call that this result answers, `failed` when it says so. `model`: PROVIDER/MODEL that answered."""

    entry_id: str
    offset: int
    role: str  # user | assistant | toolResult | system; PAID only where costs are told
    text: str
    stop_reason: str = ""
    error: str = ""
    usage: Usage = Usage()
    at: float = 0.0
    calls: tuple[ToolCall, ...] = ()
    text_bytes: int = 0
    result_of: str = ""
    failed: bool = False
    model: str = ""


@dataclass(frozen=True, slots=True)
class Compaction:
    """That the conversation was shortened, as its file has it. `entry_id`: pi's own; `offset`: byte position of its line; `at`: by the
    machine's clock."""

    entry_id: str
    offset: int
    at: float = 0.0


def in_order(messages: tuple[Message, ...], usages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Both, as they stand in the file."""
    return tuple(sorted((*messages, *usages), key=lambda one: one.offset)) if usages else messages
