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

    state: Literal["Within", "Warned", "Exceeded"]


TreeAction = DeclareNodes | WithdrawNodes | KeepNodes | ForgetNodes | NoteRevision | NoteBudget
