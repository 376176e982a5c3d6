"""The snapshot of a lieutenant once something about its budgets or its rest was written down. Pure."""

from __future__ import annotations

from reconciler.core.decisions import GovernAction, NoteHours, NoteRest, NoteSpending, NoteWake
from reconciler.core.records import BudgetRecord, RestRecord
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.values import replaced

SHORTEST = 0.001
"""Seconds that a wake took at least, so that one that was measured is told from one that was not."""


def after_governing(lt: LieutenantView, action: GovernAction) -> LieutenantView:
    """Its record, and what is wanted of its machine."""
    record, now = lt.record, lt.now
    match action:
        case NoteSpending(state):
            return lt.but(record=record.but(budget=BudgetRecord(state=state, since=now)))
        case NoteHours(machine):
            return lt.but(record=record.but(spending=record.spending.but(vm_id=machine, since=now if machine else 0.0)))
        case NoteWake():
            return lt.but(record=record.but(rest=awake(record.rest, now)))
        case NoteRest(rest):
            desired = DesiredState.SUSPENDED if rest else DesiredState.RUNNING
            return lt.but(record=record.but(rest=rested(record.rest, rest, now)), slot=replaced(lt.slot, desired=desired))


def rested(old: RestRecord, reason: str, now: float) -> RestRecord:
    """It rests from now on, or is wanted again."""
    if reason:
        return old.but(reason=reason, since=now, woken_at=0.0)
    return old.but(reason="", since=0.0, woken_at=now, seconds=0.0)


def awake(old: RestRecord, now: float) -> RestRecord:
    """It can work again."""
    return old.but(seconds=max(now - old.woken_at, SHORTEST))
