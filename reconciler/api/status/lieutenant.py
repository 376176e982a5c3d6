"""The status of a Lieutenant."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from reconciler.api.status.base import (
    AtMost,
    Count,
    Digest,
    ExitCode,
    Id,
    List,
    Message,
    Section,
    Status,
    Time,
    Word,
    between,
    section,
)
from reconciler.api.status.governance import MODEL as MODEL
from reconciler.api.status.governance import BudgetStatus as BudgetStatus
from reconciler.api.status.governance import FallbackStatus as FallbackStatus
from reconciler.api.status.governance import ProviderStatus as ProviderStatus
from reconciler.api.status.governance import RestStatus as RestStatus

TAIL = 512
"""Characters of a step's output in status; the record has more."""
STDERR = 1024
"""Characters of what pi printed before it ended."""
EARLIER = 10
"""Conversations before the one in force that are named."""
STEPS = 512
"""Steps and checks of a machine's preparation, the last ones."""
REF = 256
"""Characters of what pi calls its model."""
FILES = 50
"""Project files whose digest is told."""


@section
class QueueStatus(Section):
    """The tasks of a lieutenant."""

    pending: Count = 0
    """How many wait."""
    active: Word = ""
    """Name of the one that holds the session; empty: none."""


@section
class CreateIntent(Section):
    """A create that may be on its way: written before it is sent, gone when its outcome is known. A controller that has lost its store
    finds out by it whether there is a machine already."""

    token: Id = ""
    """What tells this create from every other."""
    attempt: Count = 0
    """Number of the attempt."""
    sent_at: Time = ""
    """When it was sent, by the controller's clock."""
    server_time: Time = ""
    """When it was sent, by the platform's clock; empty: not known."""
    commit: Id = ""
    """The commit that the machine is made from, or `vm:` and the machine that it is a live copy of; empty: none."""
    session: Annotated[str, AtMost(256)] | None = None
    """The conversation that a live copy goes on with."""
    size: Count | None = None
    """How many bytes of it."""
    source: Annotated[str, AtMost(256)] | None = None
    """Whose machine is copied."""
    epoch: Count | None = None
    """The epoch of the slot with that machine."""


@section
class VMStatus(Section):
    """The machine in the slot, and the create of one."""

    id: Id | None = None
    """Its full id."""
    epoch: Count | None = None
    """Grows with every machine put into the slot."""
    state: Word | None = None
    """As the platform's list says; `unknown` while it can't be read."""
    adopted: bool | None = None
    """Whether it was brought here by `adopt`; left out when it was not."""
    snapshot: Id | None = None
    """The commit taken of it before its deletion."""
    restored_from: Id | None = None
    """The snapshot that it was made from; left out when it was made from its profile."""
    restored_at: Time | None = None
    """When that snapshot was taken: its files are as they were then."""
    ref: Annotated[str, AtMost(REF)] | None = None
    """The reference that it was made from; left out when its profile names none."""
    commit: Id | None = None
    """The commit that the reference pointed to when it was made."""
    create: CreateIntent | None = None
    """The create that may be on its way. Only in a cluster."""


@section
class SnapshotsStatus(Section):
    """Commits of its machines that we took and keep."""

    count: Count = 0
    """How many there are."""
    newest: Id | None = None
    """The newest; left out when there is none."""
    taken_at: Time | None = None
    """When the newest was taken."""
    verified: Literal["Listed", "Restored"] | None = None
    """How the newest was verified. `Restored`: a machine was made from it and was what was committed; `Listed`: the platform lists it as
    a commit of that machine, and it was not restored."""
    restored: Id | None = None
    """The newest that was restored for a look, and was what was committed; left out when there is none."""
    next_due: Time | None = None
    """When the next scheduled one is due; a time that is past: as soon as the agent is settled."""
    waiting: bool | None = None
    """One is due, or asked for, and is taken when the agent is settled; left out when none is."""
    in_use: Count | None = None
    """How many could not be removed, because a machine was made from them; left out when there are none."""
    failed_at: Time | None = None
    """When the last one failed; left out once one has succeeded."""
    error: Message | None = None
    """Why it failed."""


