"""The slot of a lieutenant."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.api.annotations import PROTECTION
from reconciler.api.lieutenant import ManagementPolicy
from reconciler.core.keys import SlotOwner
from reconciler.core.lieutenant.desired import desired_state
from reconciler.core.lieutenant.session import housed
from reconciler.core.records import SPARE, BootRecord, LieutenantRecord, LoadedRecord, Record, SlotRecord, SpareRecord
from reconciler.core.slot.deletion import effective_deletion
from reconciler.core.slot.item import SlotDeclaration
from reconciler.core.snapshot.slot import DesiredState, SnapshotPolicy
from reconciler.engine.state.objects import LieutenantItem


@dataclass(frozen=True, slots=True)
class LieutenantSlot:
    """Implements `core.slot.item.SlotItem`. What was prepared and loaded belongs to one VM; the conversation outlives it."""

    item: LieutenantItem

    @property
    def owner(self) -> SlotOwner:
        return self.item.slot_owner

    @property
    def record(self) -> SlotRecord:
        return self.item.record.slot

    @property
    def declared(self) -> SlotDeclaration:
        spec = self.item.spec
        return SlotDeclaration(
            desired=desired_state(spec.mode, self.item.deleting),
            deletion=effective_deletion(spec.deletion_policy, spec.management_policy, self.item.record.detached),
            no_delete=spec.management_policy is ManagementPolicy.NO_DELETE,
            observe_only=spec.management_policy is ManagementPolicy.OBSERVE_ONLY,
            protected=self.item.obj.annotations.get(PROTECTION) == "enabled",
            adopt=spec.adopt.vm_id if spec.adopt is not None else "",
            snapshots=snapshot_policy(self.item),
        )

    @property
    def conversation(self) -> str:
        session = self.item.record.session
        return session.file or session.name

    def changed(self, record: Record, slot: SlotRecord) -> Record:
        return record.but(slot=slot)

    def filled(self, record: Record, slot: SlotRecord, machine: str) -> Record:
        assert isinstance(record, LieutenantRecord)
        session = housed(record.session, self.item.uid, self.item.spec.session.generation)
        boot, workspace = BootRecord(vm_id=slot.vm_id, machine=machine), record.workspace.but(left="")
        return record.but(slot=slot, session=session, boot=boot, loaded=LoadedRecord(), workspace=workspace)

    def emptied(self, record: Record, slot: SlotRecord, lost: str) -> Record:
        assert isinstance(record, LieutenantRecord)
        session = record.session.but(lost=lost) if lost else record.session
        elsewhere = record.local.state == "Home"  # its files are not in the slot's machine
        workspace = record.workspace if elsewhere else record.workspace.but(left=record.slot.vm_id)
        return record.but(slot=slot, session=session, boot=BootRecord(), workspace=workspace)

    def released(self, record: Record) -> None:
        return None


def snapshot_policy(item: LieutenantItem) -> SnapshotPolicy | None:
    """What is declared about snapshots of its machine."""
    declared, record = item.spec.snapshots, item.record
    if declared is None:
        return None
    needed = (record.spare.commit_id, record.rollback.commit_id if record.rollback.state == "Asked" else "")
    schedule = declared.schedule or ""
    return SnapshotPolicy(schedule, declared.time_zone, declared.keep, declared.before_mutate, item.obj.created_at, needed)


@dataclass(frozen=True, slots=True)
class SpareSlot:
    """Implements `core.slot.item.SlotItem`: a lieutenant's second machine, as long as it is there for something."""

    item: LieutenantItem

    @property
    def owner(self) -> SlotOwner:
        return SlotOwner.of(self.item.key, self.item.uid, SPARE)

    @property
    def record(self) -> SlotRecord:
        return self.item.record.spare.slot

    @property
    def declared(self) -> SlotDeclaration:
        wanted = bool(self.item.record.spare.commit_id) and not self.item.deleting
        return SlotDeclaration(DesiredState.RUNNING if wanted else DesiredState.GONE)

    @property
    def conversation(self) -> str:
        return ""

    def changed(self, record: Record, slot: SlotRecord) -> Record:
        assert isinstance(record, LieutenantRecord)
        return record.but(spare=record.spare.but(slot=slot))

    def filled(self, record: Record, slot: SlotRecord, machine: str) -> Record:
        return self.emptied(record, slot, "")

    def emptied(self, record: Record, slot: SlotRecord, lost: str) -> Record:
        assert isinstance(record, LieutenantRecord)
        return record.but(spare=record.spare.but(slot=slot, verified=False))

    def released(self, record: Record) -> Record:
        return record.but(spare=SpareRecord())
