"""Replacing a machine that works (G-14): another one is made beside it and verified, conversation and workspace are carried over, and
only when pi answers there does the old one go. Pure.

While the other machine is made it is in the slot `next`, and the old one works on. Then the two change places, and the old one is in
`next` until it is not needed any more. Where there is no room for both, `update.onNoRoom` says what is done."""

from __future__ import annotations

from dataclasses import replace

from reconciler.api.reasons import Reason
from reconciler.api.treereasons import TreeReason
from reconciler.core.chain import Chain
from reconciler.core.decisions import (
    AtNext,
    BeginReplacement,
    Cause,
    ConfirmReplacement,
    Create,
    Decision,
    Detach,
    DropReplacement,
    EndReplacement,
    GuestAction,
    MarkForDeletion,
    Refuse,
    Release,
    Rest,
    ReturnToOld,
    SlotAction,
    Steady,
    TakeNext,
    Wait,
)
from reconciler.core.lieutenant.preparation import outdated
from reconciler.core.lieutenant.reach import STANDBY
from reconciler.core.slot import policies as vmslot
from reconciler.core.slot.tenancy import not_allowed
from reconciler.core.snapshot.agent import Agent, Guest, Up
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.replacement import NextMachine
from reconciler.core.snapshot.slot import DesiredState, Slot
from reconciler.core.snapshot.stages import Basics, PreparePart, ReachPart, SessionPart, SlotPart
from reconciler.core.snapshot.vm import Absent, Seen, Unknown, VmState

PATIENCE = 900.0
"""Seconds in which the other machine must be reached once it is made, and in which pi must answer there once it is in the slot."""

TRIES = 5
"""Failures in a row after which the other machine is given up."""

ENDS = 3
"""Ends of pi on the new machine, before it has answered there, after which the old one is taken back."""

MEANWHILE = Wait(Reason.REPLACING)
"""Filled in by `beside`, which knows what the lieutenant is at."""


# --- what is known of the other machine -----------------------------------------------------------------------------------------


def basics_at_next(lt: Basics, other: NextMachine) -> Basics:
    """What every stage would read if the other machine were the one in the slot."""
    return replace(lt, record=lt.record.as_next(), vm_id=other.slot.record.vm_id, guest=other.guest, agent=other.agent, active_task=False)


def wanted(rendered: Rendered) -> str:
    """What the other machine is to be, in one word."""
    return f"{rendered.machine_hash}/{rendered.profile_hash}"


def to_be_done(lt: Basics, other: NextMachine) -> Decision | None:
    """What the other machine still needs, or waits for; None: it is verified."""
    decision = vmslot.plan(other.slot)
    if not isinstance(decision, Steady):
        return decision
    return STANDBY.evaluate(ReachPart(lt=basics_at_next(lt, other), claim=other.claim))


def usable(slot: Slot) -> bool:
    """There is a machine, it is ours, and it is not dead."""
    return bool(slot.record.vm_id) and isinstance(slot.vm, Seen) and slot.vm.state is not VmState.DEAD and not slot.vm.claimed_by


def in_the_way(v: PreparePart) -> str:
    """Why this machine is not to be replaced at all; '' when nothing is against it."""
    if v.slot.no_delete:
        return f"managementPolicy NoDelete keeps VM {v.lt.vm_id}"
    if v.slot.record.adopted == v.lt.vm_id:
        return f"VM {v.lt.vm_id} was adopted; only what was made from a profile is replaced by it"
    if v.slot.unconfirmed:
        return f"VM {v.lt.vm_id} is protected; confirm with the annotation fleet.vers.sh/delete-confirmed"
    if v.unsupported:
        return f"a new machine would not be started: not acted on in this release: {', '.join(v.unsupported)}"
    refused = not_allowed(v.slot.source, v.slot.namespace, v.slot.sharing)
    if isinstance(refused, Refuse | Wait):
        return f"a new machine would not be made: {refused.message}"
    return ""


def held_back(v: PreparePart) -> str:
    """Why an outdated machine is not replaced now; '' when nothing is in the way."""
    why, other = in_the_way(v), v.next
    if why or v.lt.record.replacement.state not in ("", "Making"):
        return why
    if v.lt.record.replacement.state == "":
        return v.rollout or v.replace_blocked or ("" if v.in_place else v.no_room)
    if other is None or other.slot.record.vm_id:
        return ""
    waiting = vmslot.plan(other.slot)
    return f"no other machine can be had: {waiting.message}" if isinstance(waiting, Wait | Refuse) else ""


