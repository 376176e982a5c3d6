"""What may be decided for an agent on this host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reconciler.api.reasons import Reason
from reconciler.core.decisions.base import Act, Effect


@dataclass(frozen=True, slots=True)
class OpenLocal(Act):
    """From here on the agent lives in a directory on this host. `fallback`: because VMs can't be had."""

    doing: ClassVar = Reason.OPENING_LOCAL
    effect: ClassVar = Effect.CREATE
    occasion: ClassVar = "it is to live on this host"

    place: str
    fallback: bool


@dataclass(frozen=True, slots=True)
class FenceLocal(Act):
    """Raise the epoch before the move: a start that an earlier life of the controller sent and that is still on its way is then
    refused here."""

    doing: ClassVar = Reason.MOVING_TO_VM

    place: str


@dataclass(frozen=True, slots=True)
class MoveToVm(Act):
    """pi does not run anywhere: copy conversation and workspace to the VM, verify them there, and live there from now on."""

    doing: ClassVar = Reason.MOVING_TO_VM

    vm_id: str


@dataclass(frozen=True, slots=True)
class CloseLocal(Act):
    """End pi and keeper on this host for good, prove it, and remove the directory unless it is to be kept."""

    doing: ClassVar = Reason.CLOSING_LOCAL

    place: str
    keep: bool


@dataclass(frozen=True, slots=True)
class LeaveLocal(Act):
    """Let go of what is on this host without touching it."""

    doing: ClassVar = Reason.DELETING
    books_only: ClassVar = True

    place: str


LocalAction = OpenLocal | FenceLocal | MoveToVm | CloseLocal | LeaveLocal
