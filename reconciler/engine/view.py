"""What the rooms outside of the engine may know of it: `serve`, `sources` and `cli` import these protocols and never the engine itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reconciler.core.audit import Actor
from reconciler.core.fleet.orphans import Stray
from reconciler.core.keys import Json, Key, SlotKey, SlotOwner
from reconciler.core.prune import Blocked
from reconciler.core.slot.claims import Owner
from reconciler.core.snapshot.vm import Vm
from reconciler.core.spending.books import Books
from reconciler.core.spending.ledger import NOTHING, Spent
from reconciler.engine.effects import Effects
from reconciler.engine.outbox import Figures
from reconciler.engine.ports import Clock, Event, Intent, Secrets, StoredObject
from reconciler.engine.state.changes import Note, ObjectChange
from reconciler.engine.state.declarations import Outcome
from reconciler.engine.state.declared import Declared, Intake
from reconciler.engine.state.objects import AnyItem, LieutenantItem, TaskItem
from reconciler.engine.state.prunes import PruneBook
from reconciler.engine.subscriptions import Unsubscribe
from reconciler.engine.telemetry import Telemetry

OnEvent = Callable[[Event], None]
OnChange = Callable[[Key, StoredObject | None, StoredObject | None], None]
"""The key, what the object was, what it is (None: it did not exist, it is gone)."""
OnPlatform = Callable[[str], None]
"""Why the platform can't be reached; '' when it answers again."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """`depth`: reconcile keys that wait for a worker. `oldest`: seconds that the first of them has waited."""

    depth: int
    oldest: float


@dataclass(frozen=True, slots=True)
class FleetState:
    """`vms`: of owned VMs in the last list, the number by state. `orphans`: VMs that carry our claim and have no owner, by id.
    `breaker`: why the platform refuses new VMs, '' when it does not. `failing_deletes`: VMs whose deletion keeps failing.
    `platform`: why the platform can't be reached, '' when it can. `halted`: since when nothing is created or delivered, '' when it is.
    `providers`: of the models' providers that agents need, how many breakers are open, by name. `spent`:
    what stands in the books of all agents."""

    vms: Mapping[str, int]
    orphans: Mapping[str, Stray]
    breaker: str
    failing_deletes: int
    platform: str
    halted: str = ""
    providers: Mapping[str, int] = field(default_factory=dict)
    spent: Spent = NOTHING


class ObjectReader(Protocol):
    """The declared objects in memory, to read."""

    @property
    def revision(self) -> int: ...

    def get(self, key: Key) -> AnyItem | None: ...

    def lieutenant(self, key: Key) -> LieutenantItem | None: ...

    def task(self, key: Key) -> TaskItem | None: ...

    def of_kind(self, kind: str) -> list[AnyItem]: ...

    def all_keys(self) -> list[Key]: ...

    def owner_of(self, vm_id: str) -> SlotKey | None: ...


class DeclarationPort(Protocol):
    """Declares, withdraws and annotates; nothing outside is touched by it. `engine.state.declarations.Declarations` says what is raised."""

    def acting(self, actor: Actor) -> DeclarationPort: ...

    async def apply(self, declared: Declared) -> Outcome: ...

    def check(self, declared: Declared) -> None: ...

    async def intake(self, seen: Intake) -> Outcome: ...

    def flawed(self, found: Mapping[Key, str]) -> set[str]: ...

    async def withdraw(self, key: Key, why: str, annotations: Mapping[str, str] = ...) -> None: ...

    async def delete(
        self,
        key: Key,
        source: str | None = None,
        still_declared: Callable[[StoredObject], bool] = ...,
        verbs: Mapping[str, str] | None = None,
        why: str = ...,
    ) -> None: ...

    @property
    def prunes(self) -> PruneBook: ...

    async def note_blocked(self, blocked: Sequence[Blocked], done: Collection[str] = ()) -> list[Blocked]: ...

    def planned(self, declared: Declared, verbs: Mapping[str, str] = ...) -> tuple[Outcome, ObjectChange | None]: ...

    def planned_deletion(
        self,
        item: AnyItem,
        source: str | None = None,
        still_declared: Callable[[StoredObject], bool] = ...,
        verbs: Mapping[str, str] = ...,
        why: str = ...,
    ) -> ObjectChange: ...

    async def put_in_force(self, changes: Sequence[ObjectChange], notes: Sequence[Note] = ()) -> None: ...

    async def approve_prune(self, name: str, seen: str | None = None) -> None: ...

    async def halt(self, on: bool) -> str: ...

    async def annotate(self, key: Key, annotations: Mapping[str, str]) -> None: ...

    async def patch_spec(
        self, key: Key, change: Callable[[StoredObject], Json], source: str | None, verbs: Mapping[str, str] | None = None
    ) -> Outcome: ...


