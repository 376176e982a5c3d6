"""What may be decided about budgets, and about machines that rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from reconciler.api.governreasons import GovernReason
from reconciler.api.reasons import Reason
from reconciler.core.decisions.base import Act, Urgency
from reconciler.core.snapshot.agent import Refusal


@dataclass(frozen=True, slots=True)
class NoteSpending(Act):
    """Write down, and tell, how far the budgets of an agent are used up. `why`: in words."""

    doing: ClassVar = GovernReason.GOVERNING
    books_only: ClassVar = True

    state: Literal["Within", "Warned", "CostUnknown", "Exceeded"]
    why: str = ""


@dataclass(frozen=True, slots=True)
class NoteRest(Act):
    """Write down that its machine is suspended from now on though it is declared Running, or '' that it is wanted again."""

    doing: ClassVar = GovernReason.GOVERNING
    books_only: ClassVar = True

    rest: Literal["", "Idle", "Budget"]
    why: str = ""


@dataclass(frozen=True, slots=True)
class NoteHours(Act):
    """Write down which machine runs, '' for none, so that its hours can be counted."""

    doing: ClassVar = GovernReason.GOVERNING
    then_observe: ClassVar = True
    books_only: ClassVar = True

    machine: str


@dataclass(frozen=True, slots=True)
class NoteWake(Act):
    """Write down that it can work again after a rest, and how long that took."""

    doing: ClassVar = GovernReason.GOVERNING
    books_only: ClassVar = True


@dataclass(frozen=True, slots=True)
class NoteRefusals(Act):
    """Tell what an agent tried and was refused since the last time. `run`: of which process; `number`: of the newest."""

    doing: ClassVar = GovernReason.GOVERNING
    books_only: ClassVar = True

    run: str
    number: int
    told: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Retire(Act):
    """Ask for its deletion: its tasks are all done."""

    doing: ClassVar = Reason.DELETING


GovernAction = NoteSpending | NoteRest | NoteHours | NoteWake | NoteRefusals | Retire


@dataclass(frozen=True, slots=True)
class NoteTaskSpending(Act):
    """Write down, and tell, how far a task's own budget is used up."""

    doing: ClassVar = Reason.RUNNING
    urgency: ClassVar = Urgency.RECORD
    books_only: ClassVar = True

    state: Literal["Within", "Warned", "CostUnknown", "Exceeded"]
    why: str


@dataclass(frozen=True, slots=True)
class TellOfBudget(Act):
    """Tell the agent in the middle of its turn that a budget is used up. `why`: in words."""

    doing: ClassVar = Reason.ESCALATING
    urgency: ClassVar = Urgency.ESCALATE

    why: str


@dataclass(frozen=True, slots=True)
class HoldForBudget(Act):
    """The turn ended because a budget is used up: have the task wait for it. No attempt is spent."""

    doing: ClassVar = Reason.RETRYING
    urgency: ClassVar = Urgency.RECORD
    books_only: ClassVar = True

    why: str


@dataclass(frozen=True, slots=True)
class Remind(Act):
    """Say in the middle of the turn what the agent was told at its beginning: its conversation was shortened (`compaction`)."""

    doing: ClassVar = GovernReason.REASSERTING
    urgency: ClassVar = Urgency.ESCALATE

    compaction: str