def failed_before(lt: Basics) -> str:
    """Why a machine that was made from the very same did not work; '' when none was tried."""
    told = lt.record.replacement
    return told.failed if isinstance(lt.rendered, Rendered) and told.failed and told.failed_with == lt.rendered.basis else ""


def in_words(lt: Basics, why: str, in_place: bool) -> str:
    """What a replacement comes to: what is kept, what goes, and when."""
    assert isinstance(lt.rendered, Rendered)
    room = "where there is no room for both, it is deleted first, with its workspace" if in_place else "without room for both it waits"
    return (
        f"{why}; Recreate makes another machine while VM {lt.vm_id} works on, verifies it, carries the conversation and the workspace "
        f"{lt.rendered.work_dir} over, and deletes VM {lt.vm_id} when pi answers there; {room}"
    )


def save_first(v: SlotPart | PreparePart) -> Wait | None:
    """G-32: what waits until everything that was said on the machine is in the store; None when it is."""
    if v.slot.mirrored:
        return None
    return Wait(Reason.SAVING_SESSION, "the conversation is saved before the machine is replaced", until=v.lt.now + 1.0)


# --- the slots themselves ---------------------------------------------------------------------------------------------------------


def removal(other: NextMachine, why: str, cause: Cause) -> Decision | None:
    """How the machine in `next` goes, whatever is known of it; None: there is none."""
    slot = other.slot
    if not slot.record.vm_id and slot.intent is None:
        return Wait(slot.vm.reason, slot.vm.why) if isinstance(slot.vm, Unknown) else None
    if slot.record.vm_id and isinstance(slot.vm, Seen) and slot.vm.claimed_by:
        return Detach(slot.record.vm_id, "Leave", f"it is claimed by {slot.vm.claimed_by}")
    decision = vmslot.plan(slot)
    if not slot.record.vm_id or slot.record.marked_for_deletion or not isinstance(slot.vm, Seen):
        return decision
    if isinstance(decision, Refuse) and decision.reason is Reason.ACCOUNT_CHANGED:
        return decision
    return MarkForDeletion(slot.record.vm_id, why, cause)


def at_next(decision: Decision, meanwhile: Rest) -> Decision:
    """A decision about the other machine, as one of the lieutenant."""
    return AtNext(decision, meanwhile) if isinstance(decision, SlotAction | GuestAction) and not isinstance(decision, Release) else decision


def see_to_the_other_machine(v: SlotPart) -> Decision | None:
    """G-02, G-14: which of two machines is the lieutenant's. The new one is confirmed when pi answers on it, and given up when it does
    not; one whose old machine is gone takes its place at once. A deleted lieutenant is gone when both are."""
    if not v.lt.record.replacement.state or v.next is None:
        return None
    if v.slot.desired is DesiredState.GONE:
        return go_with_the_lieutenant(v, v.next)
    if v.slot.observe_only:
        return None
    state = v.lt.record.replacement.state
    if state == "Taken":
        return judge_the_new(v, v.next)
    if state == "Returned" and v.slot.desired is DesiredState.RUNNING and v.lt.now < v.lt.record.replacement.at + PATIENCE:
        why = f"VM {v.next.slot.record.vm_id}, which did not work, goes before pi is started again"
        return Wait(Reason.STARTING_AGENT, why, until=v.lt.now + 1.0) if usable(v.next.slot) else None
    if state == "Making" and v.slot.desired is DesiredState.RUNNING and not v.slot.record.vm_id:
        return stand_in(v, v.next)
    return None


def go_with_the_lieutenant(v: SlotPart, other: NextMachine) -> Decision | None:
    """A deleted lieutenant takes the other machine with it; what refuses its own deletion holds that of the other one too."""
    if v.slot.observe_only:
        return EndReplacement(other.slot.record.vm_id)
    own, state = vmslot.plan(v.slot), v.lt.record.replacement.state
    if isinstance(own, Refuse | Wait) and state in ("Taken", "Confirmed"):
        return None
    going = removal(other, "its object was deleted", "Deleted")
    if going is None:
        return EndReplacement()
    if isinstance(going, Wait | Refuse) and v.slot.record.vm_id:
        return None
    return at_next(going, Wait(Reason.DELETING, "the machine that was to replace it, or that it replaced, goes first"))


