"""What may be decided for the inside of a machine, and for pi on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reconciler.api.governreasons import GovernReason
from reconciler.api.reasons import Reason
from reconciler.core.decisions.base import Act


@dataclass(frozen=True, slots=True)
class CorrectClock(Act):
    """Set the machine's clock to the controller's."""

    doing: ClassVar = Reason.CORRECTING_CLOCK

    vm_id: str


@dataclass(frozen=True, slots=True)
class GuestClaim(Act):
    """Write our claim into a file on the machine."""

    doing: ClassVar = Reason.CLAIMING_VM
    then_observe: ClassVar = False

    vm_id: str


@dataclass(frozen=True, slots=True)
class Install(Act):
    """Install node, pi and the keeper on the machine."""

    doing: ClassVar = Reason.INSTALLING_AGENT
    done: ClassVar = Reason.INSTALLED_AGENT
    then_observe: ClassVar = False

    vm_id: str


@dataclass(frozen=True, slots=True)
class InstallTools(Install):
    """Install node, pi and the keeper on the machine of a node without an agent."""

    doing: ClassVar = Reason.INSTALLING_TOOLS
    done: ClassVar = Reason.INSTALLED_TOOLS


@dataclass(frozen=True, slots=True)
class StartKeeper(Act):
    """Start the keeper on the machine, or take the one that runs."""

    doing: ClassVar = Reason.STARTING_KEEPER

    vm_id: str


@dataclass(frozen=True, slots=True)
class WriteFiles(Act):
    """Put the profile's (or the agent's) files in place, then set the done-mark."""

    doing: ClassVar = Reason.PREPARING_MACHINE
    then_observe: ClassVar = False

    vm_id: str
    mark: str


@dataclass(frozen=True, slots=True)
class RunStep(Act):
    """Run one step of the profile."""

    doing: ClassVar = Reason.PREPARING_MACHINE
    then_observe: ClassVar = False
    reported_first: ClassVar = True

    vm_id: str
    step: str

    @property
    def message(self) -> str:
        return f"step {self.step}"


@dataclass(frozen=True, slots=True)
class RunVerify(Act):
    """Run one check of the profile, an organ or a capability."""

    doing: ClassVar = Reason.PREPARING_MACHINE
    then_observe: ClassVar = False
    reported_if_long: ClassVar = True

    vm_id: str
    check: str

    @property
    def message(self) -> str:
        return f"check {self.check}"


@dataclass(frozen=True, slots=True)
class ReadBack(Act):
    """Ask pi what it has loaded, and write it down."""

    doing: ClassVar = Reason.READING_BACK
    then_observe: ClassVar = False

    vm_id: str


@dataclass(frozen=True, slots=True)
class RestoreSession(Act):
    """Bring the mirrored conversation to a machine that does not have it."""

    doing: ClassVar = Reason.RESTORING_SESSION

    vm_id: str
    size: int


@dataclass(frozen=True, slots=True)
class ContinueSession(Act):
    """Look for the conversation that is on an adopted machine; this one begins as a copy of it."""

    doing: ClassVar = Reason.CONTINUING_SESSION

    vm_id: str


@dataclass(frozen=True, slots=True)
class StartAgent(Act):
    """Start pi on its session file."""

    doing: ClassVar = Reason.STARTING_AGENT
    occasion: ClassVar = "pi is to run, and does not"

    vm_id: str


@dataclass(frozen=True, slots=True)
class SaveMemory(Act):
    """Save what the agent wrote down to remember. `agent`, `shared`: digests of what is on the machine."""

    doing: ClassVar = GovernReason.SAVING_MEMORY
    occasion: ClassVar = "what is on its machine of its memory was not read yet"

    vm_id: str
    agent: str
    shared: str


@dataclass(frozen=True, slots=True)
class BringMemory(Act):
    """Bring what the agent remembers to its machine. `agent`, `shared`: digests of what is in the store; `why`: what that is."""

    doing: ClassVar = GovernReason.BRINGING_MEMORY

    vm_id: str
    agent: str
    shared: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class SetModel(Act):
    """Let a running pi answer with this model and this much thinking; '' leaves it as it is."""

    doing: ClassVar = Reason.SETTING_MODEL
    occasion: ClassVar = "pi has another model than is declared"

    vm_id: str
    model: str
    thinking: str


@dataclass(frozen=True, slots=True)
class StopAgent(Act):
    """Stop pi, to be started again. `hung`: it did not answer any more, which counts as an end of its own."""

    doing: ClassVar = Reason.RESTARTING_AGENT

    vm_id: str
    why: str
    hung: bool = False


@dataclass(frozen=True, slots=True)
class CountCrash(Act):
    """Write down an unasked-for end of pi, with what it left on stderr."""

    doing: ClassVar = Reason.AGENT_EXITED
    books_only: ClassVar = True

    at: float


@dataclass(frozen=True, slots=True)
class RestAgent(Act):
    """Stop pi, settled, not to be started again here before something changes."""

    doing: ClassVar = Reason.STOPPING_AGENT

    vm_id: str
    why: str


GuestAction = (
    CorrectClock
    | GuestClaim
    | Install
    | InstallTools
    | StartKeeper
    | WriteFiles
    | RunStep
    | RunVerify
    | ReadBack
    | RestoreSession
    | ContinueSession
    | SaveMemory
    | BringMemory
    | StartAgent
    | SetModel
    | StopAgent
    | CountCrash
    | RestAgent
)
