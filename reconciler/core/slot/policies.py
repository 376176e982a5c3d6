"""The logic of one VM slot: create, settle, claim, suspend, resume, delete. An ordered chain of small policies; the first
that has an opinion decides, so the order is the specification (rendered into docs/states.md).

In: a `Slot`, gathered beforehand. Out: one decision. No I/O, no clock.
"""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.chain import Chain, Policy
from reconciler.core.decisions import (
    BindCreated,
    ClearSlot,
    Create,
    Decision,
    Delete,
    Detach,
    GiveUpIntent,
    LabelClaim,
    MarkForDeletion,
    Refuse,
    Release,
    Resume,
    Steady,
    Suspend,
    TakeWarm,
    Wait,
)
from reconciler.core.slot import deletion
from reconciler.core.slot.adoption import adopt_the_declared
from reconciler.core.slot.branching import branch_what_stands_still
from reconciler.core.slot.deletion import CONFIRM
from reconciler.core.slot.snapshots import (
    count_the_commits,
    forget_the_stale_snapshot,
    keep_only_so_many,
    settle_the_snapshot,
    take_the_due_snapshot,
)
from reconciler.core.slot.tenancy import not_allowed
from reconciler.core.snapshot.slot import DesiredState, EffectiveDeletion, Slot
from reconciler.core.snapshot.vm import Absent, Seen, Unknown, VmState

NONE = "none"
"""A person's answer: none of these VMs is the one."""

DELETE_BACKOFF = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between attempts to delete one VM; the last repeats."""


def stop_at_unknown(s: Slot) -> Decision | None:
    """G-04: unreachable means unknown, and unknown triggers nothing. A key that the platform refuses is told as that, whosever it was."""
    return Wait(s.vm.reason, s.vm.why) if isinstance(s.vm, Unknown) else None


def stop_at_another_account(s: Slot) -> Decision | None:
    """G-03: with a key of another account nothing about this VM can be concluded."""
    if s.record.vm_id and s.record.account and s.account and s.account != s.record.account:
        return Refuse(Reason.ACCOUNT_CHANGED, f"VM {s.record.vm_id} belongs to account {s.record.account}, the key to {s.account}")
    return None


def settle_the_open_intent(s: Slot) -> Decision | None:
    """G-02: a create of unknown outcome is resolved before anything else is tried. It is given up on the proof that a VM's absence
    needs (G-03): two lists, the first begun after the window, and not while many VMs are missing."""
    if s.intent is None or s.record.vm_id:
        return None
    match s.intent.candidates:
        case None:
            return Wait(Reason.CREATE_INDETERMINATE, "the platform's list could not be read")
        case (only,) if s.intent.certain:
            return BindCreated(only, s.intent.token)
        case ():
            if s.intent.settled and not s.vanished:
                return GiveUpIntent(s.intent.token)
            if s.vanished:
                return Wait(Reason.FLEET_VANISHED, "a create was sent and not answered, and too many VMs are missing to give it up")
            return wait_for_its_effect(s)
        case several if s.record.chosen in several:
            return BindCreated(s.record.chosen, s.intent.token)
        case _ if s.record.chosen == NONE and s.intent.settled:
            return GiveUpIntent(s.intent.token)
        case (only,):
            return Refuse(
                Reason.CREATE_AMBIGUOUS,
                f"VM {only} fits a create that was not answered, and somebody else may have made it; `reconciler resolve` takes it or not",
            )
        case several:
            return Refuse(
                Reason.CREATE_AMBIGUOUS, f"several VMs fit one create: {', '.join(several)}; `reconciler resolve` takes one of them"
            )


def wait_for_its_effect(s: Slot) -> Decision:
    """What a create in doubt waits with: the platform's own words where it refused, though only lists can prove that it made nothing."""
    if not s.record.last_error:
        return Wait(Reason.CREATE_INDETERMINATE, "a create was sent and not answered; waiting for its effect to show")
    if s.blocked:
        return Wait(Reason.PLATFORM_BLOCKED, s.blocked)
    return Wait(Reason.CREATE_FAILED, f"{s.record.last_error}; it is tried again when lists have shown that nothing was made")


def believe_only_proven_absence(s: Slot) -> Decision | None:
    """G-03: one missing entry in one list proves nothing."""
    if not (s.record.vm_id and isinstance(s.vm, Absent)):
        return None
    if s.vanished:
        return Refuse(Reason.FLEET_VANISHED, f"VM {s.record.vm_id} and too many others are missing at once; nothing is forgotten")
    if s.vm.proven:
        return ClearSlot(s.record.vm_id)
    return Wait(Reason.VM_MISSING, f"VM {s.record.vm_id} is not in the last list; looking again")


