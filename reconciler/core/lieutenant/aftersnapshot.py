"""The snapshot of a lieutenant once an act on its commits, or on what is restored from one, has succeeded. Pure."""

from __future__ import annotations

from typing import assert_never

from reconciler.core.decisions import (
    AcceptSpare,
    DropCommit,
    ForgetSnapshot,
    NoteCommits,
    RefuseRollback,
    SnapshotAction,
    SnapshotLost,
    SnapshotTaken,
    SnapshotVerified,
    SpareAction,
    StartSpare,
    TakeSnapshot,
)
from reconciler.core.records import SnapshotRecord, SpareRecord
from reconciler.core.slot.snapshots import counted, looked_at, verified
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.slot import Slot, SnapshotSeen
from reconciler.core.values import replaced

NEW_COMMIT = "(new commit)"


def after_spare(lt: LieutenantView, action: SpareAction) -> LieutenantView:
    """The second machine is taken to come to what it is for."""
    spare, record = lt.spare, lt.record
    done = replaced(spare, slot=None)
    match action:
        case RefuseRollback(why):
            return lt.but(record=record.but(rollback=record.rollback.but(state="Refused", message=why)))
        case StartSpare("Rollback", commit_id):
            return lt.but(record=record.but(rollback=record.rollback.but(commit_id=commit_id, state="Done")), spare=done)
        case StartSpare(_, commit_id) | AcceptSpare(commit_id):
            seen = looked_at(record.slot, commit_id, "Restored")
            return lt.but(record=record.but(slot=seen, spare=SpareRecord()), slot=replaced(lt.slot, record=seen), spare=done)
        case _:
            return lt.but(record=record.but(spare=SpareRecord()), spare=done)


def after_snapshot(slot: Slot, action: SnapshotAction, now: float) -> Slot:
    """A commit of the machine in this slot is taken to be there, and one that is to go to be gone."""
    record = slot.record
    match action:
        case TakeSnapshot(vm_id, cause):
            taken = SnapshotRecord(vm_id=vm_id, commit_id=NEW_COMMIT, taken_at=now, cause=cause)
            return replaced(slot, record=record.but(snapshot=taken), snapshot=SnapshotSeen(listed=True))
        case SnapshotTaken(vm_id, commit_id):
            taken = record.snapshot.but(vm_id=vm_id, commit_id=commit_id, taken_at=now)
            return replaced(slot, record=record.but(snapshot=taken), snapshot=SnapshotSeen(listed=True))
        case SnapshotVerified():
            return replaced(slot, record=verified(record), snapshot=SnapshotSeen())
        case SnapshotLost():
            return replaced(slot, record=record.but(snapshot=SnapshotRecord()), snapshot=SnapshotSeen())
        case ForgetSnapshot():
            return replaced(slot, record=record.but(snapshot=SnapshotRecord()))
        case NoteCommits():
            return replaced(slot, record=record.but(commits=counted(record, action, now)), snapshot=SnapshotSeen())
        case DropCommit(commit_id):
            left = tuple(commit for commit in record.commits if commit.commit_id != commit_id)
            return replaced(slot, record=record.but(commits=left), snapshot=SnapshotSeen())
        case _:
            assert_never(action)
