"""What becomes of a VM when its object is deleted: deletionPolicy, managementPolicy, protection, the snapshot before. Pure."""

from __future__ import annotations

from reconciler.api.lieutenant import ManagementPolicy
from reconciler.api.meta import DeletionPolicy
from reconciler.api.reasons import Reason
from reconciler.core.decisions import (
    Decision,
    Detach,
    MarkForDeletion,
    Refuse,
    SnapshotLost,
    SnapshotTaken,
    SnapshotVerified,
    TakeSnapshot,
    Wait,
)
from reconciler.core.snapshot.slot import EffectiveDeletion, Slot
from reconciler.core.snapshot.vm import Seen, VmState

CONFIRM = "a new token in its annotation fleet.vers.sh/delete-confirmed"
DELETION = "deletion"
"""What a person confirmed: the deletion of the object."""

MAX_SNAPSHOTS = 3
"""Refused attempts to take the snapshot after which a person must help."""


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
    waiting = snapshot_first(s) if s.deletion is EffectiveDeletion.SNAPSHOT else None
    return waiting or MarkForDeletion(vm_id, "its object was deleted", "Deleted")


def snapshot_first(s: Slot) -> Decision | None:
    """G-05: nothing is deleted before the platform lists a commit of it; None when it does."""
    vm_id, record, seen = s.record.vm_id, s.record.snapshot, s.snapshot
    if record.vm_id == vm_id and record.verified:
        return None
    if isinstance(s.vm, Seen) and s.vm.state is VmState.DEAD:
        return Refuse(Reason.SNAPSHOT_FAILED, f"VM {vm_id} is dead and can't be snapshotted")
    if seen is None or seen.found is None or seen.listed is None:
        return Wait(Reason.SNAPSHOT_PENDING, "the platform's commits could not be read")
    if record.commit_id:
        if seen.listed:
            return SnapshotVerified(vm_id, record.commit_id)
        if seen.settled:
            return SnapshotLost(vm_id, f"commit {record.commit_id} is not listed")
        return Wait(Reason.SNAPSHOT_PENDING, f"waiting until the platform lists commit {record.commit_id}")
    if seen.pending:
        if seen.found:
            return SnapshotTaken(vm_id, seen.found)
        if seen.settled:
            return SnapshotLost(vm_id, "the platform did not answer, and no commit shows")
        return Wait(Reason.SNAPSHOT_PENDING, "a commit was sent and not answered; waiting for its effect to show")
    if record.attempts >= MAX_SNAPSHOTS:
        return Refuse(Reason.SNAPSHOT_FAILED, f"VM {vm_id} could not be snapshotted and is not deleted: {record.error}")
    if s.now < record.not_before:
        return Wait(Reason.SNAPSHOT_PENDING, record.error, until=record.not_before)
    return TakeSnapshot(vm_id)
