"""Snapshots of a slot's machine: when one is due, what became of the one that is on its way, how many are kept. Pure.

One at a time for each slot, whatever it is for, so none overlaps another; of those that were missed one is made up for."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from reconciler.api.reasons import Reason
from reconciler.core.cron import next_after
from reconciler.core.decisions import (
    Act,
    Decision,
    DropCommit,
    ForgetSnapshot,
    NoteCommits,
    Refuse,
    SnapshotCause,
    SnapshotLost,
    SnapshotTaken,
    SnapshotVerified,
    TakeSnapshot,
    Wait,
)
from reconciler.core.records import CommitRecord, SlotRecord, SnapshotRecord
from reconciler.core.slot.marks import seals_of
from reconciler.core.snapshot.slot import DesiredState, Slot, SnapshotPolicy
from reconciler.core.snapshot.vm import Seen, VmState

MAX_SNAPSHOTS = 3
"""Refused attempts after which a person must help, where the machine waits for its snapshot."""

IN_USE = 600.0
"""Seconds until a commit that could not be removed, because a machine was made from it, is tried again."""


# --- facts ------------------------------------------------------------------------------------------------------------------------


def next_due(policy: SnapshotPolicy | None, record: SlotRecord) -> float | None:
    """When the next scheduled one is due: the first time after the newest that there is. A time that was missed is in the past then, and
    once one is taken, the next lies ahead: of many missed ones one is made up for."""
    if policy is None or not policy.schedule:
        return None
    newest = max((commit.taken_at for commit in record.commits), default=0.0)
    return next_after(policy.schedule, policy.time_zone, newest or policy.since)


def under_way(s: Slot) -> bool:
    """A commit was sent, and it is not proven yet what came of it."""
    record = s.record.snapshot
    return bool(s.snapshot and s.snapshot.pending) or bool(record.commit_id and not record.verified)


def newest(record: SlotRecord) -> CommitRecord | None:
    """The newest snapshot that a machine can be made from, as far as is known."""
    return next(iter(reversed(usable(record))), None)


def usable(record: SlotRecord) -> list[CommitRecord]:
    """Those that the platform was not found to lack, and that were not found to be no good; oldest first."""
    return [commit for commit in record.commits if not commit.missing_since and commit.check != "Failed"]


def surplus(policy: SnapshotPolicy | None, record: SlotRecord) -> tuple[CommitRecord, ...]:
    """The kept ones beyond `keep`, oldest first; those that are no good don't count among the others. The newest, the last that
    was restored for a look, and what a machine is to be made from are none of them."""
    if policy is None:
        return ()
    failed = [commit for commit in record.commits if commit.check == "Failed" and not commit.missing_since]
    good = usable(record)
    proven = next((commit.commit_id for commit in reversed(good) if commit.check == "Restored"), "")
    spared = (proven, record.restore, *policy.needed)
    free = [commit for commit in good[:-1] if commit.commit_id not in spared]
    return (*free[: max(0, len(good) - policy.keep)], *failed[: -policy.keep])


def to_be_counted(policy: SnapshotPolicy | None, record: SlotRecord, settle: float, now: float) -> bool:
    """The list of commits must be read: one is to be removed, or one was missing when it was read last."""
    missing = any(commit.missing_since and now >= commit.missing_since + settle for commit in record.commits)
    return missing or any(now >= commit.not_before for commit in surplus(policy, record))


def kept(record: SlotRecord, snapshot: SnapshotRecord) -> tuple[CommitRecord, ...]:
    """The commits of a slot once this one, which the platform lists, is among them."""
    made = CommitRecord(
        commit_id=snapshot.commit_id,
        name=snapshot.name,
        vm_id=snapshot.vm_id,
        seals=seals_of(record) if snapshot.vm_id == record.vm_id else (),
        taken_at=snapshot.taken_at,
        cause=snapshot.cause,
        conversation=snapshot.conversation,
    )
    others = (commit for commit in record.commits if commit.commit_id != made.commit_id)
    return tuple(sorted((*others, made), key=lambda commit: commit.taken_at))


def verified(record: SlotRecord) -> SlotRecord:
    """A slot once the platform lists its snapshot: it is among those that are kept, and what waits for it goes on."""
    taken = record.snapshot.but(verified=True, attempts=0, not_before=0.0, error="")
    waited_for = taken.cause in ("Deleted", "Mutated")
    asked = record.asked and taken.cause != "Requested"
    return record.but(
        snapshot=taken if waited_for else SnapshotRecord(), commits=kept(record, taken), asked=asked, unchecked=record.unchecked + 1
    )


def looked_at(record: SlotRecord, commit_id: str, check: Literal["Restored", "Failed"], error: str = "") -> SlotRecord:
    """A slot once one of its commits was restored for a look."""
    return with_commit(record, commit_id, check=check, check_error=error).but(unchecked=0)


def with_commit(record: SlotRecord, commit_id: str, **changes: object) -> SlotRecord:
    """A slot with other facts about one of its commits."""
    return record.but(commits=tuple(c.but(**changes) if c.commit_id == commit_id else c for c in record.commits))


def counted(record: SlotRecord, noted: NoteCommits, now: float) -> tuple[CommitRecord, ...]:
    """The commits of a slot once it is known what the list lacks."""
    since = {**dict.fromkeys(noted.missing, now), **dict.fromkeys(noted.found, 0.0)}
    left = (commit for commit in record.commits if commit.commit_id not in noted.gone)
    return tuple(commit.but(missing_since=since[commit.commit_id]) if commit.commit_id in since else commit for commit in left)


def housekeeping(decision: Decision) -> bool:
    """It is about snapshots alone, and takes nothing away from what is declared: the work goes on."""
    beside = ForgetSnapshot | SnapshotTaken | SnapshotVerified | SnapshotLost | NoteCommits | DropCommit
    return isinstance(decision, beside) or (isinstance(decision, TakeSnapshot) and decision.cause in ("Scheduled", "Requested"))


# --- one that is on its way -----------------------------------------------------------------------------------------------------------


def outcome(s: Slot) -> Decision | None:
    """What is known of the commit that was sent: None when none was."""
    record, seen = s.record.snapshot, s.snapshot
    if not under_way(s):
        return None
    vm_id = record.vm_id or s.record.vm_id
    if seen is None or seen.found is None or seen.listed is None:
        return Wait(Reason.SNAPSHOT_PENDING, "the platform's commits could not be read")
    if record.commit_id and not record.verified:
        if seen.listed:
            return SnapshotVerified(vm_id, record.commit_id)
        if seen.found:  # the answer told another id: the name is ours alone
            return SnapshotTaken(vm_id, seen.found)
        if seen.settled:
            return SnapshotLost(vm_id, f"commit {record.commit_id} is not listed")
        return Wait(Reason.SNAPSHOT_PENDING, f"waiting until the platform lists commit {record.commit_id}")
    if seen.found:
        return SnapshotTaken(vm_id, seen.found)
    if seen.settled:
        return SnapshotLost(vm_id, "the platform did not answer, and no commit shows")
    return Wait(Reason.SNAPSHOT_PENDING, "a commit was sent and not answered; waiting for its effect to show")


def settle_the_snapshot(s: Slot) -> Decision | None:
    """G-11: a commit is sent once; what came of it is found out by its name, and only what the platform lists counts."""
    known = outcome(s)
    return known if isinstance(known, Act) else None


# --- one that the machine waits for ----------------------------------------------------------------------------------------------------


def first(s: Slot, cause: SnapshotCause) -> Decision | None:
    """G-05: nothing is given up before the platform lists a commit of it; None when it does."""
    vm_id, record, seen = s.record.vm_id, s.record.snapshot, s.snapshot
    if record.vm_id == vm_id and record.verified and record.cause == cause:
        return None
    gone = "is not deleted" if cause == "Deleted" else "is not replaced"
    if isinstance(s.vm, Seen) and s.vm.state is VmState.DEAD:
        return Refuse(Reason.SNAPSHOT_FAILED, f"VM {vm_id} is dead and can't be snapshotted")
    if seen is None or seen.found is None or seen.listed is None:
        return Wait(Reason.SNAPSHOT_PENDING, "the platform's commits could not be read")
    if under_way(s):
        return outcome(s)
    mine = record if record.cause == cause and record.vm_id == vm_id else SnapshotRecord()
    if mine.attempts >= MAX_SNAPSHOTS:
        return Refuse(Reason.SNAPSHOT_FAILED, f"VM {vm_id} could not be snapshotted and {gone}: {mine.error}")
    if s.copying:
        return Wait(Reason.SNAPSHOT_PENDING, f"a live copy of VM {vm_id} is being made")
    if s.now < mine.not_before:
        return Wait(Reason.SNAPSHOT_PENDING, mine.error, until=mine.not_before)
    return TakeSnapshot(vm_id, cause)


def before_it_is_left(s: Slot) -> Decision | None:
    """G-11: what comes before this machine is left for another one, where snapshots.beforeMutate is declared; None: it may be left. Nothing
    is left while a commit of it is on its way, whatever that is for."""
    if s.snapshots is not None and s.snapshots.before_mutate:
        return first(s, "Mutated")
    known = outcome(s)
    return replace(known, until=s.now + 1.0) if isinstance(known, Wait) else known


def works_on(waiting: Decision) -> bool:
    """The agent works on meanwhile: nothing can be done about that snapshot now."""
    return isinstance(waiting, Refuse) or (isinstance(waiting, Wait) and waiting.until is not None)


def forget_the_stale_snapshot(s: Slot) -> Decision | None:
    """G-11: a snapshot that was taken for a replacement counts until the agent works on."""
    record = s.record.snapshot
    stale = record.verified and record.cause == "Mutated" and s.busy and s.desired is not DesiredState.GONE
    return ForgetSnapshot(record.vm_id) if stale else None


# --- one whose time has come, or that a person asked for --------------------------------------------------------------------------------


def wanted(s: Slot) -> SnapshotCause | None:
    """What one would be taken for now; None when none is wanted."""
    if s.observe_only or s.desired is DesiredState.GONE or not s.record.vm_id or s.record.marked_for_deletion:
        return None
    if s.record.asked:
        return "Requested"
    due = next_due(s.snapshots, s.record)
    return "Scheduled" if due is not None and due <= s.now else None


def take_the_due_snapshot(s: Slot) -> Decision | None:
    """G-11: taken when its time has come or a person asks, while nothing on the machine would be caught in the middle; never in a turn.
    A machine that is suspended does not change, so its schedule rests; that of a halted fleet, too."""
    cause = wanted(s)
    if cause == "Scheduled" and s.halted:
        return None
    if cause is None or not isinstance(s.vm, Seen) or not s.vm.claimed or s.copying or under_way(s) or s.now < s.record.snapshot.not_before:
        return None
    at_rest = s.vm.state is VmState.SUSPENDED and s.desired is DesiredState.SUSPENDED and cause == "Requested"
    ready = s.vm.state is VmState.RUNNING and s.desired is DesiredState.RUNNING and s.quiet
    return TakeSnapshot(s.record.vm_id, cause) if at_rest or ready else None


# --- those that are kept ----------------------------------------------------------------------------------------------------------------


def count_the_commits(s: Slot) -> Decision | None:
    """G-11: a commit that the list lacks is forgotten when a later list, a settle window on, lacks it too."""
    if s.snapshot is None or s.snapshot.kept is None:
        return None
    there = s.snapshot.kept
    absent = [c for c in s.record.commits if c.commit_id not in there and s.now >= c.taken_at + s.settle_seconds]
    missing = tuple(c.commit_id for c in absent if not c.missing_since)
    gone = tuple(c.commit_id for c in absent if c.missing_since and s.now >= c.missing_since + s.settle_seconds)
    found = tuple(c.commit_id for c in s.record.commits if c.missing_since and c.commit_id in there)
    return NoteCommits(missing, found, gone) if missing or gone or found else None


def keep_only_so_many(s: Slot) -> Decision | None:
    """G-11: the oldest ones beyond `keep` go, those that we took of this slot's machines and that still have the name that we gave them."""
    if s.observe_only or s.snapshot is None or s.snapshot.kept is None:
        return None
    ours = (c for c in surplus(s.snapshots, s.record) if s.snapshot.kept.get(c.commit_id) and s.now >= c.not_before)
    oldest = next(ours, None)
    return DropCommit(oldest.commit_id) if oldest is not None else None