@section
class RollbackStatus(Section):
    """The last time that the agent was to go back to a snapshot."""

    commit: Id = ""
    """To which."""
    state: Literal["Asked", "Restoring", "Waiting", "Done", "Refused"] = "Asked"
    """`Restoring`: a machine is made from it beside the first; `Waiting`: until the agent is settled."""
    message: Message | None = None
    """Why it was refused."""
    at: Time = ""
    """When it was asked for, done or refused."""


@section
class LocalStatus(Section):
    """The agent's directory on the controller's host."""

    id: Id = ""
    """Its id."""
    state: Literal["Home", "Left"] = "Home"
    """`Home`: the agent lives there. `Left`: it has moved to its machine, and what is here goes once it has answered there."""
    epoch: Count = 0
    """That of the slot."""


@section
class Instructions(Section):
    """What pi says that it was told when it started, as SHA-256 in hex."""

    prompt: Digest = ""
    """What was appended to its system prompt."""
    files: Annotated[dict[str, Digest], AtMost(FILES)] = field(default_factory=dict)
    """Project files (AGENTS.md and the like) by path."""


@section
class AgentStatus(Section):
    """The keeper and pi, as the keeper reports them; while the machine is suspended as last seen."""

    keeper_version: Word = ""
    """Version of the keeper."""
    process: Literal["Up", "Exited", "NotStarted"] = "NotStarted"
    """Whether pi runs."""
    pid: Count | None = None
    """Process id of pi."""
    model: Annotated[str, AtMost(MODEL)] | None = None
    """The model that pi says it uses; empty: it has not said."""
    thinking: Word | None = None
    """The thinking level that pi says it uses; empty: it has not said."""
    session_id: Id | None = None
    """The id of pi's session; empty: it has not said."""
    launch_hash: Digest | None = None
    """Digest of what pi was started with."""
    told: Instructions | None = None
    """What pi says that it was told; left out until it has said."""
    exit_code: ExitCode | None = None
    """How pi ended, when it ended by itself."""
    signal: Word | None = None
    """The signal that ended pi."""


@section
class SessionStatus(Section):
    """The conversation in force."""

    name: Annotated[str, AtMost(256)] = ""
    """Name of its copy in the store."""
    generation: Count = 0
    """`session.generation` when it was begun."""
    earlier: Annotated[List[Annotated[str, AtMost(256)]], AtMost(EARLIER)] | None = None
    """The conversations before it, oldest first."""
    compactions: Count | None = None
    """How often it was shortened, as its file has it; left out while it was not."""
    last_compaction_at: Time | None = None
    """When it was last, by the machine's clock."""
    told_again: bool | None = None
    """Role and directive were said again since."""


@section
class RestartsStatus(Section):
    """The last ends of pi that nobody asked for."""

    recent: Count = 0
    """How many in the time that `restart` counts."""
    last_at: Time = ""
    """When the last one was noticed."""
    exit_code: ExitCode | None = None
    """How it ended."""
    signal: Word | None = None
    """The signal that ended it."""
    stderr_tail: Annotated[str, AtMost(STDERR)] = ""
    """The end of what it printed to stderr, without secrets."""


@section
class MachineStatus(Section):
    """What was found on the machine, for planning while it can't be asked."""

    marks: Annotated[dict[str, Digest], AtMost(16)] = field(default_factory=dict)
    """Done-marks: which part of the profile was applied, as a digest."""
    node: Word | None = None
    """The version of Node.js that was found."""
    pi: Word | None = None
    """The version of pi that was found."""
    keeper: Word | None = None
    """The version of the keeper that is installed."""


@section
class StepStatus(Section):
    """The last run of one step or check on the machine."""

    kind: Word = "Step"
    """`Step`, `Verify`, `Organ` or `Capability`."""
    name: Annotated[str, AtMost(256)] = ""
    """Its name."""
    state: Literal["Running", "Succeeded", "Failed"] = "Running"
    """How it went."""
    tries: Count = 0
    """How often it was run on this machine."""
    seconds: Annotated[float, between(0, 2**31 - 1)] | None = None
    """How long it took."""
    output_tail: Annotated[str, AtMost(TAIL)] | None = None
    """The end of what it printed, without secrets."""
    exit_code: ExitCode | None = None
    """Its exit code."""
    timed_out: bool | None = None
    """Whether it was killed at its time limit; left out when it was not."""