def respect_other_claims(s: Slot) -> Decision | None:
    """G-07: a VM with another installation's valid claim is not ours to change, nor to delete, even when marked for deletion before."""
    if not (s.record.vm_id and isinstance(s.vm, Seen) and s.vm.claimed_by) or s.record.chosen == s.record.vm_id:
        return None
    if s.desired is DesiredState.GONE and s.deletion.hands_off:
        return Detach(s.record.vm_id, "Leave", f"it is claimed by {s.vm.claimed_by}")
    return Refuse(Reason.CLAIM_CONFLICT, f"VM {s.record.vm_id} is claimed by {s.vm.claimed_by}")


def finish_deletion(s: Slot) -> Decision | None:
    """G-05: the VM is kept, detached or snapshotted as declared; else it is durably marked for deletion, then deleted until absence
    is proven."""
    if s.desired is DesiredState.GONE and not s.record.vm_id:
        return Release()
    if s.copying and s.record.vm_id and (s.desired is DesiredState.GONE or s.record.marked_for_deletion):
        return Wait(Reason.DELETE_PENDING, f"a live copy of VM {s.record.vm_id} is being made")
    if s.desired is DesiredState.GONE and (not s.record.marked_for_deletion or s.deletion is EffectiveDeletion.LEAVE):
        return deletion.deletion_chain(s)
    if s.record.vm_id and s.record.marked_for_deletion:
        return delete_what_is_marked(s)
    return None


def delete_what_is_marked(s: Slot) -> Decision:
    """Deletes go on until absence is proven; failed ones are counted and slow down."""
    n = s.record.delete_attempts
    if n and s.now < s.record.not_before:
        why = s.record.delete_error or "deletion was accepted; waiting until the platform shows it gone"
        return Wait(Reason.DELETING, f"VM {s.record.vm_id}: {why}", until=s.record.not_before)
    return Delete(s.record.vm_id)


def keep_the_conversation(s: Slot) -> Decision | None:
    """G-32: a machine that is gone is not replaced by one that knows less, unless a person or the declaration says so."""
    if s.record.vm_id or not s.lost or not s.loss or s.desired is not DesiredState.RUNNING:
        return None
    return Refuse(Reason.SESSION_LOST, f"VM {s.lost} is gone: {s.loss}")


def create_nothing_for_the_suspended(s: Slot) -> Decision | None:
    """G-08: a suspended object without a machine needs none."""
    return Steady() if not s.record.vm_id and s.desired is DesiredState.SUSPENDED else None


def restore_only_what_may_be_used(s: Slot) -> Decision | None:
    """G-07: no machine is made from a commit of another namespace, unless it is shared with this one."""
    return not_allowed(s.source, s.namespace, s.sharing) if not s.record.vm_id else None


def take_what_is_kept_ready(s: Slot) -> Decision | None:
    """G-02: a machine that the profile keeps ready is taken instead of making one, once, whatever holds back creates: there is no more
    of them for it. Only the order of a tree is waited for."""
    if s.record.vm_id or s.warm is None or s.vanished or s.not_up_yet is not None:
        return None
    return TakeWarm(s.warm.vm_id, s.warm.holder)


def hold_back_creates(s: Slot) -> Decision | None:
    """G-03, G-06, G-09, G-13, G-25: many VMs missing at once, the fleet's breaker, the hold after an empty store, the slot's own back-off,
    limits, and the order of a tree."""
    if s.record.vm_id:
        return None
    if s.vanished:
        return Wait(Reason.FLEET_VANISHED, "too many VMs are missing at once; nothing is created until they show, or a person confirms")
    if s.blocked:
        return Wait(Reason.PLATFORM_BLOCKED, s.blocked, until=s.blocked_until or None)
    if s.now < s.record.not_before:
        return Wait(Reason.BACKING_OFF, s.record.last_error or "waiting before the next attempt", until=s.record.not_before)
    held = s.no_room or s.not_up_yet
    return Wait(held.reason, held.message) if held is not None else None


def create(s: Slot) -> Decision | None:
    """An empty slot is filled: intent first, then one call."""
    if s.record.vm_id:
        return None
    if s.source is not None and s.source.ref:
        return Create(s.record.attempts + 1, s.source.ref, s.source.name)
    return Create(s.record.attempts + 1)


