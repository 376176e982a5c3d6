"""managementPolicy ObserveOnly: everything is looked at and told, nothing outside is changed. Pure."""

from __future__ import annotations

from reconciler.core.actions import (
    Adopt,
    BindCreated,
    ClearSlot,
    CountCrash,
    Decision,
    Detach,
    GiveUpIntent,
    LeaveLocal,
    NoteSession,
    Release,
    Wait,
    is_action,
)
from reconciler.core.taskactions import ExpireTask, Finish, Landed, Progress, TryAgain

FACTS = (
    BindCreated,
    Adopt,
    GiveUpIntent,
    ClearSlot,
    Detach,
    LeaveLocal,
    Release,
    CountCrash,
    NoteSession,
    Landed,
    Progress,
    Finish,
    TryAgain,
    ExpireTask,
)
"""Acts that only write into our own books (a `Detach` under ObserveOnly is always `Leave`)."""


def only_observe(decision: Decision) -> Decision:
    """What is left of a decision when nothing outside may be changed."""
    if not is_action(decision) or isinstance(decision, FACTS):
        return decision
    return Wait("ObserveOnly", f"managementPolicy ObserveOnly: {type(decision).__name__} is not done")
