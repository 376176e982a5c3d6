"""What may be decided for a hierarchy. A tree only declares: what its objects need they are decided themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions.base import Act, Effect, Urgency


@dataclass(frozen=True, slots=True)
class DeclareNodes(Act):
    """Declare the objects of these places of a tree, or put them right. `reverted`: those that somebody else had changed."""

    doing: ClassVar = TreeReason.DECLARING_NODE
    books_only: ClassVar = True
    effect: ClassVar = Effect.CREATE
    occasion: ClassVar = "these nodes are declared, and their objects are not there or differ"

    places: tuple[str, ...]
    reverted: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        return ", ".join(self.places)


@dataclass(frozen=True, slots=True)
class WithdrawNodes(Act):
    """Ask for the deletion of the objects of these places. `confirmed`: a person said so, also of what is protected; `orphaned`: their
    machines are let go of."""

    doing: ClassVar = TreeReason.WITHDRAWING_NODE
    books_only: ClassVar = True
    effect: ClassVar = Effect.DELETE

    places: tuple[str, ...]
    why: str
    confirmed: str = ""
    orphaned: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        return ", ".join(self.places)


@dataclass(frozen=True, slots=True)
class KeepNodes(Act):
    """These stay, though they are not declared any more: the node above them was removed, and the tree says so."""

    doing: ClassVar = TreeReason.NODE_KEPT
    books_only: ClassVar = True

    places: tuple[str, ...]

    @property
    def target(self) -> str:
        return ", ".join(self.places)


@dataclass(frozen=True, slots=True)
class ForgetNodes(Act):
    """Nothing is left of these places."""

    doing: ClassVar = TreeReason.FORGETTING_NODE
    urgency: ClassVar = Urgency.RECORD
    books_only: ClassVar = True

    places: tuple[str, ...]

    @property
    def target(self) -> str:
        return ", ".join(self.places)


@dataclass(frozen=True, slots=True)
class NoteRevision(Act):
    """All nodes are as declared with this spec: it is what a rollout is undone to."""

    doing: ClassVar = TreeReason.NODES_READY
    books_only: ClassVar = True


@dataclass(frozen=True, slots=True)
class NoteBudget(Act):
    """How far the tree's budget is used up, now that it changed."""

    doing: ClassVar = TreeReason.NODES_CHANGING
    books_only: ClassVar = True

    state: Literal["Within", "Warned", "CostUnknown", "Exceeded"]


@dataclass(frozen=True, slots=True)
class AtPlace:
    """What is done about one place of a tree."""

    place: str

    @property
    def target(self) -> str:
        return self.place


@dataclass(frozen=True, slots=True)
class ChangeNode(AtPlace, Act):
    """The category of this place's node changed between one with an agent and one without: declare the object that it has from here on,
    beside the one that it has now."""

    doing: ClassVar = TreeReason.DECLARING_NODE
    books_only: ClassVar = True
    effect: ClassVar = Effect.REPLACE

    vm_id: str
    why: str

    @property
    def lost(self) -> str:
        return f"what VM {self.vm_id} has outside of the work directory" if self.vm_id else ""


@dataclass(frozen=True, slots=True)
class NoteBeside(AtPlace, Act):
    """How far the change of this place's category has come. '' when its former object is gone."""

    doing: ClassVar = TreeReason.HANDING_OVER
    books_only: ClassVar = True

    state: Literal["", "Making", "Settling", "Going"]


@dataclass(frozen=True, slots=True)
class FollowMode(AtPlace, Act):
    """What this place had before its category changed is to run, or to be suspended, as the place is."""

    doing: ClassVar = TreeReason.DECLARING_NODE
    books_only: ClassVar = True


@dataclass(frozen=True, slots=True)
class CarryFiles(AtPlace, Act):
    """Copy the work directory from the machine that this place had to the one that it has now."""

    doing: ClassVar = TreeReason.HANDING_OVER

    old: str
    new: str

    @property
    def message(self) -> str:
        return f"the files of VM {self.old} are brought to VM {self.new}"


@dataclass(frozen=True, slots=True)
class WithdrawOther(AtPlace, Act):
    """Ask for the deletion of the object that this place had before its category changed. `confirmed`: a person said so."""

    doing: ClassVar = TreeReason.WITHDRAWING_NODE
    books_only: ClassVar = True
    effect: ClassVar = Effect.DELETE

    why: str
    confirmed: str = ""


HandoverAction = ChangeNode | NoteBeside | FollowMode | CarryFiles | WithdrawOther

TreeAction = HandoverAction | DeclareNodes | WithdrawNodes | KeepNodes | ForgetNodes | NoteRevision | NoteBudget
