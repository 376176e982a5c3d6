"""What may be decided for a VM slot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from reconciler.api.reasons import Reason
from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions.base import Act, Effect, Urgency
from reconciler.core.keys import Key
from reconciler.core.snapshot.branch import Standing

Cause = Literal["Deleted", "Dead", "Outdated", "Moved", "Unused", "RolledBack"]
"""Why a machine goes: its object was deleted; it is dead (observed once more before it is believed); its profile changed; its
agent moved away; it was to replace another one, and does not; its agent went back to a snapshot."""


SnapshotCause = Literal["Deleted", "Scheduled", "Requested", "Mutated"]
"""What a snapshot is for: its object is being deleted; its time has come; a person asked; the machine is about to be replaced."""


@dataclass(frozen=True, slots=True)
class Create(Act):
    """Make a VM for the slot: the intent is durable first, then one call. `ref`, `commit`: the reference that the profile names and
    the commit that it was found to point to, which may be used; '' for both where it names none. `original`: the machine to make a live
    copy of, None where it is made from a profile."""

    doing: ClassVar = Reason.CREATING_VM
    then_observe: ClassVar = False
    writes_first: ClassVar = True
    effect: ClassVar = Effect.CREATE
    occasion: ClassVar = "it is declared, and there is no machine for it"

    attempt: int
    ref: str = ""
    commit: str = ""
    original: Standing | None = None

    @property
    def message(self) -> str:
        return f"a live copy of VM {self.original.vm_id}" if self.original is not None else ""


@dataclass(frozen=True, slots=True)
class AskOriginal(Act):
    """Ask the agent that is to be copied to stand still: its queue is held from here on, for a bounded time."""

    doing: ClassVar = Reason.FORK_PENDING

    original: str

    @property
    def message(self) -> str:
        return f"{self.original} is asked to stand still"


@dataclass(frozen=True, slots=True)
class BindCreated(Act):
    """Take the VM that one of our own creates of unknown outcome made."""

    doing: ClassVar = Reason.ADOPTING_VM
    books_only: ClassVar = True
    effect: ClassVar = Effect.CREATE

    vm_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Adopt(Act):
    """Put the existing VM that `adopt` names into the slot; the claim follows."""

    doing: ClassVar = Reason.ADOPTING_VM
    books_only: ClassVar = True
    effect: ClassVar = Effect.CREATE
    occasion: ClassVar = "its declaration names this machine"

    vm_id: str


@dataclass(frozen=True, slots=True)
class TakeWarm(Act):
    """Put the machine that `holder` keeps ready into the slot, in one transaction; the claim follows. Only a lieutenant's own slot takes
    one."""

    doing: ClassVar = TreeReason.TOOK_WARM
    books_only: ClassVar = True

    vm_id: str
    holder: Key


@dataclass(frozen=True, slots=True)
class GiveUpIntent(Act):
    """The settle window has passed and nothing appeared: that create did not happen."""

    doing: ClassVar = Reason.CREATE_INDETERMINATE
    books_only: ClassVar = True
    occasion: ClassVar = "nothing has appeared of its creation"

    token: str


@dataclass(frozen=True, slots=True)
class LabelClaim(Act):
    """Write our claim into the labels of this VM."""

    doing: ClassVar = Reason.CLAIMING_VM

    vm_id: str


@dataclass(frozen=True, slots=True)
class Suspend(Act):
    """Suspend this VM."""

    doing: ClassVar = Reason.SUSPENDING_VM
    occasion: ClassVar = "its machine runs and is to sleep"

    vm_id: str


@dataclass(frozen=True, slots=True)
class Resume(Act):
    """Resume this VM."""

    doing: ClassVar = Reason.RESUMING_VM
    occasion: ClassVar = "its machine sleeps and is to run"

    vm_id: str


@dataclass(frozen=True, slots=True)
class TakeSnapshot(Act):
    """Commit this VM."""

    doing: ClassVar = Reason.SNAPSHOTTING_VM

    vm_id: str
    cause: SnapshotCause = "Deleted"


@dataclass(frozen=True, slots=True)
class SnapshotTaken(Act):
    """The platform lists the commit of a call whose answer never came."""

    doing: ClassVar = Reason.SNAPSHOTTING_VM
    books_only: ClassVar = True

    vm_id: str
    commit_id: str


@dataclass(frozen=True, slots=True)
class SnapshotVerified(Act):
    """The platform lists the commit that it told us of."""

    doing: ClassVar = Reason.SNAPSHOTTING_VM
    books_only: ClassVar = True

    vm_id: str
    commit_id: str


@dataclass(frozen=True, slots=True)
class SnapshotLost(Act):
    """The settle window is over and the commit does not show: it was not taken."""

    doing: ClassVar = Reason.SNAPSHOTTING_VM
    books_only: ClassVar = True

    vm_id: str
    why: str


@dataclass(frozen=True, slots=True)
class ForgetSnapshot(Act):
    """The machine has worked on since its snapshot, and was not replaced: what replaces it takes another one."""

    doing: ClassVar = Reason.COUNTING_SNAPSHOTS
    books_only: ClassVar = True

    vm_id: str


@dataclass(frozen=True, slots=True)
class NoteCommits(Act):
    """Write down which of the kept commits the platform's list lacks, has again, and lacks for good."""

    doing: ClassVar = Reason.COUNTING_SNAPSHOTS
    books_only: ClassVar = True

    missing: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DropCommit(Act):
    """Remove a commit of ours that is one more than is to be kept."""

    doing: ClassVar = Reason.COUNTING_SNAPSHOTS
    occasion: ClassVar = "it is one more than is to be kept"

    commit_id: str

    @property
    def lost(self) -> str:
        return f"commit {self.commit_id}"

    @property
    def target(self) -> str:
        return self.commit_id


