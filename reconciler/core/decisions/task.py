"""What may be decided for a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from reconciler.api.reasons import Reason
from reconciler.core.decisions.base import Act, Effect, Urgency
from reconciler.core.decisions.governance import HoldForBudget, NoteTaskSpending, Remind, TellOfBudget
from reconciler.core.decisions.slot import Release
from reconciler.core.provider.trouble import Trouble
from reconciler.core.snapshot.agent import Question


@dataclass(frozen=True, slots=True)
class Deliver(Act):
    """Write Delivering, then send the prompt. `resend`: it was sent before and is proven not to have arrived. Then the same
    key is offered again where the keeper never saw it (should the first sending still arrive, it is known there), and a
    `fresh_key` is taken where the first came to nothing."""

    doing: ClassVar = Reason.DELIVERING
    urgency: ClassVar = Urgency.DELIVER
    occasion: ClassVar = "its turn has come"

    attempt: int
    resend: bool = False
    fresh_key: bool = True


@dataclass(frozen=True, slots=True)
class SendSteer(Act):
    """Hand a steer to the running turn."""

    doing: ClassVar = Reason.DELIVERING
    urgency: ClassVar = Urgency.STEER

    target: str


@dataclass(frozen=True, slots=True)
class Landed(Act):
    """The marked message is in the conversation."""

    doing: ClassVar = Reason.RUNNING
    urgency: ClassVar = Urgency.RECORD
    books_only: ClassVar = True

    offset: int


@dataclass(frozen=True, slots=True)
class Progress(Act):
    """Write down that the conversation grew, or that there were other signs of work."""

    doing: ClassVar = Reason.RUNNING
    urgency: ClassVar = Urgency.RECORD
    books_only: ClassVar = True

    size: int
    activity: int = 0


@dataclass(frozen=True, slots=True)
class Escalate(Act):
    """Take the next step of the escalation: Steer, Abort or RestartSession. `hard`: the last one showed no effect; stop pi."""

    doing: ClassVar = Reason.ESCALATING
    urgency: ClassVar = Urgency.ESCALATE

    step: str
    why: str
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Reprompt(Act):
    """The turn was interrupted for a steer that did not land: say it as a prompt of its own, and have the target go on."""

    doing: ClassVar = Reason.ESCALATING
    urgency: ClassVar = Urgency.REPROMPT

    fresh_key: bool = True


@dataclass(frozen=True, slots=True)
class LookForArtifact(Act):
    """See whether anything in the work dir changed since the prompt was sent."""

    doing: ClassVar = Reason.RUNNING
    urgency: ClassVar = Urgency.CHECK


@dataclass(frozen=True, slots=True)
class AnswerQuestion(Act):
    """Tell the keeper what a person answered: the very call that waits goes on, or is denied with this reason. `left`: the questions that
    nobody has answered; they wait on meanwhile."""

    doing: ClassVar = Reason.AWAITING_APPROVAL
    urgency: ClassVar = Urgency.STEER

    question: str
    allow: bool
    why: str
    call: str = ""
    left: tuple[Question, ...] = ()


@dataclass(frozen=True, slots=True)
class Continue(Act):
    """The turn was cut short, or ended with nothing: ask for the rest of it (same attempt). `empty`: its last answer was empty."""

    doing: ClassVar = Reason.CONTINUING
    urgency: ClassVar = Urgency.CONTINUE

    number: int
    empty: bool = False


@dataclass(frozen=True, slots=True)
class AbortTurn(Act):
    """End the turn that runs. `told`: what is said of it in the end."""

    doing: ClassVar = Reason.ENDING
    urgency: ClassVar = Urgency.ABORT

    why: str
    told: str = ""

    @property
    def lost(self) -> str:
        return "the turn that runs"


@dataclass(frozen=True, slots=True)
class Withdraw(Act):
    """Take a steer that has not landed out of pi's queue."""

    doing: ClassVar = Reason.ENDING
    urgency: ClassVar = Urgency.WITHDRAW


@dataclass(frozen=True, slots=True)
class Verify(Act):
    """The turn settled well: check what was asked for."""

    doing: ClassVar = Reason.VERIFYING
    urgency: ClassVar = Urgency.CHECK


@dataclass(frozen=True, slots=True)
class TryAgain(Act):
    """This attempt failed; another one is allowed."""

    doing: ClassVar = Reason.RETRYING
    urgency: ClassVar = Urgency.RECORD
    books_only: ClassVar = True

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class HoldForProvider(Act):
    """The model's provider said no: write down what it said, and have the task wait for it. No attempt is spent."""

    doing: ClassVar = Reason.RETRYING
    urgency: ClassVar = Urgency.RECORD
    books_only: ClassVar = True

    trouble: Trouble
    error: str

    @property
    def message(self) -> str:
        return f"{self.trouble.reason}: {self.error}"


@dataclass(frozen=True, slots=True)
class NoteAnswer(Act):
    """The model's provider answers again: prompts may go to it."""

    doing: ClassVar = Reason.PROVIDER_ANSWERS
    urgency: ClassVar = Urgency.RECORD
    books_only: ClassVar = True


@dataclass(frozen=True, slots=True)
class Finish(Act):
    """Write down the task's one result."""

    doing: ClassVar = Reason.FINISHING
    urgency: ClassVar = Urgency.RECORD
    books_only: ClassVar = True

    phase: Literal["Succeeded", "Failed", "TimedOut", "Expired", "Cancelled"]
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class ExpireTask(Act):
    """The result has been kept as long as was asked for: remove the task, remember that it was done."""

    doing: ClassVar = Reason.FINISHING
    urgency: ClassVar = Urgency.RECORD
    books_only: ClassVar = True
    effect: ClassVar = Effect.DELETE
    occasion: ClassVar = "its result was kept as long as was asked for"

    @property
    def lost(self) -> str:
        return "its output; that it was done is remembered"


TaskAction = (
    Deliver
    | SendSteer
    | Landed
    | Progress
    | Escalate
    | Reprompt
    | LookForArtifact
    | AnswerQuestion
    | Continue
    | AbortTurn
    | Withdraw
    | Verify
    | TryAgain
    | HoldForProvider
    | HoldForBudget
    | NoteTaskSpending
    | TellOfBudget
    | Remind
    | NoteAnswer
    | Finish
    | ExpireTask
    | Release
)