def replace_the_dead(s: Slot) -> Decision | None:
    """G-32: a dead machine goes only when its conversation is safe elsewhere."""
    if not isinstance(s.vm, Seen) or s.vm.state is not VmState.DEAD:
        return None
    if s.no_delete:
        return Refuse(Reason.NO_DELETE, f"VM {s.record.vm_id} is dead, and managementPolicy NoDelete keeps it")
    if s.unconfirmed:
        return Refuse(Reason.PROTECTED, f"VM {s.record.vm_id} is dead and protected; {CONFIRM} replaces it")
    if s.loss:
        return Refuse(Reason.SESSION_LOST, f"VM {s.record.vm_id} is dead: {s.loss}")
    return MarkForDeletion(s.record.vm_id, "the machine is dead", "Dead")


def claim(s: Slot) -> Decision | None:
    """G-07: ours is what carries our claim."""
    return LabelClaim(s.record.vm_id) if isinstance(s.vm, Seen) and (not s.vm.claimed or s.record.chosen == s.record.vm_id) else None


def follow_the_mode(s: Slot) -> Decision | None:
    """G-08: suspended when settled, or when the declared grace is over; resumed when wanted."""
    if not isinstance(s.vm, Seen):
        return None
    if s.vm.state is VmState.RUNNING and s.desired is DesiredState.RUNNING and not s.copying:  # nearly always
        return Steady()
    match s.vm.state, s.desired:
        case VmState.BOOTING, _:
            return Wait(Reason.BOOTING, f"VM {s.record.vm_id} is booting")
        case VmState.UNKNOWN, _:
            return Wait(Reason.VM_UNKNOWN, f"VM {s.record.vm_id} is in a state this release does not know")
        case VmState.RUNNING | VmState.SUSPENDED, _ if s.copying:
            return Wait(Reason.STANDING_STILL, f"a live copy of VM {s.record.vm_id} is being made") if out_of_step(s) else Steady()
        case VmState.RUNNING, DesiredState.SUSPENDED:
            return suspend_when_settled(s)
        case VmState.SUSPENDED, DesiredState.RUNNING:
            return Wait(s.not_up_yet.reason, s.not_up_yet.message) if s.not_up_yet is not None else Resume(s.record.vm_id)
        case _:
            return Steady()


def out_of_step(s: Slot) -> bool:
    """It runs and should not, or the contrary."""
    return isinstance(s.vm, Seen) and (s.vm.state is VmState.SUSPENDED) is not (s.desired is DesiredState.SUSPENDED)


def suspend_when_settled(s: Slot) -> Decision:
    """A busy agent is never cut off, unless the policy says so and its grace is over."""
    if s.not_down_yet is not None:
        return Wait(s.not_down_yet.reason, s.not_down_yet.message)
    if s.suspend_overdue:
        return Suspend(s.record.vm_id)
    if s.busy is None:
        return Wait(Reason.SUSPEND_PENDING, "the agent's state is not known; suspending could cut off a turn")
    if s.busy:
        return Wait(Reason.SUSPEND_PENDING, "waiting for the agent's turn to end")
    if not s.mirrored:
        return Wait(Reason.SUSPEND_PENDING, "saving the conversation first")
    return Suspend(s.record.vm_id)


_FIRST: tuple[Policy[Slot], ...] = (
    stop_at_unknown,
    stop_at_another_account,
    count_the_commits,
    settle_the_snapshot,
    forget_the_stale_snapshot,
    settle_the_open_intent,
    believe_only_proven_absence,
    respect_other_claims,
    finish_deletion,
)
ONLY_EMPTY: tuple[Policy[Slot], ...] = (
    keep_the_conversation,
    adopt_the_declared,
    create_nothing_for_the_suspended,
    restore_only_what_may_be_used,
    take_what_is_kept_ready,
    hold_back_creates,
    branch_what_stands_still,
    create,
)
"""They have no opinion on a slot that has a VM."""
_LAST: tuple[Policy[Slot], ...] = (
    replace_the_dead,
    claim,
    take_the_due_snapshot,
    keep_only_so_many,
    follow_the_mode,
)

SLOT: Chain[Slot] = Chain("The VM slot", "One declared place for one VM.", (*_FIRST, *ONLY_EMPTY, *_LAST))

FILLED: Chain[Slot] = Chain(SLOT.title, SLOT.about, (*_FIRST, *_LAST))
"""What is asked about a slot that has a VM."""


def plan(slot: Slot) -> Decision:
    """The first policy that has an opinion decides."""
    return (FILLED if slot.record.vm_id else SLOT).evaluate(slot) or Steady()