@dataclass(frozen=True, slots=True)
class Detach(Act):
    """The object goes and the VM stays. `Retain`: with our claim, rewritten to say so; `Orphan`: without it; `Leave`: nothing on
    the VM is changed."""

    doing: ClassVar = Reason.DETACHING
    books_only: ClassVar = True
    effect: ClassVar = Effect.DELETE

    vm_id: str
    how: Literal["Retain", "Orphan", "Leave"]
    why: str


@dataclass(frozen=True, slots=True)
class MarkForDeletion(Act):
    """Write down, irreversibly, that this VM is to be deleted. `cause`: its object was `Deleted`; it is `Dead` (looked at once
    more before); `Outdated`: its profile changed and `update` says Recreate; `Moved`: its agent lives elsewhere now;
    `Unused`: it was to replace another one, and does not; `RolledBack`: its agent went back to a snapshot."""

    doing: ClassVar = Reason.DELETING
    effect: ClassVar = Effect.DELETE

    vm_id: str
    why: str
    cause: Cause

    @property
    def lost(self) -> str:
        return f"VM {self.vm_id}, with what is on it and in no snapshot"


@dataclass(frozen=True, slots=True)
class Delete(Act):
    """Ask the platform to delete this VM, one attempt."""

    doing: ClassVar = Reason.DELETING
    effect: ClassVar = Effect.DELETE
    occasion: ClassVar = "its machine was marked for deletion"

    vm_id: str

    @property
    def lost(self) -> str:
        return f"VM {self.vm_id}, with what is on it and in no snapshot"


@dataclass(frozen=True, slots=True)
class ClearSlot(Act):
    """Drop the record: absence is proven."""

    doing: ClassVar = Reason.VM_GONE
    books_only: ClassVar = True

    vm_id: str


@dataclass(frozen=True, slots=True)
class Release(Act):
    """Nothing outside is left of it: drop the finalizer and the object."""

    doing: ClassVar = Reason.DELETING
    urgency: ClassVar = Urgency.RECORD
    books_only: ClassVar = True
    effect: ClassVar = Effect.DELETE
    occasion: ClassVar = "nothing is left of it"


SnapshotAction = TakeSnapshot | SnapshotTaken | SnapshotVerified | SnapshotLost | ForgetSnapshot | NoteCommits | DropCommit
"""What is decided about commits of the machine: the one that is on its way, and those that are kept."""

SlotAction = (
    Create
    | AskOriginal
    | BindCreated
    | Adopt
    | GiveUpIntent
    | LabelClaim
    | Suspend
    | Resume
    | SnapshotAction
    | Detach
    | MarkForDeletion
    | Delete
    | ClearSlot
    | Release
)
