"""The snapshot of a lieutenant once something about its budgets, its rest or its memory was written down. Pure."""

from __future__ import annotations

from reconciler.core.decisions import (
    BringMemory,
    GovernAction,
    NoteHours,
    NoteRefusals,
    NoteRest,
    NoteSpending,
    NoteWake,
    Retire,
    SaveMemory,
)
from reconciler.core.governance.memory import NOTHING
from reconciler.core.lieutenant.rests import awake, rested
from reconciler.core.records import BudgetRecord, MemoryRecord, RefusedRecord
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.memory import OnMachine, Taken
from reconciler.core.snapshot.rendered import Rendered
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


def after_remembering(lt: LieutenantView, action: SaveMemory | BringMemory) -> LieutenantView:
    """What is on the machine is in the store; once it was brought there, the machine has what it should have."""
    if isinstance(action, SaveMemory):
        saved = MemoryRecord(place=lt.vm_id, agent=action.agent, shared=action.shared)
        return lt.but(record=lt.record.but(memory=saved))
    wanted = lt.memory.wanted if lt.memory is not None else None
    return lt.but(agent=replaced(lt.agent, memory=wanted)) if isinstance(lt.agent, Agent) else lt


def started(lt: LieutenantView) -> Up:
    """pi as it is when it has just been started as declared."""
    assert isinstance(lt.rendered, Rendered)
    return Up(1, 0.0, lt.rendered.launch_hash, inside=lt.rendered.told, memory=Taken("-", "-") if lt.memory is not None else None)


def remembered_there(lt: LieutenantView) -> OnMachine | None:
    """What a machine remembers whose keeper has just been started: nothing where it is new, what it should where it was in use before."""
    if lt.memory is None:
        return None
    return lt.memory.wanted if lt.record.memory.place == lt.vm_id else OnMachine("", NOTHING, NOTHING)
