"""The store: what is durable, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from reconciler.core.audit import Entry
from reconciler.core.keys import Json, Key, SlotOwner

if TYPE_CHECKING:  # a command that reads the store imports this and has no use for them
    from reconciler.core.governance.memory import MemoryEntry, Whose


@dataclass(frozen=True)
class StoredObject:
    """One declared object with everything the controller knows about it.

    `generation` grows with every change of spec; `version` with every write (compare-and-set). `spec` is what the user
    wrote, nothing is ever defaulted into it. `record`: the controller's own durable facts (VM id, epoch, delivery, ...);
    private, not part of the API. `source`: file | api | kube; `origin`: `FILE:LINE` or ''. `deleted_at`: deletion was asked for.
    `owner`: uid of the object that this one was made for, '' for one that was declared. `source_id`: which source of that sort declared
    it (uuid of the stack, uid of the cluster), '' where the source has no identity; `source_commit`: the commit that it was read from."""

    key: Key
    uid: str
    generation: int
    version: int
    created_at: float
    spec: Json
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    deleted_at: float | None = None
    status: Json = field(default_factory=dict)
    record: Json = field(default_factory=dict)
    source: str = "api"
    origin: str = ""
    owner: str = ""
    source_id: str = ""
    source_commit: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """A call that is not idempotent, written down before it was sent (design §5.2). Open while `outcome` is ''.
    `owner`: the slot that it is for. `server_time`: platform clock of the last list before it; `sent_at`: controller clock."""

    token: str
    owner: SlotOwner
    verb: str
    attempt: int
    payload: Json
    sent_at: float
    server_time: float | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for people. `seq` is given by the store (0 before). `type`: Normal | Warning. `series`: tells the news
    from other news; `count`: how often it was told so far, `first` then first and `at` last. The store keeps the last of a series."""

    key: Key
    uid: str
    type: str
    reason: str
    message: str
    at: float
    seq: int = 0
    series: str = ""
    count: int = 1
    first: float = 0.0

    @property
    def since(self) -> float:
        """When it happened first."""
        return self.first or self.at


# Writes: one batch is one transaction; it is durable when `Store.write` returns.
@dataclass(frozen=True, slots=True)
class PutObject:
    """Insert (`expect` 0) or replace the row whose version is `expect`; `obj.version` is the new one."""

    obj: StoredObject
    expect: int


@dataclass(frozen=True, slots=True)
class DropObject:
    key: Key
    uid: str


@dataclass(frozen=True, slots=True)
class PutIntent:
    """Open or close an intent (upsert by token)."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class AddEvent:
    event: Event


@dataclass(frozen=True, slots=True)
class AppendSession:
    """Mirror of a session file: bytes at `offset`, which must be the mirror's current length (else `Conflict`)."""

    session: str
    offset: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SawVms:
    """VM ids that a list showed for the first time, with the controller's time."""

    vm_ids: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class AddAudit:
    """Add to what is known of who changed what, and keep so many."""

    entry: Entry
    keep: int


@dataclass(frozen=True, slots=True)
class PutMemory:
    """Write entries of a memory; before that these are dropped for good, '' for all."""

    whose: Whose
    entries: tuple[MemoryEntry, ...] = field(default=(), repr=False)
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PutMeta:
    name: str
    value: str


Write = PutObject | DropObject | PutIntent | AddEvent | AppendSession | SawVms | PutMeta | AddAudit | PutMemory


@dataclass(frozen=True, slots=True)
class Image:
    """Everything a starting controller needs. `sessions`: mirror name → length in bytes."""

    objects: tuple[StoredObject, ...]
    intents: tuple[Intent, ...]  # the open ones
    first_seen: Mapping[str, float]
    sessions: Mapping[str, int]
    meta: Mapping[str, str]


HALTED = "halted"
"""Name of the meta row that says since when the fleet is halted."""


class Store(Protocol):
    """Durable state. One batch = one transaction; `write` raises `Conflict` (nothing of the batch applied) when an
    `expect` or an `offset` does not hold. After kill -9 every batch is there whole or not at all (G-63)."""

    async def write(self, batch: Sequence[Write]) -> None: ...

    async def load(self) -> Image: ...

    async def objects(self, kind: str | None = None, namespace: str | None = None, name: str | None = None) -> list[StoredObject]: ...

    async def events(self, key: Key | None = None, after: int = 0, limit: int = 1000, namespace: str | None = None) -> list[Event]:
        """Oldest first, `seq` > after; without `after`, the last `limit`. `namespace`: only in it; `default` has also those about what is
        in none, as in a cluster."""
        ...

    async def session(self, session: str, offset: int = 0, limit: int = 1 << 22) -> bytes: ...

    async def meta(self, name: str) -> str | None: ...

    async def metas(self, beginning: str) -> Mapping[str, str]:
        """The values whose names begin with this."""
        ...

    async def audit(self, limit: int = 1000, namespace: str | None = None) -> list[tuple[int, Entry]]:
        """The last `limit` entries with their numbers, oldest first. `namespace`: only in it, and what concerns the whole fleet."""
        ...

    async def memory(self, namespace: str, owner: str) -> list[MemoryEntry]:
        """All entries of a memory, also those that were removed, oldest first. `owner`: '' for the one that is shared."""
        ...

    async def aclose(self) -> None: ...
