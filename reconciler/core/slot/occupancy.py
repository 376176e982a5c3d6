"""What is left of a slot when its machine is gone, what the next one is made from, and what the slot is with that one in it. Pure."""

from __future__ import annotations

from reconciler.core.records import CommitRecord, SlotRecord, SnapshotRecord
from reconciler.core.slot.branching import left
from reconciler.core.slot.snapshots import newest

TRIES = 3
"""Refused attempts to restore a commit after which it counts as one that can't be restored."""


def emptied(old: SlotRecord, lost: bool) -> SlotRecord:
    """Nothing that was said of the machine, but all of what outlives it: the snapshots that were taken, and the one on its way. `lost`: it
    was not sent away, so that the next one begins where its newest snapshot is."""
    taken = old.snapshot
    on_its_way = bool(taken.commit_id) and not taken.verified
    slot = SlotRecord(
        epoch=old.epoch,
        account=old.account,
        adopted=old.adopted,
        confirmed=old.confirmed,
        snapshot=taken if on_its_way else SnapshotRecord(),
        branch=left(old.branch),
        commits=old.commits,
        asked=old.asked,
    )
    return restoring(slot, newest(slot)) if lost else slot


def filled_with(slot: SlotRecord, vm_id: str, account: str) -> SlotRecord:
    """The slot with this VM in it: nothing that was tried with another one counts any more."""
    return slot.but(
        vm_id=vm_id,
        account=account,
        filled=slot.epoch,
        not_before=0.0,
        last_error="",
        marked_for_deletion=False,
        cause="",
        delete_attempts=0,
        chosen="",
        restore="",
        restored_at=slot.restored_at if slot.restore else 0.0,
        restored_from=slot.restore,
        seals=(),
    )


def restoring(slot: SlotRecord, commit: CommitRecord | None) -> SlotRecord:
    """The next machine is made from this commit; None: from what is declared."""
    if commit is None:
        return slot.but(restore="", seals=(), restored_at=0.0, restored_from="")
    return slot.but(restore=commit.commit_id, seals=commit.seals, restored_at=commit.taken_at, restored_from=commit.commit_id)


def unrestorable(slot: SlotRecord, error: str) -> SlotRecord:
    """The platform says that it has no such commit: the next machine is made from the one before it, else from what is declared."""
    without = tuple(c.but(check="Failed", check_error=error) if c.commit_id == slot.restore else c for c in slot.commits)
    slot = slot.but(commits=without)
    return restoring(slot, newest(slot))