class RestorePort(Protocol):
    """Puts back what a lost or an older store does not know, from what outlived it. Every method raises what platform and store say."""

    @property
    def owner(self) -> Owner: ...

    async def vms(self) -> Mapping[str, Vm]:
        """All VMs, from a list that is no older than a resync."""
        ...

    async def object(self, seen: Intake, record: Json | None, status: Json, *intents: Intent) -> Outcome:
        """Take in an object that is new to the store, with what is known of it and the creates that may still be on their way."""
        ...

    async def record(self, key: Key, record: Json, status: Json | None = None) -> None:
        """Replace what the store knows of an object by what the cluster knows."""
        ...

    def open_create(self, slot: SlotOwner) -> Intent | None:
        """The create of this slot whose outcome is not known yet."""
        ...


class OrphanPort(Protocol):
    """Deletion of orphans, by the engine's own procedure: journal, lease, one more look at the VM before the call."""

    async def ask(self, vm_ids: Iterable[str]) -> None:
        """A person wants these deleted. Durable when it returns; each is deleted only if it is an orphan."""
        ...

    def subscribe(self, listener: Callable[[str, str, str], None]) -> Unsubscribe:
        """Called with VM id, reason and message when it is decided what became of a request."""
        ...


class EngineView(Protocol):
    """What there is to know of an engine that was loaded."""

    @property
    def table(self) -> ObjectReader: ...

    @property
    def declarations(self) -> DeclarationPort: ...

    @property
    def secrets(self) -> Secrets: ...

    @property
    def revision(self) -> int:
        """Grows with every change of an object."""
        ...

    @property
    def telemetry(self) -> Telemetry: ...

    @property
    def reconcile_errors(self) -> Mapping[str, int]:
        """Errors after which a reconcile was tried again, by class."""
        ...

    def queue_state(self) -> QueueState: ...

    def fleet_state(self) -> FleetState: ...

    def books(self) -> Books:
        """What agents spent."""
        ...

    def notices(self) -> Mapping[str, Figures]:
        """How the sinks of notices do, by name."""
        ...

    def healthy(self) -> bool:
        """False when only a restart helps."""
        ...

    def converged(self) -> bool:
        """Everything declared was reconciled since its last change, and is steady."""
        ...

    def subscribe(
        self, *, events: OnEvent | None = None, changes: OnChange | None = None, platform: OnPlatform | None = None
    ) -> Unsubscribe:
        """Be called with events, with durable changes of objects, and when the platform goes away or answers again."""
        ...

    def wake(self, key: Key) -> None:
        """Reconcile this object soon."""
        ...

    def caught_up(self) -> None:
        """Whoever reads declarations has read all of them once, and they are in force."""
        ...


class SourceEngine(EngineView, Protocol):
    """What a source needs that keeps declarations elsewhere and begins together with the engine."""

    @property
    def effects(self) -> Effects: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def restore(self) -> RestorePort: ...

    @property
    def orphans(self) -> OrphanPort: ...

    async def record_event(self, key: Key, uid: str, reason: str, message: str, *, warning: bool = False) -> None:
        """Store an event and tell the subscribers."""
        ...

    async def start(self, catch_up: Callable[[], Awaitable[None]] | None = None) -> None: ...
