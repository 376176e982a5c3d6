"""managementPolicy ObserveOnly: everything is looked at and told, nothing outside is changed. Pure."""

from __future__ import annotations

from reconciler.core.actions import (
    Adopt,
    CountCrash,
    Decision,
    Forget,
    GiveUpIntent,
    LeaveLocal,
    LetGo,
    NoteSession,
    Release,
    TakeOver,
    Wait,
    is_action,
)
from reconciler.core.taskactions import Bury, Finish, Landed, Progress, TryAgain

FACTS = (
    Adopt,
    TakeOver,
    GiveUpIntent,
    Forget,
    LetGo,
    LeaveLocal,
    Release,
    CountCrash,
    NoteSession,
    Landed,
    Progress,
    Finish,
    TryAgain,
    Bury,
)
"""Acts that only write into our own books (a `LetGo` under ObserveOnly is always `Leave`)."""


def only_observe(decision: Decision) -> Decision:
    """What is left of a decision when nothing outside may be changed."""
    if not is_action(decision) or isinstance(decision, FACTS):
        return decision
    return Wait("ObserveOnly", f"managementPolicy ObserveOnly: {type(decision).__name__} is not done")
