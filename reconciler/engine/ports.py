"""What the engine needs from outside, as Protocols. `vers`, `agent` and `store` implement them; tests bring doubles.

Rules that every implementation keeps:
* a call either returns what it observed or raises from `reconciler.errors`; nothing is swallowed and nothing is guessed;
* no implementation retries what is not idempotent; the planner decides what to try again;
* every call has a deadline of its own and may be cancelled at any time;
* secrets appear in no exception, log line or argument list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from reconciler.core.keys import Json as Json
from reconciler.core.keys import JsonValue as JsonValue
from reconciler.core.keys import Key as Key
from reconciler.core.keys import SlotKey as SlotKey
from reconciler.core.keys import SlotOwner as SlotOwner
from reconciler.core.snapshot.machine import CommandResult as CommandResult
from reconciler.core.snapshot.machine import CommitSource as CommitSource
from reconciler.core.snapshot.machine import GuestCommand as GuestCommand
from reconciler.core.snapshot.machine import GuestFile as GuestFile
from reconciler.core.snapshot.machine import RefSource as RefSource
from reconciler.core.snapshot.machine import RootSource as RootSource
from reconciler.core.snapshot.machine import VmShape as VmShape
from reconciler.core.snapshot.machine import VmSource as VmSource

if TYPE_CHECKING:
    from reconciler.core.snapshot.agent import Agent, Guest, Verdict
    from reconciler.core.snapshot.vm import Commit, Vm, VmList, VmMetadata


class Clock(Protocol):
    """`now()`: seconds since the epoch, the controller's wall clock (virtual in tests)."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


# --- the Vers platform --------------------------------------------------------------------------------------------------


class VersApi(Protocol):
    """The Vers HTTP API, one method an operation (vers-api §2). Methods raise:

    `Unauthorized` (no, wrong or expired key), `Forbidden` (403 JSON), `NotFound` (404), `Rejected` (400, 422),
    `Conflict` (409), `RateLimited` (429), `Capacity` (allocation failures on a create), `Unreachable` (no connection, 5xx,
    outage texts; the request had no effect or is idempotent), `TimedOut` (idempotent call), and, for create_vm and commit
    only, `Indeterminate` when the outcome is not known.
    """

    def account(self) -> str:
        """The account the current key belongs to (the key's public 36-character id), '' when there is no key."""
        ...

    async def list_vms(self) -> VmList: ...

    async def get_vm(self, vm_id: str) -> Vm: ...

    async def get_metadata(self, vm_id: str) -> VmMetadata: ...

    async def create_vm(self, source: VmSource, shape: VmShape, labels: Mapping[str, str], token: str) -> str:
        """One attempt to create one VM; returns its id. `labels` are sent where the operation takes them (RootSource).
        `token`: constant per intent, sent as X-Idempotency-Key, never relied on. Never retried in transport."""
        ...

    async def commit(self, vm_id: str, name: str) -> str:
        """One attempt to commit this VM under a name; returns the commit's id. Never retried in transport."""
        ...

    async def list_commits(self) -> tuple[Commit, ...]:
        """Every commit that this account may see, all pages."""
        ...

    async def delete_vm(self, vm_id: str) -> None:
        """Returns when the platform accepted the deletion or says 404. 403 JSON raises `Forbidden`: it may mean gone
        (vers-api §2.0), which only the list can prove."""
        ...

    async def suspend_vm(self, vm_id: str) -> None: ...

    async def resume_vm(self, vm_id: str) -> None: ...

    async def set_labels(self, vm_id: str, labels: Mapping[str, str]) -> None:
        """Upsert of these labels; others stay."""
        ...

    async def aclose(self) -> None: ...


# --- machines and the agents on them ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent lives: a VM by its full id or, `local`, a directory of its own on this host, by the uid of its lieutenant."""

    vm_id: str = ""
    local: str = ""

    @property
    def id(self) -> str:
        """Names the place towards its keeper, in messages and wherever something is kept by place; '' for no place."""
        return f"{LOCAL_PREFIX}{self.local}" if self.local else self.vm_id


LOCAL_PREFIX = "local-"


