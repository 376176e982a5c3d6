"""Everything a decision about one task may depend on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reconciler.api.budget import TaskBudget
from reconciler.core.messages import Message, in_order
from reconciler.core.records import ReminderRecord, TaskRecord
from reconciler.core.snapshot.agent import Question, RunningTool, Verdict
from reconciler.core.snapshot.provider import NO_PROVIDER, Provider
from reconciler.core.snapshot.slot import Held
from reconciler.core.spending.ledger import NOTHING, Spent


class Availability(StrEnum):
    """What the lieutenant is to this task right now."""

    READY = "Ready"
    NOT_READY = "NotReady"
    SUSPENDED = "Suspended"
    SUSPENDING = "Suspending"
    GOING = "Going"  # being deleted
    OBSERVED = "Observed"  # only looked at: managementPolicy ObserveOnly
    MISSING = "Missing"


@dataclass(frozen=True, slots=True)
class Talk:
    """The whole conversation, read now: `messages` in file order, `size` bytes. `settled`: pi has nothing to do; `up`: it
    runs. `started_at`: when this pi process was started. `activity`: grows with every sign of work that is no finished message
    (text being written, output of a tool); begins anew with the process. `retry_after`: seconds that the model's provider asked to be
    left alone for, from now on. `tool`, `work`: as `Up` has them; `asks`: tool calls that wait for a person."""

    messages: tuple[Message, ...]
    size: int
    settled: bool
    up: bool
    started_at: float = 0.0
    activity: int = 0
    retry_after: float = 0.0
    tool: RunningTool | None = None
    work: int = 0
    asks: tuple[Question, ...] = ()
    usages: tuple[Message, ...] = ()  # what was spent beside the messages

    @property
    def costs(self) -> tuple[Message, ...]:
        """All that was paid for, in the order of the file."""
        return in_order(self.messages, self.usages)


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's answer to a question. `reason`: what the agent is told of a denial."""

    id: str
    allow: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Dependency:
    """A task named in `after`. `phase`: '' when it does not exist."""

    name: str
    phase: str


@dataclass(frozen=True, slots=True)
class OverBudget:
    """A budget that is used up. `ends_turns`: turns that are on are ended, once they were told and had time."""

    words: str
    ends_turns: bool


NOT_REMINDED = ReminderRecord()


@dataclass(frozen=True, slots=True)
class TaskView:
    """Everything a decision about one task may depend on. Limits are seconds, 0 means none. `talk` None: not known.
    `verdict`: of the key last sent, asked for only while Delivering. `ahead`: the task whose turn comes before, '' for
    none. `active`: another task that holds the session. `next_landed`: where the following task's prompt landed.
    `escalation`: the declared escalation. `content_missing`: what its prompt is to be read from and is not there."""

    name: str
    record: TaskRecord
    now: float
    created_at: float
    steer: bool = False
    cancel: bool = False
    deleting: bool = False
    not_before: float = 0.0
    deadline_seconds: int = 0
    timeout_seconds: int = 0
    no_progress_seconds: int = 0
    work_is_progress: bool = False
    land_seconds: int = 60
    first_artifact_seconds: int = 0
    max_turns: int = 0
    ttl_seconds: int | None = None
    escalation: tuple[str, ...] = ()
    retries: int = 0
    has_acceptance: bool = False
    availability: Availability = Availability.READY
    unavailable_because: str = ""
    talk: Talk | None = None
    verdict: Verdict | None = None
    dependencies: tuple[Dependency, ...] = ()
    cycle: tuple[str, ...] = ()
    ahead: str = ""
    active: str = ""
    queue_full: bool = False
    next_landed: int | None = None
    target: str = ""  # a steer's declared target, or the task that holds the session now
    target_phase: str = ""  # '' when it does not exist (any more)
    other_steer: str = ""  # another steer on its way: pi's queue holds one at a time
    held_by: str = ""  # a steer that interrupted this task's turn and is about to tell the agent why
    content_missing: str = ""
    unsupported: tuple[str, ...] = ()
    abandoned: bool = False  # its lieutenant is being deleted and can't be asked any more
    session: str = ""  # the conversation in force
    hurried: bool = False  # a person asked that the next attempt does not wait
    provider: Provider = NO_PROVIDER  # of its lieutenant's model
    probes: bool = False  # it is the one probe of that provider
    copied_by: str = ""  # who makes a live copy of its lieutenant, which gets no work meanwhile
    no_work: Held | None = None  # why nothing may be sent to its lieutenant now: a limit is reached, or the fleet is halted
    went_on_at: float = 0.0  # when the fleet was last halted no longer, 0 for never
    over_budget: OverBudget | None = None  # a budget that its lieutenant spends from is used up
    budget: TaskBudget | None = None  # its own
    spent: Spent = NOTHING  # of its own budget, earlier attempts included
    untold: str = ""  # the shortening of its conversation after which its agent was not told again, '' for none
    reminder: ReminderRecord = NOT_REMINDED  # of that
    approvals: tuple[Approval, ...] = ()
    wrong_rules: str = ""  # what is wrong with its permissions
    misruled: str = ""  # its turn is on and its calls are checked against other rules than its own, in words
    unguarded: bool = False  # it has permissions of its own, and neither its lieutenant nor the profile has any
    left_running: bool = False  # its lieutenant goes and the agent stays as it is, undisturbed
