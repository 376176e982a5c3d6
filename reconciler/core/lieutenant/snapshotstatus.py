"""What status says of the snapshots of a machine. Pure."""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.api.status.base import ID, MESSAGE, Condition
from reconciler.api.status.lieutenant import RollbackStatus, SnapshotsStatus
from reconciler.core.records import LieutenantRecord
from reconciler.core.slot.snapshots import newest, next_due, under_way, wanted
from reconciler.core.snapshot.slot import DesiredState, Slot
from reconciler.core.times import timestamp


def snapshots_status(s: Slot) -> SnapshotsStatus | None:
    """The newest one, how many there are, when the next is due, and what went wrong last."""
    kept, last = s.record.commits, newest(s.record)
    failed = s.record.snapshot
    due = next_due(s.snapshots, s.record)
    if s.snapshots is None and not kept and not s.record.asked and not failed.error:
        return None
    return SnapshotsStatus(
        count=len(kept),
        newest=last.commit_id if last is not None else None,
        taken_at=timestamp(last.taken_at) if last is not None else None,
        verified=("Restored" if last.check else "Listed") if last is not None else None,
        restored=next((commit.commit_id for commit in reversed(kept) if commit.check == "Restored"), None),
        next_due=timestamp(due) if due is not None and s.desired is DesiredState.RUNNING else None,
        waiting=(wanted(s) is not None and not under_way(s)) or None,
        in_use=sum(1 for commit in kept if commit.error) or None,
        failed_at=timestamp(failed.failed_at) if failed.error else None,
        error=failed.error[:MESSAGE] or None,
    )


def snapshots_condition(s: Slot) -> Condition | None:
    """G-11: that snapshots fail is told while they do; the work goes on."""
    failed, declared = s.record.snapshot, s.snapshots
    if s.desired is DesiredState.GONE:
        return None
    if failed.error:
        return Condition("SnapshotsFailing", "True", Reason.SNAPSHOT_FAILED, f"VM {failed.vm_id} could not be committed: {failed.error}")
    last = s.record.commits[-1] if s.record.commits else None
    if last is not None and last.check == "Failed":
        message = f"the newest snapshot, commit {last.commit_id}, can't be restored: {last.check_error}"
        return Condition("SnapshotsFailing", "True", Reason.NOT_RESTORABLE, message)
    if declared is not None and declared.schedule and next_due(declared, s.record) is None:
        return Condition("SnapshotsFailing", "True", Reason.NEVER_DUE, f"the schedule {declared.schedule!r} names a time that never comes")
    return None


def rollback_status(record: LieutenantRecord) -> RollbackStatus | None:
    """How far the way back to a snapshot is."""
    asked = record.rollback
    match asked.state:
        case "":
            return None
        case "Asked" if record.spare.purpose == "Rollback":
            return RollbackStatus(asked.commit_id[:ID], "Waiting" if record.spare.verified else "Restoring", None, timestamp(asked.at))
        case _:
            return RollbackStatus(asked.commit_id[:ID], asked.state, asked.message[:MESSAGE] or None, timestamp(asked.at))
