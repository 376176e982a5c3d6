"""Everything a decision about one VM slot may depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from reconciler.api.waits import Explained
from reconciler.core.keys import Key
from reconciler.core.records import SlotRecord
from reconciler.core.snapshot.branch import Original
from reconciler.core.snapshot.origin import OPEN, UNMARKED, Named, Origin, Sharing
from reconciler.core.snapshot.vm import Absent, VmObservation


class DesiredState(StrEnum):
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    GONE = "Gone"


class EffectiveDeletion(StrEnum):
    """What is done with the VM when the object goes."""

    DELETE = "Delete"
    SNAPSHOT = "Snapshot"
    RETAIN = "Retain"
    ORPHAN = "Orphan"
    LEAVE = "Leave"  # nothing at all: ObserveOnly

    @property
    def hands_off(self) -> bool:
        """The agent on it is not disturbed: no turn is ended, nothing is stopped."""
        return self in (EffectiveDeletion.ORPHAN, EffectiveDeletion.LEAVE)


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """A create that was written down before it was sent, and whose answer is not in the store: it never came, or could not be written
    down. `settled`: the window in which a late effect may still appear is over, and two successful lists begun after it left no
    candidate, or one list leaves several. `candidates`: the VM that was answered, else the unowned ones that pairing leaves to it; None:
    could not be read. `certain`: a single one was made by it; otherwise somebody else may have made it."""

    token: str
    settled: bool
    candidates: tuple[str, ...] | None
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """The VM that `adopt` names, as it is now. `owner`: the object here that has it already, '' for none. `origin`: who made it."""

    vm_id: str
    vm: VmObservation
    owner: str = ""
    origin: Origin = UNMARKED


@dataclass(frozen=True, slots=True)
class SnapshotSeen:
    """What the platform's list of commits says. `pending`: a commit was sent and not answered; `found`: the commit of that name,
    '' for none; `listed`: the commit we were told of is in it, and of its VM; `settled`: the window for late effects is over, and
    two lists begun after it lack the commit. None: unreadable. `kept`: the kept commits that are in it, by id, each with whether it is
    still under the name that we gave it; None: it was not read."""

    pending: bool = False
    found: str | None = ""
    listed: bool | None = False
    settled: bool = False
    kept: Mapping[str, bool] | None = None


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """When snapshots are taken and how many are kept, as declared. `since`: from when its times count, when there is no snapshot yet;
    `needed`: commits that are to be kept in any case, for now."""

    schedule: str = ""
    time_zone: str = "UTC"
    keep: int = 24
    before_mutate: bool = False
    since: float = 0.0
    needed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """Something waits for others, or for room: for which reason, and in words."""

    reason: Explained
    message: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A machine that a baked profile keeps ready. `holder`: the object that has it until it is taken."""

    holder: Key
    vm_id: str


EMPTY = SlotRecord()
GONE = Absent(proven=True)


@dataclass(frozen=True)
class Slot:
    """Everything a decision about one declared VM may depend on."""

    desired: DesiredState
    record: SlotRecord = EMPTY
    vm: VmObservation = GONE
    intent: OpenIntent | None = None
    account: str = ""
    protected: bool = False
    deletion: EffectiveDeletion = EffectiveDeletion.DELETE  # what becomes of the VM when the object is deleted
    no_delete: bool = False  # managementPolicy NoDelete: no VM is ever deleted
    observe_only: bool = False  # managementPolicy ObserveOnly: nothing outside is changed
    namespace: str = "default"
    sharing: Sharing = OPEN
    source: Named | None = None  # what a new machine would be restored from, while one may be made
    adopt: Target | None = None  # the VM that `adopt` names, until it is taken over
    original: Original | None = None  # what it is to be a live copy of, until that copy was made
    warm: Ready | None = None  # what its profile keeps ready for it
    copying: bool = False  # a branch of its VM is being made: the platform may show it paused meanwhile
    snapshot: SnapshotSeen | None = None  # read only while one is on its way, or when kept ones are to be counted
    snapshots: SnapshotPolicy | None = None  # None: only a person, or a deletion that is declared so, has one taken
    quiet: bool = False  # nothing on it would be caught in the middle: no turn, no task, no preparation
    settle_seconds: float = 0.0  # the window in which the platform's lists may be behind
    busy: bool | None = False  # the agent on it is in a turn; None: not known
    mirrored: bool = True  # everything settled in its conversation is in the store
    blocked: str = ""  # the fleet's breaker, or the hold after an empty store: why no VM may be created now
    blocked_until: float = 0.0
    loss: str = ""  # why its conversation does not go on elsewhere as declared, should the machine be lost
    lost: str = ""  # the VM that was in the slot and was lost with the conversation
    vanished: bool = False  # too many VMs vanished at once, this one among them or the slot is empty: nothing is forgotten or created
    not_up_yet: Held | None = None  # why no machine is made or resumed yet: others come first
    not_down_yet: Held | None = None  # why its machine is not suspended or deleted yet: others go first
    no_room: Held | None = None  # why no machine may be made: a limit is reached, or the fleet is halted
    halted: bool = False  # the fleet is halted: no snapshot is taken only because its time has come
    suspend_overdue: bool = False  # the grace of suspend.onBusy=Abort is over
    now: float = 0.0

    @property
    def unconfirmed(self) -> bool:
        """It is protected, and nobody has confirmed that the machine in it goes."""
        return self.protected and bool(self.record.vm_id) and self.record.confirmed != self.record.vm_id