def judge_the_new(v: SlotPart, old: NextMachine) -> Decision | None:
    """The new machine is in the slot, the old one beside it, with everything that was on it and pi stopped."""
    agent, told, new = v.lt.agent, v.lt.record.replacement, v.slot.record.vm_id
    if isinstance(agent, Agent) and isinstance(agent.process, Up) and agent.process.responsive:
        return ConfirmReplacement(old.slot.record.vm_id)
    if not usable(old.slot) or v.slot.vanished or isinstance(v.slot.vm, Unknown):
        return None
    restart = v.lt.record.restart
    if v.slot.desired is DesiredState.SUSPENDED:
        who = "pi" if v.lt.has_agent else "its keeper"
        return ReturnToOld(new, f"it is to be suspended before {who} has answered on the new machine", failed=False)
    if isinstance(v.slot.vm, Absent) and v.slot.vm.proven:
        return ReturnToOld(new, f"VM {new} is gone")
    if isinstance(v.slot.vm, Seen) and v.slot.vm.state is VmState.DEAD:
        return ReturnToOld(new, f"VM {new} is dead")
    if restart.degraded or len(restart.times) >= ENDS:
        return ReturnToOld(new, f"pi ended {len(restart.times)} times on VM {new}: {restart.stderr_tail[-500:] or 'no output'}")
    if v.lt.now >= told.at + PATIENCE:
        return ReturnToOld(new, f"pi has not answered on VM {new} within {PATIENCE:.0f} s")
    return None


def stand_in(v: SlotPart, other: NextMachine) -> Decision | None:
    """The old machine went by itself: there is another one already, or one on its way; two are never made. Where there is a snapshot of the
    old one, that is what it goes on from, with its files, and the other one goes."""
    own = vmslot.plan(v.slot)
    blocked = isinstance(own, Wait) and own.reason in (Reason.PLATFORM_BLOCKED, Reason.BACKING_OFF, TreeReason.CAPACITY)
    if not isinstance(own, Create) and not blocked:
        return None
    if usable(other.slot) and not other.slot.record.marked_for_deletion and not v.slot.record.restore:
        return TakeNext(other.slot.record.vm_id)
    going = removal(other, "the machine that it was to replace is gone", "Unused")
    return EndReplacement() if going is None else at_next(going, Wait(Reason.CREATING_VM, "looking for the other machine first"))


# --- while the other machine is made ---------------------------------------------------------------------------------------------------


def keep_the_launch(v: SessionPart) -> bool:
    """The old machine goes on with what pi was started with while the one that replaces it is made."""
    return v.lt.record.replacement.state == "Making" and bool(v.lt.record.next.vm_id)


def not_wanted(v: PreparePart) -> str:
    """Why the other machine, which is being made, is not wanted any more; '' when it is, or when that can't be said."""
    lt = v.lt
    if v.slot.desired is DesiredState.SUSPENDED:
        return "it is to be suspended"
    if lt.record.rollback.state == "Asked":
        return "it goes back to a snapshot first"
    if not v.recreate:
        return "update.onProfileChange is not Recreate any more"
    if not isinstance(lt.rendered, Rendered) or v.slot.record.marked_for_deletion:
        return ""
    if lt.record.replacement.made_for != wanted(lt.rendered):
        return "the profile changed again"
    if isinstance(lt.guest, Guest) and lt.vm_id and not outdated(lt):
        return f"VM {lt.vm_id} is as its profile says"
    return in_the_way(v) if lt.vm_id else ""


# --- beside what the lieutenant itself is at ------------------------------------------------------------------------------------------


def drop_what_is_not_wanted(v: PreparePart) -> Decision | None:
    """The other machine goes when it is not wanted any more: the profile changed again, or back, or nothing is to be replaced."""
    if v.lt.record.replacement.state != "Making" or v.next is None:
        return None
    why = not_wanted(v)
    return DropReplacement(why) if why else None


def clear_away_the_other(v: PreparePart) -> Decision | None:
    """G-05, G-14: the machine that is not needed is deleted until that is proven: the old one once pi has answered on the new one, or the
    new one that did not work. An old one that is protected, or kept by NoDelete, waits for a person."""
    told = v.lt.record.replacement
    if told.state not in ("Confirmed", "Returned", "Dropping") or v.next is None:
        return None
    record = v.next.slot.record
    if told.state == "Confirmed" and not record.marked_for_deletion and record.vm_id:
        if v.slot.no_delete or (v.slot.protected and record.confirmed != record.vm_id):
            return None
        going = removal(v.next, f"VM {v.slot.record.vm_id} has taken its place, with conversation and workspace", "Outdated")
    else:
        going = removal(v.next, told.failed or "it is not needed any more", "Unused")
    if going is None:
        return EndReplacement()
    if isinstance(going, Wait):
        return replace(going, reason=Reason.REPLACING, message=f"the other machine goes: {going.message}")
    return None if isinstance(going, Refuse) else at_next(going, MEANWHILE)


