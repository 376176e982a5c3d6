"""The snapshot of a lieutenant once an act on the way to another machine has succeeded. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reconciler.core.decisions import (
    Act,
    AtNext,
    BeginReplacement,
    BindCreated,
    CarryOver,
    ClearSlot,
    ConfirmReplacement,
    Create,
    Detach,
    DropReplacement,
    EndReplacement,
    FenceReplacement,
    ReplacementAction,
    ReturnToOld,
    TakeNext,
)
from reconciler.core.records import LieutenantRecord, SlotRecord
from reconciler.core.snapshot.agent import Agent, Guest, NotStarted
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.replacement import NextMachine
from reconciler.core.snapshot.slot import GONE, Slot
from reconciler.core.snapshot.vm import Seen

After = Callable[[LieutenantView, Act], LieutenantView]


def seen_at_next(lt: LieutenantView) -> LieutenantView:
    """The same lieutenant as if the other machine were the one in its slot."""
    other = lt.next
    assert other is not None
    record = lt.record.as_next()
    return lt.but(record=record, slot=other.slot, claim=other.claim, guest=other.guest, agent=other.agent, next=None)


def after_replacement(lt: LieutenantView, action: ReplacementAction, after: After) -> LieutenantView:
    """`after`: the snapshot once any other act has succeeded."""
    other, told = lt.next, lt.record.replacement
    if isinstance(action, BeginReplacement):
        record = lt.record.but(replacement=told.but(state="Making", since=lt.now, made_for=action.made_for))
        slot = replace(lt.slot, record=SlotRecord(epoch=lt.slot.record.epoch), vm=GONE, protected=False, busy=False, mirrored=True)
        return lt.but(record=record, next=NextMachine(slot, {**lt.claim, "node": "next"}))
    if other is None:
        return lt
    match action:
        case AtNext(inner, _):
            return _at_next(lt, after(seen_at_next(lt), inner), inner)
        case FenceReplacement():
            slot = _raised(lt.slot, lt.slot.record.epoch)
            record = lt.record.but(replacement=told.but(fenced=slot.record.epoch))
            return lt.but(record=record, slot=slot, claim={**lt.claim, "epoch": str(slot.record.epoch)})
        case CarryOver():
            record = lt.record.swapped()
            return _changed_places(lt, other, record.but(replacement=record.replacement.but(state="Taken", at=lt.now)))
        case ReturnToOld(_, why, failed):
            record = lt.record.swapped()
            back = record.replacement.but(state="Returned", at=lt.now, failed=why if failed else "")
            return _changed_places(lt, other, record.but(replacement=back))
        case TakeNext():
            record = lt.record.swapped()
            taken = _changed_places(lt, other, record.but(next=SlotRecord(), replacement=told.over()))
            return taken.but(next=None)
        case ConfirmReplacement():
            return lt.but(record=lt.record.but(replacement=told.but(state="Confirmed")))
        case DropReplacement():
            return lt.but(record=lt.record.but(replacement=told.but(state="Dropping")))
        case EndReplacement():
            return _without(lt)


def _at_next(lt: LieutenantView, there: LieutenantView, action: Act) -> LieutenantView:
    """The other machine after an act on it, and the lieutenant beside it."""
    if isinstance(action, ClearSlot | Detach) and lt.record.replacement.state != "Making":
        return _without(lt)
    guest = Guest() if isinstance(action, Create | BindCreated) else there.guest
    made = NextMachine(there.slot, there.claim, guest, there.agent)
    return lt.but(record=lt.record.with_next(there.record).but(next=there.slot.record), next=made)


def _without(lt: LieutenantView) -> LieutenantView:
    return lt.but(record=lt.record.but(next=SlotRecord(), replacement=lt.record.replacement.over()), next=None)


def _changed_places(lt: LieutenantView, other: NextMachine, record: LieutenantRecord) -> LieutenantView:
    """The machines in `slot` and `next` have changed places; pi runs on neither."""
    slot = _raised(other.slot, max(lt.slot.record.epoch, other.slot.record.epoch))
    slot = replace(slot, protected=lt.slot.protected, deletion=lt.slot.deletion, no_delete=lt.slot.no_delete, desired=lt.slot.desired)
    slot = replace(slot, record=slot.record.with_snapshots_of(lt.slot.record), snapshots=lt.slot.snapshots)
    without = replace(lt.slot, record=lt.slot.record.with_snapshots_of(SlotRecord()), protected=False, snapshots=None)
    old = NextMachine(without, lt.claim)
    agent = Agent(lt.lt.keeper_version, slot.record.epoch, NotStarted(), "", lt.mirror_size)
    claim = {name: value for name, value in other.claim.items() if name != "node"} | {"epoch": str(slot.record.epoch)}
    return lt.but(record=record, slot=slot, next=old, guest=other.guest or Guest(), agent=agent, claim=claim)


def _raised(slot: Slot, epoch: int) -> Slot:
    """In a higher epoch: its claims are to be written again."""
    seen = replace(slot.vm, claimed=False) if isinstance(slot.vm, Seen) else slot.vm
    return replace(slot, record=slot.record.but(epoch=epoch + 1), vm=seen)
