"""What exists on the simulated platform (vers-api §2.1, §2.3, §9 "Data model"), and what has to happen in guests because of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

import orjson

Phase = Literal["running", "paused", "sleeping", "dead"]


@dataclass(frozen=True, slots=True)
class Account:
    """One API key and its organisation. `key_id`: the key's public 36 characters, the `owner_id` of all it makes;
    `secret`: the other 64 (vers-api §1.2)."""

    key_id: str
    secret: str = field(repr=False)
    created_at: float
    org: str = "simulated"


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf something is done. `call`: the ledger's number of the call, 0 when nobody called."""

    owner: str
    call: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes in MiB; the defaults are the platform CLI's (vers-api §3.5)."""

    vcpu: int = 1
    mem: int = 512
    fs: int = 1024


@dataclass(slots=True)
class Vm:
    """A VM, for ever: a deleted one stays as a tombstone. Times are the simulator's clock: `running_at` boot ends,
    `listed_at` shows in the list, `ssh_at` SSH answers, `deleted_at` gone from then on. `parent_commit`: started from it.
    `leaked`: deleted, and still counted towards the quota."""

    id: str
    owner: str
    created_at: float
    serial: int
    labels: dict[str, str]
    shape: Shape
    parent_commit: str | None
    key_seed: str = field(repr=False)
    phase: Phase
    running_at: float
    listed_at: float
    ssh_at: float
    deleted_at: float | None = None
    leaked: bool = False

    def state(self, now: float) -> str:
        """How the API reads it: booting | running | paused | sleeping | dead."""
        return "booting" if self.phase == "running" and now < self.running_at else self.phase

    def exists(self, now: float) -> bool:
        return self.deleted_at is None or now < self.deleted_at

    @property
    def suspended(self) -> bool:
        return self.phase in ("paused", "sleeping")


@dataclass(slots=True)
class Commit:
    """A snapshot. `parent_vm`: the VM it was made from; `grandparent_commit`: what that VM was started from.
    `internal`: made by branching a VM."""

    id: str
    name: str
    owner: str
    created_at: float
    parent_vm: str | None
    grandparent_commit: str | None
    shape: Shape
    labels: dict[str, str]
    description: str | None = None
    is_public: bool = False
    internal: bool = False


@dataclass(slots=True)
class Tag:
    """A name for a commit: of the organisation (legacy) or of a repository."""

    id: str
    name: str
    commit: str | None
    created_at: float
    updated_at: float
    description: str | None = None


@dataclass(slots=True)
class Repository:
    id: str
    name: str
    created_at: float
    description: str | None = None
    is_public: bool = False
    tags: dict[str, Tag] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deferred:
    """A request whose effect comes at `at`, its caller long gone."""

    at: float
    op: str
    method: str
    path: str
    query: dict[str, str]
    body: str
    owner: str


# --- what guests have to do, in order ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kit:
    """What a new machine is given. `tools`: node and pi; `names`: a way to resolve names; `disk_kib`: room in /var/lib/reconciler, 0:
    as much as the host has."""

    tools: bool = True
    names: bool = True
    disk_kib: int = 0


@dataclass(frozen=True, slots=True)
class StartGuest:
    """A new machine: from the base image, or from a commit's disk. `clock_offset`: seconds its clock is off."""

    vm_id: str
    commit: str | None
    kit: Kit
    clock_offset: float
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class SnapshotGuest:
    """Keep the disk of a VM under a commit's id; its processes stand still meanwhile. `frozen`: they stood still before."""

    vm_id: str
    commit: str
    frozen: bool


@dataclass(frozen=True, slots=True)
class FreezeGuest:
    vm_id: str


@dataclass(frozen=True, slots=True)
class ThawGuest:
    """`restart`: its processes are lost."""

    vm_id: str
    restart: bool


@dataclass(frozen=True, slots=True)
class KillGuest:
    """The machine died; its disk stays until it is deleted."""

    vm_id: str


@dataclass(frozen=True, slots=True)
class RemoveGuest:
    vm_id: str
    at: float


@dataclass(frozen=True, slots=True)
class RemoveSnapshot:
    commit: str


@dataclass(frozen=True, slots=True)
class DropConnections:
    """Cut every SSH connection of a VM; '' is all VMs."""

    vm_id: str


Effect = StartGuest | SnapshotGuest | FreezeGuest | ThawGuest | KillGuest | RemoveGuest | RemoveSnapshot | DropConnections

Record = Vm | Commit | Tag | Repository


def dump(record: Record) -> bytes:
    return orjson.dumps(asdict(record))


def _shape(raw: dict[str, int]) -> Shape:
    return Shape(**raw)


def load_vm(data: bytes) -> Vm:
    raw = orjson.loads(data)
    return Vm(**{**raw, "shape": _shape(raw["shape"])})


def load_commit(data: bytes) -> Commit:
    raw = orjson.loads(data)
    return Commit(**{**raw, "shape": _shape(raw["shape"])})


def load_tag(data: bytes) -> Tag:
    return Tag(**orjson.loads(data))


def load_repository(data: bytes) -> Repository:
    raw = orjson.loads(data)
    return Repository(**{**raw, "tags": {name: Tag(**tag) for name, tag in raw["tags"].items()}})
