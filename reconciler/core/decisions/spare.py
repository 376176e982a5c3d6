"""What may be decided for a lieutenant's second machine, which is there for a while: a snapshot that is looked at, or gone back to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from reconciler.api.reasons import Reason
from reconciler.core.decisions.base import Act, Effect
from reconciler.core.decisions.slot import SlotAction


@dataclass(frozen=True, slots=True)
class StartSpare(Act):
    """Write down that another machine is to be made from this commit: to see that it can be restored, or to go on from it."""

    doing: ClassVar = Reason.RESTORING_SNAPSHOT
    books_only: ClassVar = True

    purpose: Literal["Check", "Rollback"]
    commit_id: str

    @property
    def target(self) -> str:
        return self.commit_id


@dataclass(frozen=True, slots=True)
class UseSpare(Act):
    """One step of the other machine's slot: it is made, claimed, deleted."""

    doing: ClassVar = Reason.RESTORING_SNAPSHOT

    inner: SlotAction

    @property
    def target(self) -> str:
        return self.inner.target

    @property
    def because(self) -> str:
        return f"the machine beside it: {self.inner.explained}"


@dataclass(frozen=True, slots=True)
class AcceptSpare(Act):
    """Write down that what was restored is what was committed."""

    doing: ClassVar = Reason.RESTORING_SNAPSHOT
    books_only: ClassVar = True

    commit_id: str


@dataclass(frozen=True, slots=True)
class RejectSpare(Act):
    """Write down that the commit could not be restored, or is not what was committed. `dead`: the machine that a list told to be dead; it
    is looked at once more by itself first."""

    doing: ClassVar = Reason.RESTORING_SNAPSHOT
    books_only: ClassVar = True

    commit_id: str
    why: str
    dead: str = ""


@dataclass(frozen=True, slots=True)
class FinishSpare(Act):
    """Nothing is left of the other machine."""

    doing: ClassVar = Reason.RESTORING_SNAPSHOT
    books_only: ClassVar = True


@dataclass(frozen=True, slots=True)
class RefuseRollback(Act):
    """Write down that the agent does not go back, and why."""

    doing: ClassVar = Reason.ROLLING_BACK
    books_only: ClassVar = True

    why: str


@dataclass(frozen=True, slots=True)
class SwapMachines(Act):
    """The machine that was restored takes the place of the one that the agent is on, with the conversation as it was then."""

    doing: ClassVar = Reason.ROLLING_BACK
    books_only: ClassVar = True
    effect: ClassVar = Effect.REPLACE
    occasion: ClassVar = "it goes back to a snapshot"

    commit_id: str

    @property
    def lost(self) -> str:
        return "what changed on its machine since the snapshot; what was said since stays readable"


SpareAction = StartSpare | UseSpare | AcceptSpare | RejectSpare | FinishSpare | RefuseRollback | SwapMachines
