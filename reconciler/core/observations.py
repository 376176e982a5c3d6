"""What may be observed of the world: closed types in which *unknown* is a value (G-04).

Times are seconds since the epoch, as floats. `created_at` is the platform's clock, everything else the controller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class VmState(StrEnum):
    """A VM's state as decisions see it. Platform words: vers-api §3.1 (`paused` and `sleeping` are one class)."""

    BOOTING = "booting"
    RUNNING = "running"
    SUSPENDED = "suspended"
    DEAD = "dead"
    UNKNOWN = "unknown"  # a word we don't know yet


@dataclass(frozen=True, slots=True)
class Vm:
    """One row of the platform's list."""

    vm_id: str
    owner_id: str
    created_at: float
    state: VmState
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VmList:
    """One successful list. `begun` and `ended`: the controller's clock around the call; `server_time`: the answer's
    Date header (platform clock), None when it had none."""

    vms: Mapping[str, Vm]
    begun: float
    ended: float
    server_time: float | None = None


@dataclass(frozen=True, slots=True)
class VmMetadata:
    """Lineage of one VM (vers-api §2.1, `/metadata`)."""

    vm_id: str
    created_at: float
    state: VmState
    parent_commit_id: str | None = None
    grandparent_vm_id: str | None = None
    deleted_at: float | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """One row of the platform's list of commits (vers-api §2.3)."""

    commit_id: str
    name: str
    created_at: float
    parent_vm_id: str = ""


# --- one VM, as decisions see it ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """The VM was in a list begun after our last change to it. `claimed`: it carries our claim for this very VM id."""

    state: VmState
    claimed: bool = True
    claimed_by: str = ""  # another installation's valid claim: its name


@dataclass(frozen=True, slots=True)
class Absent:
    """Missing from the last list; `proven` by everything design §5.3 asks for (one list proves nothing)."""

    proven: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """Could not be read. Nothing destructive may follow from it."""

    why: str


VmObservation = Seen | Absent | Unknown


# --- inside the machine -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Guest:
    """What one look into a reachable machine told, before and beside its keeper.

    `clock_skew`: guest minus controller, seconds. `claim`: the claim file, as written (may be a parent's copy).
    `node`, `pi`: versions found, None when missing. `keeper`: version of the keeper installed, None when missing.
    `keeper_alive`: its socket answered. `marks`: done-marks of boot steps, name → hash."""

    clock_skew: float = 0.0
    claim: Mapping[str, str] | None = None
    node: str | None = None
    pi: str | None = None
    keeper: str | None = None
    keeper_alive: bool = False
    marks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The keeper runs, pi was never started by it (or was stopped on purpose)."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What pi was told when it started, as it says itself (SHA-256, hex). `prompt`: what was appended to its system prompt;
    `context`: of each project file (AGENTS.md and the like) in that prompt, by path."""

    prompt: str
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Up:
    """pi runs. `responsive`: it answered `get_state` just now. `busy`: a turn is on, or something is queued, compacting
    or unanswered; its contrary is *settled*, the only state in which a prompt may be sent. `activity`: a count of signs of work
    since its start (text being written, output of tools, messages)."""

    pid: int
    started_at: float
    launch_hash: str
    responsive: bool = True
    busy: bool = False
    pending: int = 0
    model: str | None = None
    thinking: str | None = None
    session_id: str | None = None
    activity: int = 0
    inside: Inside | None = None  # None: it has not said yet, or can't
    session_file: str = ""  # the one it was started on; '' when the keeper does not say


@dataclass(frozen=True, slots=True)
class Exited:
    """pi ended without being asked to. `exit_code` or `signal`, and the tail of its stderr."""

    at: float
    exit_code: int | None
    signal: str | None
    stderr_tail: str = ""
    launch_hash: str = ""


Process = NotStarted | Up | Exited


@dataclass(frozen=True, slots=True)
class Agent:
    """What the keeper reports. `epoch`: the highest it has seen. `session_size`: bytes of the session file.
    `seq`: last number of its event journal. `output_blocked`: it reached its cap and stopped reading pi (G-26)."""

    keeper_version: str
    epoch: int
    process: Process
    session_file: str = ""
    session_size: int = 0
    seq: int = 0
    output_blocked: bool = False


# --- what a command to pi came to (G-22: every command gets a verdict) ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """pi answered success. Not yet proof that the prompt is in the conversation (pi-rpc §0.4)."""

    disposition: str = ""


@dataclass(frozen=True, slots=True)
class Declined:
    """pi answered failure; nothing was done."""

    error: str


@dataclass(frozen=True, slots=True)
class Lost:
    """pi died, or was not up, before it answered; only the conversation can tell whether it was received."""

    why: str


@dataclass(frozen=True, slots=True)
class Unheard:
    """The keeper never saw this command key, so pi never did either."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Forwarded to pi, no answer yet."""


Verdict = Accepted | Declined | Lost | Unheard | Unanswered


# --- the conversation, read from the session file -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money of messages, as pi reports them; `cost` in US dollars."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.cost + other.cost,
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call: its id, the tool, and what it is about (a path, a command), bounded."""

    call_id: str
    tool: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One finished message of the session file. `offset`: byte position of its line. `stop_reason` and `usage` only for
    the assistant; `text` is the message's text parts joined (bounded by the reader),
    `text_bytes` the length of all of it. `calls`: the tool calls of an assistant's
    message; `result_of`: the call that this result answers, `failed` when it says so."""

    entry_id: str
    offset: int
    role: str  # user | assistant | toolResult | system
    text: str
    stop_reason: str = ""
    error: str = ""
    usage: Usage = Usage()
    at: float = 0.0
    calls: tuple[ToolCall, ...] = ()
    text_bytes: int = 0
    result_of: str = ""
    failed: bool = False