@section
class PieceStatus(Section):
    """One organ or capability of the profile."""

    name: Word
    """Its name."""
    state: Literal["Verified", "WithoutKey", "NotVerified"] = "NotVerified"
    """`Verified`: its check ended well on this machine. `WithoutKey`: installed, and it needs a key that is not declared."""
    message: Message | None = None
    """What is missing."""


@section
class BootStatus(Section):
    """How the machine was prepared."""

    vm: Id = ""
    """The machine that this is said of."""
    steps: Annotated[List[StepStatus], AtMost(STEPS)] | None = None
    """Steps and checks, in the order of their first run."""
    prepared: bool | None = None
    """Whether all of the profile was applied; left out until the machine was looked at."""
    outdated: bool | None = None
    """Whether the profile has changed since."""
    organs: Annotated[tuple[PieceStatus, ...], AtMost(64)] | None = None
    """Organs of the profile."""
    capabilities: Annotated[tuple[PieceStatus, ...], AtMost(64)] | None = None
    """Capabilities of the profile."""


@section
class ForkedFrom(Section):
    """What it was made from as a live copy, once."""

    name: Annotated[str, AtMost(256)] = ""
    """The lieutenant."""
    vm: Id = ""
    """Its machine then."""
    at: Time = ""
    """When, by the controller's clock."""


@section
class ReplacementStatus(Section):
    """Another machine that is to take the place of this one."""

    vm: Id = ""
    """The machine that is not in use: the new one until it is, then the old one until it is gone; empty: there is none yet."""
    phase: Literal["Creating", "Preparing", "Verified", "Starting", "Removing"] = "Creating"
    """`Creating`, `Preparing`: the new machine. `Verified`: it waits until the agent is settled. `Starting`: it is in use, and pi has not
    answered on it yet; the old one is kept. `Removing`: the machine that is not needed is deleted."""
    since: Time = ""
    """When it was begun."""


@section
class LieutenantStatus(Status):
    """What was observed of a lieutenant; written by the controller."""

    mode: Literal["Running", "Suspended"] | None = None
    """The mode that is wanted, also where `mode` is left to its default; left out while it is being deleted."""
    queue: QueueStatus | None = None
    """Its tasks."""
    vm: VMStatus | None = None
    """Its machine; left out when it has none."""
    snapshots: SnapshotsStatus | None = None
    """Commits of its machines; left out when there are none and none is declared."""
    rollback: RollbackStatus | None = None
    """The last time that it was to go back to a snapshot; left out when it never was."""
    local: LocalStatus | None = None
    """Its directory on the controller's host; left out when it has none."""
    agent: AgentStatus | None = None
    """The keeper and pi; left out while they can't be asked."""
    provider: ProviderStatus | None = None
    """The provider of its model; left out while nothing is known against it."""
    fallback: FallbackStatus | None = None
    """Another model that answers instead of the declared one; left out while none does."""
    budget: BudgetStatus | None = None
    """The budgets that it spends from; left out where there is none. `reconciler get usage` has the figures."""
    rest: RestStatus | None = None
    """That its machine is suspended though it is declared Running, or how the last such rest ended; left out when there was none."""
    session: SessionStatus | None = None
    """Its conversation; left out until there is one."""
    forked_from: ForkedFrom | None = None
    """What it is a live copy of; left out until the copy was made."""
    handled: Annotated[dict[str, Annotated[str, AtMost(262_144)]], AtMost(32)] | None = None
    """Requests by annotation that were acted on: verb → token."""
    restarts: RestartsStatus | None = None
    """Ends of pi that nobody asked for; left out when there were none lately."""
    machine: MachineStatus | None = None
    """What was found on its machine."""
    boot: BootStatus | None = None
    """How its machine was prepared; left out when it has none."""
    replacement: ReplacementStatus | None = None
    """How it gets another machine; left out when it gets none."""
    next_try_at: Time | None = None
    """When what failed is tried again; left out while nothing waits for that."""
