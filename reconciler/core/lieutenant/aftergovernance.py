"""The snapshot of a lieutenant once something about its budgets or its rest was written down. Pure."""

from __future__ import annotations

from reconciler.core.decisions import GovernAction, NoteHours, NoteRefusals, NoteRest, NoteSpending, NoteWake, Retire
from reconciler.core.lieutenant.rests import awake, rested
from reconciler.core.records import BudgetRecord, RefusedRecord
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.values import replaced


def after_governing(lt: LieutenantView, action: GovernAction) -> LieutenantView:
    """Its record, and what is wanted of its machine."""
    record, now = lt.record, lt.now
    match action:
        case NoteSpending(state):
            return lt.but(record=record.but(budget=BudgetRecord(state=state, since=now)))
        case NoteHours(machine):
            return lt.but(record=record.but(spending=record.spending.but(vm_id=machine, since=now if machine else 0.0)))
        case Retire():
            return lt.but(slot=replaced(lt.slot, desired=DesiredState.GONE))
        case NoteRefusals(run, number):
            return lt.but(record=record.but(refused=RefusedRecord(run=run, number=number, at=now)))
        case NoteWake():
            return lt.but(record=record.but(rest=awake(record.rest, now)))
        case NoteRest(rest):
            desired = DesiredState.SUSPENDED if rest else DesiredState.RUNNING
            return lt.but(record=record.but(rest=rested(record.rest, rest, now)), slot=replaced(lt.slot, desired=desired))
