"""What may be decided while the machine of a lieutenant is replaced by another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reconciler.api.reasons import Reason
from reconciler.core.decisions.base import Act, Effect, Urgency
from reconciler.core.decisions.machine import GuestAction
from reconciler.core.decisions.rest import Refuse, Steady, Wait
from reconciler.core.decisions.slot import SlotAction


@dataclass(frozen=True, slots=True)
class BeginReplacement(Act):
    """Another machine is to take this one's place: from here on it is made, beside the one that works."""

    doing: ClassVar = Reason.REPLACING
    books_only: ClassVar = True
    effect: ClassVar = Effect.REPLACE

    vm_id: str
    made_for: str
    why: str

    @property
    def lost(self) -> str:
        return f"what VM {self.vm_id} has outside of the work directory and the conversation"


@dataclass(frozen=True, slots=True)
class AtNext(Act):
    """An act on the other machine. `meanwhile`: what the lieutenant itself is at: it goes on working, and what it has to do comes first."""

    doing: ClassVar = Reason.REPLACING
    urgency: ClassVar = Urgency.BESIDE
    reported_first: ClassVar = True

    action: SlotAction | GuestAction
    meanwhile: Wait | Refuse | Steady

    @property
    def verb(self) -> str:
        return self.action.verb

    @property
    def message(self) -> str:
        return str(getattr(self.action, "why", "")) or f"on the other machine: {self.action.because}"

    @property
    def target(self) -> str:
        return self.action.target

    @property
    def lost(self) -> str:
        return self.action.lost

    @property
    def because(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class FenceReplacement(Act):
    """Raise the epoch before the move: what an earlier life of the controller sent to the old machine and is still on its way is then
    refused there."""

    doing: ClassVar = Reason.REPLACING
    books_only: ClassVar = True

    vm_id: str

    @property
    def message(self) -> str:
        return f"VM {self.vm_id} refuses from here on what was sent to it before"


@dataclass(frozen=True, slots=True)
class CarryOver(Act):
    """pi runs nowhere: copy workspace and conversation to the machine that is verified, and put it into the slot."""

    doing: ClassVar = Reason.REPLACING
    effect: ClassVar = Effect.REPLACE
    occasion: ClassVar = "the machine that replaces it is verified"

    vm_id: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class ConfirmReplacement(Act):
    """pi, or the keeper of a machine without an agent, answers on the new machine: there is no way back to the old one from here on."""

    doing: ClassVar = Reason.REPLACING
    books_only: ClassVar = True

    vm_id: str

    @property
    def message(self) -> str:
        return f"the one in its place answers; VM {self.vm_id} is not needed any more"


@dataclass(frozen=True, slots=True)
class ReturnToOld(Act):
    """The new machine does not work, or is not wanted any more before pi has answered on it: the old one is put back into the slot."""

    doing: ClassVar = Reason.REPLACING
    books_only: ClassVar = True

    vm_id: str
    why: str
    failed: bool = True


@dataclass(frozen=True, slots=True)
class TakeNext(Act):
    """The old machine is gone by itself: the one that was to replace it is put into the slot."""

    doing: ClassVar = Reason.REPLACING
    books_only: ClassVar = True

    vm_id: str


@dataclass(frozen=True, slots=True)
class DropReplacement(Act):
    """The other machine is not wanted: from here on it goes. `failed`: it could not be made to work."""

    doing: ClassVar = Reason.REPLACING
    books_only: ClassVar = True

    why: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class EndReplacement(Act):
    """There is no other machine any more. `left`: one that is let go of without being touched, '' for none."""

    doing: ClassVar = Reason.REPLACING
    books_only: ClassVar = True

    left: str = ""


ReplacementAction = (
    BeginReplacement
    | AtNext
    | FenceReplacement
    | CarryOver
    | ConfirmReplacement
    | ReturnToOld
    | TakeNext
    | DropReplacement
    | EndReplacement
)