def bring_on_the_other(v: PreparePart) -> Decision | None:
    """G-14: the machine that is to take the place is made and prepared by the same policies as any; one that can't be prepared goes, and
    the old one stays."""
    told = v.lt.record.replacement
    if told.state != "Making" or v.next is None or not v.slot.record.vm_id or isinstance(v.lt.rendered, Unresolved):
        return None
    if told.tries >= TRIES:
        return DropReplacement(told.trouble, failed=True)
    new, old = f"VM {v.next.slot.record.vm_id}", f"VM {v.slot.record.vm_id}"
    if v.lt.now < told.not_before:
        return Wait(Reason.REPLACING, f"{new} is made ready to take the place of {old}: {told.trouble}", until=told.not_before)
    waiting = to_be_done(v.lt, v.next)
    if waiting is None:
        return Wait(Reason.REPLACING, f"{new} is verified; it takes the place of {old} when the agent is settled", until=v.lt.now + 1.0)
    failed = failure(v, v.next, waiting)
    if failed:
        return DropReplacement(failed, failed=True)
    if isinstance(waiting, Wait) and v.next.slot.record.vm_id:
        until = waiting.until or v.lt.now + (waiting.reason.waiting.poll or 1.0)
        return Wait(Reason.REPLACING, f"{new} is made ready to take the place of {old}: {waiting.message}", until=until)
    return None if isinstance(waiting, Wait | Refuse | Steady) else at_next(waiting, MEANWHILE)


def failure(v: PreparePart, other: NextMachine, waiting: Decision) -> str:
    """Why the other machine is given up; '' while it may still be made to work."""
    record, told = other.slot.record, v.lt.record.replacement
    if isinstance(waiting, Refuse) and waiting.reason is Reason.BOOT_FAILED:
        return waiting.message
    if not record.vm_id and record.attempts >= TRIES and record.last_error:
        return record.last_error
    mute = isinstance(waiting, Wait) and (waiting.reason.waiting.unreadable or waiting.reason is Reason.BOOTING)
    late = told.at > 0 and v.lt.now >= told.at + PATIENCE
    return f"VM {record.vm_id} could not be reached within {PATIENCE:.0f} s" if mute and late and usable(other.slot) else ""


def begin_a_replacement(v: PreparePart) -> Decision | None:
    """`update.onProfileChange: Recreate`: another machine is made for a changed profile, beside the one that works. Not while anything of
    it is unknown, its profile can't be rendered or would not be started, the platform may have no room, or what is declared has failed
    already (G-04, G-06, G-14); not while a snapshot is restored beside it, either."""
    if (
        v.lt.record.replacement.state
        or v.lt.record.restoring
        or not v.recreate
        or v.slot.desired is not DesiredState.RUNNING
        or v.slot.record.marked_for_deletion
    ):
        return None
    why = outdated(v.lt)
    if not why or held_back(v) or failed_before(v.lt) or v.lt.record.local.state or not isinstance(v.lt.agent, Agent):
        return None
    assert isinstance(v.lt.rendered, Rendered)
    return BeginReplacement(v.lt.vm_id, wanted(v.lt.rendered), in_words(v.lt, why, v.in_place))


BESIDE: Chain[PreparePart] = Chain(
    "Beside: another machine, while this one works",
    "Asked when nothing else is to be done for the lieutenant itself. What it is at goes on, and tasks come first.",
    (drop_what_is_not_wanted, clear_away_the_other, bring_on_the_other, begin_a_replacement),
)


def beside(v: PreparePart, rest: Rest) -> Decision:
    """What is done with the other machine while the lieutenant itself is at rest; else that rest."""
    if v.slot.observe_only or v.slot.desired is DesiredState.GONE:
        return rest
    decision = BESIDE.evaluate(v)
    if isinstance(decision, AtNext):
        other = f"VM {decision.target}" if decision.target else "The other machine"
        told = Wait(Reason.REPLACING, f"{other}: {decision.action.explained}")
        return replace(decision, meanwhile=rest if not isinstance(rest, Steady) else told)
    if isinstance(decision, Wait):
        if isinstance(rest, Steady):
            return decision
        times = [at for at in (getattr(rest, "until", None), decision.until) if at is not None]
        return replace(rest, until=min(times)) if isinstance(rest, Wait) and times else rest
    return rest if decision is None else decision
