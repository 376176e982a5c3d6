"""Everything that may be decided. One closed union; `isinstance` against it is exhaustive under mypy.

A decision is either an action (it changes something), or one of `Wait`, `Refuse`, `Steady`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconciler.core.taskactions import (
    AbortTurn,
    Continue,
    Deliver,
    Escalate,
    ExpireTask,
    Finish,
    Landed,
    LookForArtifact,
    Progress,
    Reprompt,
    SendSteer,
    TryAgain,
    Verify,
    Withdraw,
)

# --- the VM slot ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Create:
    attempt: int


@dataclass(frozen=True, slots=True)
class BindCreated:
    """Take the VM that one of our own creates of unknown outcome made."""

    vm_id: str
    token: str


@dataclass(frozen=True, slots=True)
class GiveUpIntent:
    """The settle window has passed and nothing appeared: that create did not happen."""

    token: str


@dataclass(frozen=True, slots=True)
class LabelClaim:
    vm_id: str


@dataclass(frozen=True, slots=True)
class Suspend:
    vm_id: str


@dataclass(frozen=True, slots=True)
class Resume:
    vm_id: str


Cause = Literal["Deleted", "Dead", "Outdated", "Moved"]
"""Why a machine goes: its object was deleted; it is dead (looked at once more before it is believed); its profile changed; its
agent moved away."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Put the existing VM that `adopt` names into the slot; the claim follows."""

    vm_id: str


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Commit this VM, before it is deleted."""

    vm_id: str


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """The platform lists the commit of a call whose answer never came."""

    vm_id: str
    commit_id: str


@dataclass(frozen=True, slots=True)
class SnapshotVerified:
    """The platform lists the commit that it told us of."""

    vm_id: str
    commit_id: str


@dataclass(frozen=True, slots=True)
class SnapshotLost:
    """The settle window is over and the commit does not show: it was not taken."""

    vm_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Detach:
    """The object goes and the VM stays. `Retain`: with our claim, rewritten to say so; `Orphan`: without it; `Leave`: nothing on
    the VM is changed."""

    vm_id: str
    how: Literal["Retain", "Orphan", "Leave"]
    why: str


@dataclass(frozen=True, slots=True)
class MarkForDeletion:
    """Write down, irreversibly, that this VM is to be deleted. `cause`: its object was `Deleted`; it is `Dead` (looked at once
    more before); `Outdated`: its profile changed and `update` says Recreate; `Moved`: its agent lives elsewhere now."""

    vm_id: str
    why: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class Delete:
    vm_id: str


@dataclass(frozen=True, slots=True)
class ClearSlot:
    """Drop the record: absence is proven."""

    vm_id: str


@dataclass(frozen=True, slots=True)
class Release:
    """Nothing outside is left of it: drop the finalizer and the object."""


# --- inside the machine -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CorrectClock:
    vm_id: str


@dataclass(frozen=True, slots=True)
class GuestClaim:
    vm_id: str


@dataclass(frozen=True, slots=True)
class Install:
    vm_id: str


@dataclass(frozen=True, slots=True)
class StartKeeper:
    vm_id: str


@dataclass(frozen=True, slots=True)
class WriteFiles:
    """Put the profile's (or the agent's) files in place, then set the done-mark."""

    vm_id: str
    mark: str


@dataclass(frozen=True, slots=True)
class RunStep:
    vm_id: str
    step: str


@dataclass(frozen=True, slots=True)
class RunVerify:
    vm_id: str
    check: str


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Ask pi what it has loaded, and write it down."""

    vm_id: str


@dataclass(frozen=True, slots=True)
class RestoreSession:
    """Bring the mirrored conversation to a machine that does not have it."""

    vm_id: str
    size: int


@dataclass(frozen=True, slots=True)
class StartAgent:
    vm_id: str


@dataclass(frozen=True, slots=True)
class SetModel:
    """Let a running pi answer with this model and this much thinking; '' leaves it as it is."""

    vm_id: str
    model: str
    thinking: str


@dataclass(frozen=True, slots=True)
class StopAgent:
    """Stop pi, to be started again. `hung`: it did not answer any more, which counts as an end of its own."""

    vm_id: str
    why: str
    hung: bool = False


@dataclass(frozen=True, slots=True)
class CountCrash:
    """Write down an unasked-for end of pi, with what it left on stderr."""

    at: float


# --- the conversation -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoteSession:
    """Write down that this many bytes of the conversation are on the machine and not yet in the mirror."""

    seen: int


@dataclass(frozen=True, slots=True)
class BeginSession:
    """Begin another, empty conversation; the mirror of this one is kept."""

    generation: int
    why: str


@dataclass(frozen=True, slots=True)
class KeepEnd:
    """Of two ends that differ this one goes on; the other is kept under the name it has."""

    end: Literal["vm", "local"]


@dataclass(frozen=True, slots=True)
class RestAgent:
    """Stop pi, settled, not to be started again here before something changes."""

    vm_id: str
    why: str


# --- an agent on this host ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenLocal:
    """From here on the agent lives in a directory on this host. `fallback`: because VMs can't be had."""

    place: str
    fallback: bool


@dataclass(frozen=True, slots=True)
class FenceLocal:
    """Raise the epoch before the move: a start that an earlier life of the controller sent and that is still on its way is then
    refused here."""

    place: str


@dataclass(frozen=True, slots=True)
class MoveToVm:
    """pi does not run anywhere: copy conversation and workspace to the VM, verify them there, and live there from now on."""

    vm_id: str


@dataclass(frozen=True, slots=True)
class CloseLocal:
    """End pi and keeper on this host for good, prove it, and remove the directory unless it is to be kept."""

    place: str
    keep: bool


@dataclass(frozen=True, slots=True)
class LeaveLocal:
    """Let go of what is on this host without touching it."""

    place: str


# --- nothing to do -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something changes, or until `until` (controller clock) at the latest."""

    reason: str
    message: str = ""
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing will be done until a person decides or changes something."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Steady:
    """Reality matches. `until`: when to look again by itself, if ever."""

    until: float | None = None


SlotAction = (
    Create
    | BindCreated
    | Adopt
    | GiveUpIntent
    | LabelClaim
    | Suspend
    | Resume
    | TakeSnapshot
    | SnapshotTaken
    | SnapshotVerified
    | SnapshotLost
    | Detach
    | MarkForDeletion
    | Delete
    | ClearSlot
    | Release
)
GuestAction = (
    CorrectClock
    | GuestClaim
    | Install
    | StartKeeper
    | WriteFiles
    | RunStep
    | RunVerify
    | ReadBack
    | RestoreSession
    | StartAgent
    | SetModel
    | StopAgent
    | CountCrash
    | RestAgent
)
LocalAction = OpenLocal | FenceLocal | MoveToVm | CloseLocal | LeaveLocal
TaskAction = (
    Deliver
    | SendSteer
    | Landed
    | Progress
    | Escalate
    | Reprompt
    | LookForArtifact
    | Continue
    | AbortTurn
    | Withdraw
    | Verify
    | TryAgain
    | Finish
    | ExpireTask
    | Release
)
SessionAction = NoteSession | BeginSession | KeepEnd
Rest = Wait | Refuse | Steady
Action = SlotAction | GuestAction | SessionAction | LocalAction | TaskAction
Decision = Action | Rest


def is_action(decision: Decision) -> bool:
    return not isinstance(decision, Wait | Refuse | Steady)
