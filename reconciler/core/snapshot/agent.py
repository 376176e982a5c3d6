"""What may be observed inside a machine: the guest, the keeper and pi, and what became of a command to pi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.core.snapshot.memory import OnMachine, Taken


@dataclass(frozen=True)
class Guest:
    """What one look into a reachable machine told, before and beside its keeper.

    `clock_skew`: guest minus controller, seconds; `clock_uncertainty`: how many of them may be due to a slow way. `claim`: the claim
    file, as written (may be a parent's copy). `node`, `pi`: versions found, None when missing. `keeper`: version of the keeper
    installed, None when missing. `keeper_alive`: its socket answered. `marks`: done-marks of boot steps, name → hash."""

    clock_skew: float = 0.0
    claim: Mapping[str, str] | None = None
    node: str | None = None
    pi: str | None = None
    keeper: str | None = None
    keeper_alive: bool = False
    marks: Mapping[str, str] = field(default_factory=dict)
    clock_uncertainty: float = 0.0


FORESEEN = "?"
"""A version that is there since an act of ours has put it there, and that no look has told yet."""


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
class Compacting:
    """How pi shortens a long conversation: whether by itself, tokens kept free for an answer, tokens of the newest messages that stay."""

    auto: bool = True
    reserve_tokens: int = 16_384
    keep_recent_tokens: int = 20_000


AS_PI_DOES = Compacting()
"""What pi does by itself."""


@dataclass(frozen=True, slots=True)
class Question:
    """A tool call that waits for a person. `call`: as people read it; `part`: what of it the rule of that level asks about; `since`:
    controller clock."""

    id: str
    call: str
    part: str
    rule: str
    level: str
    since: float


@dataclass(frozen=True, slots=True)
class Guarded:
    """pi's tool calls are checked. `base`: hash of the rules that it was started with; `hash`: of those that hold now, with a task's."""

    base: str
    hash: str
    asks: tuple[Question, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """`number`: rises with each that is worth telling; `what`: call, network or files; `told`: which, and how often; `rule`, `level`: that
    refused a call, '' for none."""

    number: int
    what: str
    told: str
    rule: str = ""
    level: str = ""

    @property
    def words(self) -> str:
        return f"{self.what} {self.told}"


@dataclass(frozen=True, slots=True)
class Refusals:
    """What an agent tried that its permissions or its boundary refused. `told`: the newest, oldest first."""

    told: tuple[Refusal, ...] = ()

    def after(self, number: int) -> tuple[Refusal, ...]:
        """Those that came later."""
        return tuple(one for one in self.told if one.number > number)

    @property
    def last(self) -> int:
        return max((one.number for one in self.told), default=0)


@dataclass(frozen=True, slots=True)
class RunningTool:
    """A tool call that has not ended. `since`: controller clock."""

    name: str
    since: float


@dataclass(frozen=True, slots=True)
class Up:
    """pi runs. `responsive`: it answered `get_state` just now. `busy`: a turn is on, or something is queued, compacting
    or unanswered; its contrary is *settled*, the only state in which a prompt may be sent. `activity`: a count of signs of work
    since its start (text being written, output of tools, messages); `work`: a count of looks at which the processes of a running tool had
    used CPU or I/O; `tool`: the one that has run for longest."""

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
    tool: RunningTool | None = None
    work: int = 0
    guard: Guarded | None = None  # None: its tool calls are not checked
    memory: Taken | None = None  # None: it has none
    compacting: Compacting | None = None  # as pi itself has it; None: it has not said yet, or can't
    sandbox: str = ""  # hash of the boundary that its keeper says it runs in; '': none
    refused: Refusals = Refusals()
    retry_after: float = 0.0  # seconds for which the model's provider asks to be left alone, from now on; 0: it does not


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
    `seq`: last number of its event journal. `output_blocked`: it reached its cap and stopped reading pi (G-26). `memory`: which entries of
    the agent's memory are there, None where it knows of no memory."""

    keeper_version: str
    epoch: int
    process: Process
    session_file: str = ""
    session_size: int = 0
    seq: int = 0
    output_blocked: bool = False
    memory: OnMachine | None = None


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
