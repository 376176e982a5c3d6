"""What becomes of a VM when its object is deleted: deletionPolicy, managementPolicy, protection, the snapshot before. Pure."""

from __future__ import annotations

from reconciler.api.lieutenant import ManagementPolicy
from reconciler.api.meta import DeletionPolicy
from reconciler.api.reasons import Reason
from reconciler.core.decisions import (
    Decision,
    Detach,
    LabelClaim,
    MarkForDeletion,
    Refuse,
    Wait,
)
from reconciler.core.slot import snapshots
from reconciler.core.snapshot.slot import EffectiveDeletion, Slot
from reconciler.core.snapshot.vm import Seen

CONFIRM = "a new token in its annotation fleet.vers.sh/delete-confirmed"
DELETION = "deletion"
"""What a person confirmed: the deletion of the object."""


def effective_deletion(policy: DeletionPolicy, management: ManagementPolicy, detached: bool) -> EffectiveDeletion:
    """The declared policies and `forget` in one word. NoDelete retains what would be deleted."""
    if management is ManagementPolicy.OBSERVE_ONLY:
        return EffectiveDeletion.LEAVE
    if detached:
        return EffectiveDeletion.ORPHAN
    if management is ManagementPolicy.NO_DELETE and policy in (DeletionPolicy.DELETE, DeletionPolicy.SNAPSHOT):
        return EffectiveDeletion.RETAIN
    return EffectiveDeletion(policy.value)


def deletion_chain(s: Slot) -> Decision:
    """What follows from the deletion of the object for a VM that is not marked for deletion yet."""
    vm_id = s.record.vm_id
    if s.not_down_yet is not None:
        return Wait(s.not_down_yet.reason, s.not_down_yet.message)
    if s.deletion is EffectiveDeletion.LEAVE:
        return Detach(vm_id, "Leave", "managementPolicy ObserveOnly changes nothing on it")
    if s.record.adopted == vm_id and isinstance(s.vm, Seen) and not s.vm.claimed:
        if s.vm.claimed_last and s.deletion is not EffectiveDeletion.ORPHAN:
            return LabelClaim(vm_id)  # taken off since: by what a dead controller had sent for its owner before, say
        return Detach(vm_id, "Leave", "it does not carry our claim")
    if s.deletion is EffectiveDeletion.ORPHAN:
        return Detach(vm_id, "Orphan", "it is let go of as declared")
    protected = s.protected and s.record.confirmed != DELETION and s.deletion is not EffectiveDeletion.RETAIN
    if protected:
        return Refuse(Reason.PROTECTED, f"VM {vm_id} is protected from deletion; {CONFIRM} lets it go")
    if s.busy:
        return Wait(Reason.DELETE_PENDING, "ending the running turn first")
    if s.deletion is EffectiveDeletion.RETAIN:
        return Detach(vm_id, "Retain", "it is kept as declared")
    waiting = snapshots.first(s, "Deleted") if snapshotted(s) else None
    return waiting or MarkForDeletion(vm_id, "its object was deleted", "Deleted")


def snapshotted(s: Slot) -> bool:
    """A commit of it must be there before it goes."""
    before = s.snapshots is not None and s.snapshots.before_mutate and s.deletion is EffectiveDeletion.DELETE
    return before or s.deletion is EffectiveDeletion.SNAPSHOT
