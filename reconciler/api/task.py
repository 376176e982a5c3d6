"""Task: one piece of work for one lieutenant; the declarative form of *send*."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from reconciler.api.budget import TaskBudget
from reconciler.api.document import Document
from reconciler.api.markers import Judged, ListAtomic, ListMap, ListSet, Rule, Told, Transition, immutable, one_of
from reconciler.api.meta import (
    Argv,
    Choice,
    ContentSource,
    Items,
    Model,
    Path,
    PositiveSeconds,
    Prose,
    Ref,
    Seconds,
    Timestamp,
    Word,
)
from reconciler.api.permissions import Permissions


class Delivery(Choice):
    """How the prompt reaches the agent."""

    QUEUE = "Queue"
    STEER = "Steer"


class FileCheck(Model):
    """A file that must be there."""

    path: Path
    """Which; relative to the agent's work dir."""
    min_bytes: Annotated[int, Field(ge=0, le=1_099_511_627_776)] = 1
    """Its least size."""


class CommandCheck(Model):
    """A command that must exit 0."""

    run: Argv
    """The command as a list, started in the agent's work dir; no shell reads it."""
    timeout_seconds: PositiveSeconds = 60
    """Longest run."""


class Acceptance(Model):
    """One proof that the work is done: `file` or `command`."""

    rules: ClassVar[tuple[Rule, ...]] = (one_of("file", "command"),)

    file: FileCheck | None = None
    """A file that must be there."""
    command: CommandCheck | None = None
    """A command that must succeed."""


class Escalation(Choice):
    """One step of the escalation for an agent that makes no progress or a steer that does not land."""

    STEER = "Steer"
    ABORT = "Abort"
    RESTART_SESSION = "RestartSession"


class Decision(Choice):
    """A person's answer."""

    APPROVE = "Approve"
    DENY = "Deny"


class Approval(Model):
    """A person's answer to one question of the agent."""

    id: Word
    """The question, as `status.asks` names it."""
    decision: Decision
    """The answer."""
    reason: Annotated[str, Field(max_length=500)] = ""
    """Why not; the agent is told."""


def _only_a_steer_aims(model: Judged) -> Iterator[Told]:
    assert isinstance(model, TaskSpec)
    if model.target is not None and model.delivery is not Delivery.STEER:
        yield ("target",), "only a steer has a target; add `delivery: Steer` or remove `target`"


class TaskSpec(Model):
    """What is to be done. Immutable but for `cancel`, `budget` and `approvals`."""

    rules: ClassVar[tuple[Rule, ...]] = (
        one_of("prompt", "contentFrom"),
        Rule(
            "only a steer has a target; add `delivery: Steer` or remove `target`",
            "!has(self.target) || (has(self.delivery) && self.delivery == 'Steer')",
            _only_a_steer_aims,
            ".target",
        ),
    )
    transitions: ClassVar[tuple[Transition, ...]] = immutable(
        "lieutenantRef", "prompt", "contentFrom", "delivery", "target", "after", "notBefore", "deadlineSeconds", "noProgressSeconds",
        "landSeconds", "taskTimeoutSeconds", "acceptance", "escalation", "retries", "ttlSecondsAfterFinished",
        "permissions",
    )  # fmt: skip

    lieutenant_ref: Ref
    """Who does it. The task is bound to the uid of the lieutenant it first finds."""
    prompt: Prose | None = None
    """What the agent is told, up to 64 KiB; `prompt` or `contentFrom`."""
    content_from: ContentSource | None = None
    """A larger prompt."""
    delivery: Delivery = Delivery.QUEUE
    """`Queue`: when the session is settled and its turn has come. `Steer`: into the running turn."""
    target: Ref | None = None
    """The task that a steer is meant for; unset: the one that runs when the steer is accepted."""
    after: Annotated[Items[Ref], Field(max_length=50), ListMap("name")] = ()
    """Tasks that must have succeeded before."""
    not_before: Timestamp | None = None
    """Earliest delivery, as an RFC 3339 timestamp with a time zone."""
    deadline_seconds: PositiveSeconds | None = None
    """Latest end, counted from creation or `notBefore`, whichever is later, suspended time included; unset: none."""
    no_progress_seconds: Seconds | None = None
    """Longest time in a turn without any sign of progress; unset: the lieutenant's limit, 0: none."""
    land_seconds: PositiveSeconds | None = None
    """How long a steer may take to be seen in the conversation; unset: the lieutenant's limit."""
    task_timeout_seconds: Seconds | None = None
    """Longest run, counted from delivery; unset: the lieutenant's limit, 0: none."""
    acceptance: Annotated[Items[Acceptance], Field(max_length=32), ListAtomic()] = ()
    """Proofs that the work is done, all of them needed."""
    escalation: Annotated[Items[Escalation], Field(max_length=3), ListSet()] = (Escalation.STEER,)
    """What is tried, in this order, before the task is given up."""
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    """More attempts after a lost session, a model error or failed acceptance; the next one is told what failed."""
    ttl_seconds_after_finished: Seconds | None = None
    """Remove the task's data this long after its end, leaving a tombstone; unset: never."""
    budget: TaskBudget | None = None
    """What it may cost; unset: no limit of its own."""
    permissions: Permissions | None = None
    """Which tool calls the agent may make for this task, below what its profile and its lieutenant say; not for a steer, which has those of
    its target."""
    cancel: bool = False
    """Stop it, or never begin it."""
    approvals: Annotated[Items[Approval], Field(max_length=100), ListMap("id")] = ()
    """Answers to questions of the agent."""


class Task(Document):
    """One piece of work for one lieutenant."""

    kind: Literal["Task"] = "Task"
    """`Task`."""
    spec: TaskSpec
    """What is wanted."""
