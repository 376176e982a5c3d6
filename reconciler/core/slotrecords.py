"""What must be remembered of one VM slot, whatever kind of object has it."""

from __future__ import annotations

from typing import Literal, Self

from reconciler.core.recordbase import Stored


class SnapshotRecord(Stored):
    """The commit of one VM that is on its way, or that a deletion waits for. `cause`: what it is for (`decisions.SnapshotCause`);
    `verified`: the platform lists it. `attempts`: failed ones; `failed_at`: when the last one did. `conversation`: name of the file that
    the conversation on it is in."""

    vm_id: str = ""
    commit_id: str = ""
    name: str = ""
    taken_at: float = 0.0
    verified: bool = False
    attempts: int = 0
    not_before: float = 0.0
    error: str = ""
    failed_at: float = 0.0
    cause: str = "Deleted"
    conversation: str = ""


class CommitRecord(Stored):
    """A commit that was taken of a machine in this slot, and is kept. `seals`: what done-marks bear that hold on its disk;
    `conversation`: as in the snapshot that it was; `check`: what became of restoring it for a look, '' when that was not done.
    `missing_since`: when a list did not have it, 0 when the last one did; `not_before`, `error`: when it could not be removed,
    and is tried again; without an error the removal was not answered."""

    commit_id: str = ""
    name: str = ""
    vm_id: str = ""
    seals: tuple[str, ...] = ()
    taken_at: float = 0.0
    cause: str = "Scheduled"
    conversation: str = ""
    check: Literal["", "Restored", "Failed"] = ""
    check_error: str = ""
    missing_since: float = 0.0
    not_before: float = 0.0
    error: str = ""


class BranchRecord(Stored):
    """A slot that is a live copy of another one. `asked_at`: when it asked the other one to stand still; `source`: whose slot that was,
    `vm_id`: the machine that was copied, `at`: when; '' and 0 until the copy was made, which happens once. `claimed`: the copy has taken
    our claim; one that never did was none. `size`: bytes of its conversation that were there at its birth."""

    asked_at: float = 0.0
    source: str = ""
    vm_id: str = ""
    at: float = 0.0
    claimed: bool = False
    size: int = 0


class SlotRecord(Stored):
    """One VM slot. `epoch` grows with every VM put into it, and with every directory on this host that stands in for one; `filled`: the
    one in which its VM was put into it, 0 when that is not known (by an earlier release, or read back from a cluster).
    `marked_for_deletion`: this VM will be deleted, irreversibly; `cause`: why (`actions.Cause`). `adopted`: the VM that `adopt`
    brought here once. `chosen`: a person's answer to CreateAmbiguous or ClaimConflict, a VM id or `none`. `confirmed`: what a
    person allowed although it is protected: `deletion`, or the id of a dead VM to be replaced. `tried_with`: digest of what the last
    create was made from. `ref`, `commit`: the reference that the VM was made from and the commit that it pointed to then. `commits`: those
    of its machines that are kept, oldest first; `asked`: a person wants one now; `unchecked`: taken since one was last restored for a
    look. `restore`: the commit that the next machine is made from, '' for what is declared; `restored_from`: the one that its VM was made
    from, `restored_at`: when that was taken. `seals`: what done-marks bear that its VM has from the one it is a live copy of, or from the
    one that was committed."""

    vm_id: str = ""
    account: str = ""
    epoch: int = 0
    filled: int = 0
    attempts: int = 0
    not_before: float = 0.0
    last_error: str = ""
    marked_for_deletion: bool = False
    cause: str = ""
    marked_at: float = 0.0
    delete_attempts: int = 0
    delete_error: str = ""
    adopted: str = ""
    chosen: str = ""
    confirmed: str = ""
    tried_with: str = ""
    ref: str = ""
    commit: str = ""
    snapshot: SnapshotRecord = SnapshotRecord()
    commits: tuple[CommitRecord, ...] = ()
    asked: bool = False
    unchecked: int = 0
    restore: str = ""
    restored_at: float = 0.0
    restored_from: str = ""
    branch: BranchRecord = BranchRecord()
    seals: tuple[str, ...] = ()

    def with_snapshots_of(self, other: SlotRecord) -> Self:
        """With what was committed of machines in the other slot, which is this one's from here on, and with the commit that is on its
        way."""
        on_its_way = bool(other.snapshot.commit_id) and not other.snapshot.verified
        taken = other.snapshot if on_its_way else SnapshotRecord()
        return self.but(snapshot=taken, commits=other.commits, asked=other.asked, unchecked=other.unchecked)
