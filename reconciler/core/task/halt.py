"""What a halted fleet means for a task: nothing is said to its agent, no new work and no word in a turn, and no turn is cut off by
the escalation. Declared ends (cancel, deadline, time, turns, budget) hold as ever. Pure."""

from __future__ import annotations

from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions import Wait
from reconciler.core.snapshot.task import TaskView


def is_halted(v: TaskView) -> bool:
    """Whether the fleet is halted."""
    return v.no_work is not None and v.no_work.reason is TreeReason.HALTED


def wait_while_halted(v: TaskView, until: float | None = None) -> Wait | None:
    """What would be sent waits until the fleet goes on. `until`: when the nearest limit of the task passes."""
    return Wait(v.no_work.reason, v.no_work.message, until=until) if v.no_work is not None and is_halted(v) else None
