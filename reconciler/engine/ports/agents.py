"""Machines and the agents on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from reconciler.core.keys import Json

if TYPE_CHECKING:  # a command that reads the store imports this package and has no use for them
    from reconciler.core.governance.memory import MemoryEntry
    from reconciler.core.snapshot.agent import Agent, Compacting, Guest, Verdict
    from reconciler.core.snapshot.machine import CommandResult, GuestCommand, GuestFile
    from reconciler.core.snapshot.memory import OnMachine


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


class Machine(NamedTuple):
    """A place as the lieutenant of this epoch may use it: a keeper that has met a higher epoch answers nobody of a lower one."""

    place: Place
    epoch: int

    @property
    def id(self) -> str:
        """The place's."""
        return self.place.id


@dataclass(frozen=True, slots=True)
class Launch:
    """How pi is started. `argv`: pi's own arguments after the program (the keeper adds `--mode rpc --session FILE`).
    `env` holds secrets and goes over the socket only. `launch_hash`: identifies this whole launch; the keeper reports it back. `guard`: the
    rules that its tool calls are checked against, None for none. `compacting`: how pi shortens a long conversation, None
    where that is left to it. `sandbox`: the boundary that it runs in, `memory`: what it remembers by; None for none."""

    command: tuple[str, ...]
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    work_dir: str
    agent_dir: str
    session_file: str
    launch_hash: str
    guard: Json | None = None
    memory: Json | None = None
    compacting: Compacting | None = None
    sandbox: Json | None = None


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


@dataclass(frozen=True, slots=True)
class MachineMemory:
    """What a machine has of an agent's memory. `number`: of the newest entry that the agent added there; `agent`, `shared`: by scope."""

    there: OnMachine
    number: int = 0
    agent: tuple[MemoryEntry, ...] = ()
    shared: tuple[MemoryEntry, ...] = ()


class AgentReader(Protocol):
    """What can be known of the inside of a machine; nothing there is changed by asking. Raises `GuestUnreachable` when machine or
    keeper do not answer in time, `StaleEpoch` when the keeper refuses our epoch, `GuestFailed` when something run there ended badly.
    Connections are kept per place, opened on demand, and reopened silently; nothing is resent."""

    async def inspect(self, at: Place) -> Guest:
        """Reachable? clock, claim, versions, done-marks: one round trip, no keeper needed."""
        ...

    async def observe(self, at: Machine, session_file: str, offset: int) -> AgentObservation: ...

    async def prefixes(self, at: Machine, path: str, ends: Sequence[int], blanks: Sequence[tuple[int, int]]) -> tuple[str, ...]:
        """SHA-256 (hex) of the first `ends` bytes of a regular file, for each of at most 256 rising lengths that it has. The ranges
        `blanks` (offset, length; rising) are taken as filled with `~`."""
        ...

    async def file_size(self, at: Machine, path: str) -> int | None:
        """Size in bytes of a regular file (relative: to the work dir given at the last start), None when missing."""
        ...

    async def digest(self, at: Machine, path: str) -> str:
        """One word for everything below a directory (names, sizes, times of change as opaque words): the same as long as no file
        there is written, made or removed. '' when there is no telling: too many files."""
        ...

    async def read_file(self, at: Machine, path: str, limit: int) -> bytes: ...

    async def digests(self, at: Machine, paths: Sequence[str], work_dir: str) -> Mapping[str, str]:
        """SHA-256 (hex) of each of these files as it is on the disk now, `missing` where there is no regular file. Needs a keeper
        of our own version. Relative paths start at `work_dir`."""
        ...

    async def verdict(self, at: Machine, key: str) -> Verdict: ...

    async def memory(self, at: Machine) -> MachineMemory:
        """All that is there of the agent's memory."""
        ...

    def watch(self, at: Place, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the keeper at this place says something, or the connection is lost. A hint, no more."""
        ...

    async def release(self, at: Place) -> None:
        """Close the connection to this place; changes nothing there."""
        ...


class AgentWriter(Protocol):
    """What can be changed inside a machine. Raises what `AgentReader` raises."""

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

    async def install_boundary(self, at: Place) -> None:
        """Make sure that what boundaries are made of is there; on this host it is only looked for. Raises `GuestFailed` where it is
        missing and can't be had."""
        ...

    async def start_keeper(self, at: Machine) -> None:
        """Start the keeper detached from us (it survives every disconnect), or adopt the one that runs."""
        ...

    async def write_files(self, at: Machine, files: Sequence[GuestFile], work_dir: str, marks: Mapping[str, str] | None = None) -> None:
        """Files, and then the done-marks that say which: a mark is there only once all files are. Durable in the guest."""
        ...

    async def mark(self, at: Machine, name: str, value: str) -> None:
        """Write a done-mark (durable in the guest)."""
        ...

    async def run(self, at: Machine, command: GuestCommand) -> CommandResult: ...

    async def pack(self, at: Machine, directory: str, limit: int) -> Archive:
        """Everything in a directory, links as links; nothing for one that is not there. What is larger than `limit` bytes is
        measured only."""
        ...

    async def unpack(self, at: Machine, directory: str, content: bytes) -> None:
        """Put what was packed into a directory, over what is there. Raises `GuestFailed` when what arrived is not what was
        sent; nothing of it is then in the directory."""
        ...

    async def dissolve(self, at: Machine, keep: bool) -> None:
        """The end of a place on this host: pi, keeper and all they left running are ended and proven gone, then the directory is
        removed, unless it is to be kept. Not there: nothing happens."""
        ...

    async def start_agent(self, at: Machine, launch: Launch) -> None:
        """Start pi on its session file and wait for its first answer, at most 20 s. Already running with the same
        launch_hash: nothing happens. Raises `GuestFailed` with exit code and stderr tail when it ends instead."""
        ...

    async def stop_agent(self, at: Machine, grace: float) -> None:
        """Orderly stop (clear queue, abort, EOF, SIGTERM, SIGKILL of the group). Not running: nothing happens."""
        ...

    async def reread(self, at: Machine) -> None:
        """Let a settled pi read its models file anew and say again what it was told. Raises `GuestFailed` when our extension is
        not loaded in it."""
        ...

    async def send(self, at: Machine, key: str, command: Json, rules: Json | None = None) -> Verdict:
        """Hand pi one RPC command under a durable key and await its verdict (up to 30 s, else `Unanswered`). The keeper
        forwards a key at most once, ever; a second send of it returns what became of the first. `rules`: what tool calls are checked
        against from before it is forwarded; pi must have been started with some."""
        ...

    async def put_memory(self, at: Machine, memory: MachineMemory) -> None:
        """All of the agent's memory, for the owner that it names. What the agent added after the entry of its `number` stays too."""
        ...

    async def answer(self, at: Machine, question: str, allow: bool, reason: str) -> bool:
        """A person's answer to a tool call that waits; False when nothing waits under that name any more."""
        ...

    async def call(self, at: Machine, command: Json) -> Json:
        """A transient RPC command that changes nothing durable (abort, clear_queue, get_*): pi's response, verbatim."""
        ...


class Agents(AgentReader, AgentWriter, Protocol):
    """Everything done inside a machine."""
