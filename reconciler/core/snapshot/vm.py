"""What may be observed of the world: closed types in which *unknown* is a value (G-04).

Times are seconds since the epoch, as floats. `created_at` is the platform's clock, everything else the controller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reconciler.api.reasons import Reason
from reconciler.api.waits import Explained


class VmState(StrEnum):
    """A VM's state as decisions see it. Platform words: vers-api §3.1 (`paused` and `sleeping` are one class)."""

    BOOTING = "booting"
    RUNNING = "running"
    SUSPENDED = "suspended"
    DEAD = "dead"
    UNKNOWN = "unknown"  # a word we don't know yet


@dataclass(frozen=True, slots=True)
class Vm:
    """One row of the platform's list."""

    vm_id: str
    owner_id: str
    created_at: float
    state: VmState
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VmList:
    """One successful list. `begun` and `ended`: the controller's clock around the call; `server_time`: the answer's
    Date header (platform clock), None when it had none; `work`: seconds that this process worked on reading it."""

    vms: Mapping[str, Vm]
    begun: float
    ended: float
    server_time: float | None = None
    work: float = 0.0


@dataclass(frozen=True, slots=True)
class VmMetadata:
    """Lineage of one VM (vers-api §2.1, `/metadata`)."""

    vm_id: str
    created_at: float
    state: VmState
    parent_commit_id: str | None = None
    grandparent_vm_id: str | None = None
    deleted_at: float | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """One row of the platform's list of commits (vers-api §2.3)."""

    commit_id: str
    name: str
    created_at: float
    parent_vm_id: str = ""


# --- one VM, as decisions see it ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """The VM was in a list begun after our last change to it. `claimed`: it carries our claim for this very VM id. `claimed_last`: no
    later claim than ours was on it, though ours may have been taken off."""

    state: VmState
    claimed: bool = True
    claimed_by: str = ""  # another installation's valid claim: its name
    claimed_last: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """Missing from the last list; `proven` by everything design §5.3 asks for (one list proves nothing)."""

    proven: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """Could not be read. Nothing destructive may follow from it. `reason`: as which a wait for the platform is told."""

    why: str
    reason: Explained = Reason.VM_UNKNOWN


VmObservation = Seen | Absent | Unknown


# --- inside the machine -----------------------------------------------------------------------------------------------


# --- what a command to pi came to (G-22: every command gets a verdict) ----------------------------------------------------


# --- the conversation, read from the session file -----------------------------------------------------------------------
