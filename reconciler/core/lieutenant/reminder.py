"""What an agent was told at the beginning of its conversation, said again after the conversation was shortened. Pure.

The conversation is the witness: that it was shortened is an entry of its file, and so is that the agent was told again since."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.api.governreasons import GovernReason
from reconciler.api.status.base import Condition
from reconciler.core.messages import Compaction, Message
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.session import NOT_COMPACTED, Compacted
from reconciler.core.snapshot.stages import GovernPart

DRIFTS_AFTER = 3
"""Answers of the model since the conversation was shortened, from which on an agent that was not told again may have drifted. Those of
the round that is on when it is shortened come before anything can be said."""


def mark_of(compaction: str) -> str:
    """What makes it findable in the conversation."""
    return f"[reminder {compaction}]"


def compacted_of(times: int, last: Compaction | None, messages: Sequence[Message]) -> Compacted:
    """What a conversation tells of having been shortened."""
    if last is None:
        return NOT_COMPACTED
    mark, told, answers = mark_of(last.entry_id), False, 0
    for message in reversed(messages):
        if message.offset < last.offset:
            break
        told = told or (message.role == "user" and mark in message.text)
        answers += message.role == "assistant"
    return Compacted(times, last.entry_id, last.at, told, answers)


def to_be_said(v: GovernPart) -> str:
    """What must be said again: the compaction, '' for nothing."""
    return v.compacted.untold if isinstance(v.lt.rendered, Rendered) and v.lt.rendered.reminder else ""


def in_a_prompt(compaction: str, said: str) -> str:
    """In words, at the head of the next prompt."""
    return (
        f"{mark_of(compaction)} Your conversation has been shortened. What you were told at its beginning holds as before, and is said "
        f"again here.\n\n{said}"
    )


def in_a_turn(compaction: str, said: str) -> str:
    """The same in the middle of a turn."""
    return f"{in_a_prompt(compaction, said)}\n\nThis needs no answer of its own: go on with your work, and end it as you were asked to."


def drift_condition(v: GovernPart) -> Condition | None:
    """G-27: an agent that goes on without having been told again may do otherwise than declared; nobody is left to believe that it
    was told."""
    compaction = to_be_said(v)
    if not compaction or v.compacted.answers < DRIFTS_AFTER:
        return None
    since = f"its conversation was shortened (compaction {compaction}), and role and directive were not said again since"
    return Condition("OutputDrift", "True", GovernReason.OUTPUT_DRIFT, f"{since}; its next prompt says them")
