"""What an agent was told at its beginning is said again in the middle of a turn in which its conversation was shortened. Pure."""

from __future__ import annotations

from reconciler.core.decisions import Decision, Remind
from reconciler.core.snapshot.task import TaskView
from reconciler.core.task.halt import is_halted
from reconciler.core.task.view import answered

MOST_TRIES = 3
"""How often it is handed to the keeper in one turn, always under the same key: the keeper forwards it once."""


def say_it_again(v: TaskView) -> Decision | None:
    """G-27: once its conversation was shortened an agent is told role and directive again, in the turn that is on; where that is about to
    end, its next prompt says it."""
    if v.record.phase != "Running" or v.record.abort or v.talk is None or not v.talk.up or v.talk.settled or answered(v):
        return None
    if not v.untold or v.held_by or v.other_steer or is_halted(v):
        return None
    if v.reminder.compaction != v.untold:
        return Remind(v.untold)
    due = when_to_say_it_again(v)
    return Remind(v.untold) if due is not None and v.now >= due else None


def when_to_say_it_again(v: TaskView) -> float | None:
    """When what was begun and is not seen in the conversation is offered once more."""
    if not v.untold or v.reminder.compaction != v.untold or v.reminder.tries >= MOST_TRIES or is_halted(v):
        return None
    return v.reminder.at + v.land_seconds