def where(place: Place) -> str:
    """A place in words."""
    return "this host" if place.local else f"VM {place.vm_id}"


@dataclass(frozen=True, slots=True)
class Launch:
    """How pi is started. `argv`: pi's own arguments after the program (the keeper adds `--mode rpc --session FILE`).
    `env` holds secrets and goes over the socket only. `launch_hash`: identifies this whole launch; the keeper reports it back."""

    command: tuple[str, ...]
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    work_dir: str
    agent_dir: str
    session_file: str
    launch_hash: str


@dataclass(frozen=True, slots=True)
class AgentObservation:
    """One consistent look at keeper, pi and conversation: pi's state was read before the session file, so a settled state
    comes with everything that had settled. `chunk`: session bytes from the offset asked for (at most 4 MiB; more may
    remain when offset + len(chunk) < agent.session_size). `live`: text of the message being written, '' when none."""

    agent: Agent
    chunk: bytes = field(repr=False)
    live: str = ""


@dataclass(frozen=True, slots=True)
class Archive:
    """A packed directory. `size`: bytes that it holds unpacked; `content`: None when that is too much."""

    size: int
    content: bytes | None = field(default=None, repr=False)


class Agents(Protocol):
    """Everything done inside a machine. Raises `GuestUnreachable` when machine or keeper do not answer in time,
    `StaleEpoch` when the keeper refuses our epoch, `GuestFailed` when something run there ended badly.
    Connections are kept per place, opened on demand, and reopened silently; nothing is resent."""

    async def inspect(self, at: Place) -> Guest:
        """Reachable? clock, claim, versions, done-marks: one round trip, no keeper needed."""
        ...

    async def correct_clock(self, at: Place) -> None:
        """Set the guest's clock to the controller's (G-12)."""
        ...

    async def write_claim(self, at: Place, claim: Mapping[str, str]) -> None: ...

    async def remove_claim(self, at: Place) -> None:
        """Take the claim file away; nothing else there changes, keeper and pi go on."""
        ...

    async def install(self, at: Place) -> None:
        """Make sure that node, pi (pinned) and our keeper are there; does nothing for what is there already."""
        ...

    async def start_keeper(self, at: Place, epoch: int) -> None:
        """Start the keeper detached from us (it survives every disconnect), or adopt the one that runs."""
        ...

    async def observe(self, at: Place, epoch: int, session_file: str, offset: int) -> AgentObservation: ...

    async def prefixes(self, at: Place, epoch: int, path: str, ends: Sequence[int], blanks: Sequence[tuple[int, int]]) -> tuple[str, ...]:
        """SHA-256 (hex) of the first `ends` bytes of a regular file, for each of at most 256 rising lengths that it has. The ranges
        `blanks` (offset, length; rising) are taken as filled with `~`."""
        ...

    async def write_files(self, at: Place, epoch: int, files: Sequence[GuestFile], work_dir: str) -> None: ...

    async def mark(self, at: Place, epoch: int, name: str, value: str) -> None:
        """Write a done-mark (durable in the guest)."""
        ...

    async def run(self, at: Place, epoch: int, command: GuestCommand) -> CommandResult: ...

    async def file_size(self, at: Place, epoch: int, path: str) -> int | None:
        """Size in bytes of a regular file (relative: to the work dir given at the last start), None when missing."""
        ...

    async def digest(self, at: Place, epoch: int, path: str) -> str:
        """One word for everything below a directory (names, sizes, times of change as opaque words): the same as long as no file
        there is written, made or removed. '' when there is no telling: too many files."""
        ...

    async def read_file(self, at: Place, epoch: int, path: str, limit: int) -> bytes: ...

    async def digests(self, at: Place, epoch: int, paths: Sequence[str], work_dir: str) -> Mapping[str, str]:
        """SHA-256 (hex) of each of these files as it is on the disk now, `missing` where there is no regular file. Needs a keeper
        of our own version. Relative paths start at `work_dir`."""
        ...

    async def pack(self, at: Place, epoch: int, directory: str, limit: int) -> Archive:
        """Everything in a directory, links as links; nothing for one that is not there. What is larger than `limit` bytes is
        measured only."""
        ...

    async def unpack(self, at: Place, epoch: int, directory: str, content: bytes) -> None:
        """Put what was packed into a directory, over what is there. Raises `GuestFailed` when what arrived is not what was
        sent; nothing of it is then in the directory."""
        ...

    async def dissolve(self, at: Place, epoch: int, keep: bool) -> None:
        """The end of a place on this host: pi, keeper and all they left running are ended and proven gone, then the directory is
        removed, unless it is to be kept. Not there: nothing happens."""
        ...

    async def start_agent(self, at: Place, epoch: int, launch: Launch) -> None:
        """Start pi on its session file and wait for its first answer, at most 20 s. Already running with the same
        launch_hash: nothing happens. Raises `GuestFailed` with exit code and stderr tail when it ends instead."""
        ...

    async def stop_agent(self, at: Place, epoch: int, grace: float) -> None:
        """Orderly stop (clear queue, abort, EOF, SIGTERM, SIGKILL of the group). Not running: nothing happens."""
        ...

    async def reread(self, at: Place, epoch: int) -> None:
        """Let a settled pi read its models file anew and say again what it was told. Raises `GuestFailed` when our extension is
        not loaded in it."""
        ...

    async def send(self, at: Place, epoch: int, key: str, command: Json) -> Verdict:
        """Hand pi one RPC command under a durable key and await its verdict (up to 30 s, else `Unanswered`). The keeper
        forwards a key at most once, ever; a second send of it returns what became of the first."""
        ...

    async def verdict(self, at: Place, epoch: int, key: str) -> Verdict: ...

    async def call(self, at: Place, epoch: int, command: Json) -> Json:
        """A transient RPC command that changes nothing durable (abort, clear_queue, get_*): pi's response, verbatim."""
        ...

    def watch(self, at: Place, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the keeper at this place says something, or the connection is lost. A hint, no more."""
        ...

    async def release(self, at: Place) -> None:
        """Close the connection to this place; changes nothing there."""
        ...

    async def aclose(self) -> None: ...


# --- the store ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
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
    """Something that happened, for people. `seq` is given by the store (0 before). `type`: Normal | Warning."""

    key: Key
    uid: str
    type: str
    reason: str
    message: str
    at: float
    seq: int = 0


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
class PutMeta:
    name: str
    value: str


Write = PutObject | DropObject | PutIntent | AddEvent | AppendSession | SawVms | PutMeta


@dataclass(frozen=True, slots=True)
class Image:
    """Everything a starting controller needs. `sessions`: mirror name → length in bytes."""

    objects: tuple[StoredObject, ...]
    intents: tuple[Intent, ...]  # the open ones
    first_seen: Mapping[str, float]
    sessions: Mapping[str, int]
    meta: Mapping[str, str]


class Store(Protocol):
    """Durable state. One batch = one transaction; `write` raises `Conflict` (nothing of the batch applied) when an
    `expect` or an `offset` does not hold. After kill -9 every batch is there whole or not at all (G-63)."""

    async def write(self, batch: Sequence[Write]) -> None: ...

    async def load(self) -> Image: ...

    async def objects(self, kind: str | None = None, namespace: str | None = None, name: str | None = None) -> list[StoredObject]: ...

    async def events(self, key: Key | None = None, after: int = 0, limit: int = 1000) -> list[Event]:
        """Oldest first, `seq` > after; without `after`, the last `limit`."""
        ...

    async def session(self, session: str, offset: int = 0, limit: int = 1 << 22) -> bytes: ...

    async def meta(self, name: str) -> str | None: ...

    async def aclose(self) -> None: ...


class Secrets(Protocol):
    """Values of `secretKeyRef`s and `configMapKeyRef`s, resolved at each use."""

    def get(self, namespace: str, name: str, key: str) -> str | None: ...

    def config(self, namespace: str, name: str, key: str) -> str | None:
        """The value of a key of a ConfigMap, which is no secret; None when there is none."""
        ...

    def known(self) -> Iterable[str]:
        """Every value handed out so far, for redaction."""
        ...
