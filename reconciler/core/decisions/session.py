"""What may be decided for a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from reconciler.api.reasons import Reason
from reconciler.core.decisions.base import Act, Urgency


@dataclass(frozen=True, slots=True)
class MirrorSession(Act):
    """Put what was read of the conversation into its mirror, which has this many bytes then."""

    doing: ClassVar = Reason.SAVING_SESSION
    urgency: ClassVar = Urgency.EVIDENCE
    then_observe: ClassVar = False
    books_only: ClassVar = True

    size: int


@dataclass(frozen=True, slots=True)
class NoteSession(Act):
    """Write down that this many bytes of the conversation are on the machine and not yet in the mirror."""

    doing: ClassVar = Reason.SAVING_SESSION
    then_observe: ClassVar = False
    books_only: ClassVar = True

    seen: int


@dataclass(frozen=True, slots=True)
class RewindSession(Act):
    """Go on with the conversation as it was so many turns ago, up to this byte; the mirror of all of it is kept."""

    doing: ClassVar = Reason.BEGINNING_SESSION
    books_only: ClassVar = True
    occasion: ClassVar = "a person took the conversation back"

    turns: int
    size: int

    @property
    def lost(self) -> str:
        return "the turns that are taken back; the mirror of them is kept"


@dataclass(frozen=True, slots=True)
class BeginSession(Act):
    """Begin another, empty conversation; the mirror of this one is kept."""

    doing: ClassVar = Reason.BEGINNING_SESSION

    generation: int
    why: str

    @property
    def lost(self) -> str:
        return "the conversation is not gone on with; its mirror is kept"


@dataclass(frozen=True, slots=True)
class KeepEnd(Act):
    """Of two ends that differ this one goes on; the other is kept under the name it has."""

    doing: ClassVar = Reason.RESOLVING_SESSION

    end: Literal["vm", "local"]


@dataclass(frozen=True, slots=True)
class NoteWorkspace(Act):
    """Write down that the files of this machine are gone while the conversation goes on."""

    doing: ClassVar = Reason.WORKSPACE_LOST
    books_only: ClassVar = True

    vm_id: str


@dataclass(frozen=True, slots=True)
class StandStill(Act):
    """Write down that the agent is settled, with all of its conversation in the mirror, and gets no work while copies of it are made."""

    doing: ClassVar = Reason.STANDING_STILL
    then_observe: ClassVar = False
    books_only: ClassVar = True

    vm_id: str
    session: str
    size: int


@dataclass(frozen=True, slots=True)
class MoveOn(Act):
    """No copy is made of it any more: it gets work again."""

    doing: ClassVar = Reason.STANDING_STILL
    then_observe: ClassVar = False
    books_only: ClassVar = True

    why: str


SessionAction = MirrorSession | NoteSession | BeginSession | KeepEnd | NoteWorkspace | StandStill | MoveOn | RewindSession
