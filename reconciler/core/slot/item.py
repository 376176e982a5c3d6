"""One VM slot as acts and observation know it, whatever kind of object has it: a lieutenant its own, a tree one for each node. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from reconciler.core.keys import SlotOwner
from reconciler.core.records import Record, SlotRecord
from reconciler.core.snapshot.machine import VmShape, VmSource
from reconciler.core.snapshot.slot import DesiredState, EffectiveDeletion, SnapshotPolicy


@dataclass(frozen=True, slots=True)
class SlotDeclaration:
    """What is declared about a slot. `deletion`: what becomes of the VM when the slot goes; `no_delete`, `observe_only`: its
    managementPolicy; `adopt`: the VM that it is to take over, '' for none."""

    desired: DesiredState
    deletion: EffectiveDeletion = EffectiveDeletion.DELETE
    no_delete: bool = False
    observe_only: bool = False
    protected: bool = False
    adopt: str = ""
    snapshots: SnapshotPolicy | None = None


class SlotUse(NamedTuple):
    """What the machine is used for, as far as decisions about its slot depend on it. `busy`: the agent on it is in a turn, None: not
    known; `mirrored`: everything settled in its conversation is in the store; `loss`: why the conversation does not go on elsewhere as
    declared; `lost`: the VM that was lost with it; `suspend_overdue`: the grace of suspend.onBusy=Abort is over; `quiet`: a snapshot
    would catch nothing in the middle."""

    busy: bool | None = False
    mirrored: bool = True
    loss: str = ""
    lost: str = ""
    suspend_overdue: bool = False
    quiet: bool = False


class Blueprint(Protocol):
    """What a VM is made from. `machine_hash`: a digest of all of it."""

    @property
    def source(self) -> VmSource: ...

    @property
    def shape(self) -> VmShape: ...

    @property
    def machine_hash(self) -> str: ...

    @property
    def seals(self) -> tuple[str, ...]:
        """What done-marks on the disk of its source bear that hold on the VM too."""
        ...


class SlotItem(Protocol):
    """A slot, its record and what is declared about it. The methods say what a change of the slot means for the record of its object;
    `record` there is the object's, as it is when the change is written down."""

    @property
    def owner(self) -> SlotOwner: ...

    @property
    def record(self) -> SlotRecord: ...

    @property
    def declared(self) -> SlotDeclaration: ...

    @property
    def session(self) -> str:
        """Name of the mirror of the conversation that goes on in its VM; '' where there is none."""
        ...

    @property
    def conversation(self) -> str:
        """Name of the file that the conversation on its machine is in, '' for none."""
        ...

    def changed(self, record: Record, slot: SlotRecord) -> Record:
        """The same VM, or none, with other facts."""
        ...

    def filled(self, record: Record, slot: SlotRecord, machine: str) -> Record:
        """Another VM is in it. `machine`: digest of what it was made from, '' for one that we did not make."""
        ...

    def emptied(self, record: Record, slot: SlotRecord, lost: str) -> Record:
        """There is no VM in it any more. `lost`: the VM that went without being sent away, '' for none."""
        ...

    def released(self, record: Record) -> Record | None:
        """The slot is empty and was to go. None: its object goes with it."""
        ...
