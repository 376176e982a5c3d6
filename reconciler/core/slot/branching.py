"""A slot that is to be a live copy of another one (the *original*), whatever objects the two belong to. Pure.

The copy asks, the original stands still when it is settled, then the copy is branched off. Both are written down, and both end by
themselves: whoever stops in the middle holds nobody for ever. A copy is made once; what is lost later is replaced as any machine is."""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.decisions import AskOriginal, Create, Decision, Wait
from reconciler.core.records import BranchRecord, SlotRecord, StandRecord
from reconciler.core.slot.marks import seals_of
from reconciler.core.snapshot.branch import Original, Standing
from reconciler.core.snapshot.slot import Slot
from reconciler.core.snapshot.vm import Absent, Seen, Unknown, VmState

STAND_SECONDS = 120.0
"""The longest time that an agent stands still for those that asked."""

ASK_SECONDS = 1800.0
"""The longest time that it gets no new work because somebody asked; its turn may take longer than that to end."""

PAUSE = 30.0
"""Seconds until it is asked again after it stood still, or was asked, in vain."""


def asking(slot: SlotRecord, over: float, now: float) -> bool:
    """This slot has asked its original to stand still, and may still count on it. `over`: when that one stood still last."""
    asked = slot.branch.asked_at
    return bool(asked) and not slot.vm_id and asked >= over and asked <= now < asked + ASK_SECONDS and now >= slot.not_before


def still(stand: StandRecord, vm_id: str, now: float) -> bool:
    """Whether copies of this machine may be made now."""
    return bool(vm_id) and stand.vm_id == vm_id and now < stand.since + STAND_SECONDS


def branch_what_stands_still(s: Slot) -> Decision | None:
    """G-33: a live copy is made of an original that stands still, settled; it is asked to, and waited for."""
    original = s.original
    if original is None or s.record.vm_id:
        return None
    unfit = why_not(original)
    if unfit is not None:
        return unfit
    if original.standing is not None:
        return Create(s.record.attempts + 1, original=original.standing)
    if asking(s.record, original.over, s.now):
        return Wait(Reason.FORK_PENDING, f"waiting until {original.named} is settled; it gets no other work meanwhile")
    asked = s.record.branch.asked_at
    again = (original.over if asked < original.over else asked + ASK_SECONDS) + PAUSE
    if 0.0 < asked <= s.now < again:
        return Wait(Reason.FORK_PENDING, f"{original.named} was asked in vain to stand still, and goes on with its work", until=again)
    return AskOriginal(original.named)


def why_not(original: Original) -> Wait | None:
    """Why no copy can be made of it now; None when one can."""
    reason, named, vm = Reason.FORK_SOURCE_UNAVAILABLE, original.named, f"VM {original.vm_id} of {original.named}"
    if not original.exists:
        return Wait(Reason.FORK_SOURCE_NOT_FOUND, f"{named} does not exist in this namespace; no other one is looked into")
    if original.deleting:
        return Wait(reason, f"{named} is being deleted")
    if original.local:
        return Wait(reason, f"{named} lives on the controller's host; only a VM can be copied live")
    if original.kept_from:
        return Wait(reason, f"{named} can't be copied: {original.kept_from}")
    if not original.vm_id:
        return Wait(reason, f"{named} has no machine yet")
    match original.vm:
        case Unknown(why, unread):
            return Wait(unread, f"{named}: {why}")
        case Absent():
            return Wait(reason, f"{vm} is not in the platform's list")
        case Seen(VmState.RUNNING):
            return None
        case Seen(state):
            return Wait(reason, f"{vm} is {state.value}")


def left(branch: BranchRecord) -> BranchRecord:
    """What is known of a copy once its machine is gone: one that never took our claim was not made."""
    return branch if branch.claimed else BranchRecord()


def standing(named: str, stand: StandRecord, slot: SlotRecord, now: float) -> Standing | None:
    """The machine in this slot, when copies of it may be made now."""
    if not still(stand, slot.vm_id, now):
        return None
    return Standing(stand.vm_id, stand.session, stand.size, stand.since, named, seals_of(slot))
