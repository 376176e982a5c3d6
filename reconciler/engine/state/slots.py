"""The slots of a lieutenant: its own, and the one beside it while its machine is replaced."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.api.annotations import PROTECTION
from reconciler.api.lieutenant import ManagementPolicy
from reconciler.core.keys import Json, JsonValue, SlotOwner, as_map
from reconciler.core.lieutenant.desired import desired_state
from reconciler.core.lieutenant.session import begun_anew, housed
from reconciler.core.records import (
    NEXT,
    SPARE,
    BootRecord,
    ClockRecord,
    LieutenantRecord,
    LoadedRecord,
    Record,
    SlotRecord,
    SpareRecord,
)
from reconciler.core.slot.deletion import effective_deletion
from reconciler.core.slot.item import SlotDeclaration
from reconciler.core.snapshot.slot import DesiredState, SnapshotPolicy
from reconciler.core.tree.places import tree_of_machine
from reconciler.engine.state.objects import Item, LieutenantItem, session_of


@dataclass(frozen=True, slots=True)
class LieutenantSlot:
    """Implements `core.slot.item.SlotItem`. What was prepared and loaded belongs to one VM; the conversation outlives it."""

    item: LieutenantItem
    owner: SlotOwner = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "owner", self.item.slot_owner)  # everything that is asked of a slot is asked by its owner

    @property
    def record(self) -> SlotRecord:
        return self.item.record.slot

    @property
    def declared(self) -> SlotDeclaration:
        spec = self.item.spec
        return SlotDeclaration(
            desired=desired_state(spec.mode, self.item.deleting, bool(self.item.record.rest.reason)),
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

    @property
    def session(self) -> str:
        return session_of(self.item).name if tree_of_machine(self.item.key) is None else ""

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
        if record.slot.branch.vm_id and not slot.branch.vm_id:  # the copy is still to be made, then with what was said up to there
            session = begun_anew(record.session, self.item.uid, record.session.generation)
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


def vms_in(record: Json) -> tuple[str, ...]:
    """The machines in the stored record of a lieutenant: its own, the next one, the spare one; '' for an empty slot."""
    slot, other, spare = record.get("slot"), record.get("next"), record.get("spare")
    return _vm_in(slot), _vm_in(other) if other else "", _vm_in(as_map(spare).get("slot")) if spare else ""


def same_vms(before: Json, after: Json) -> bool:
    """Whether the machines in these two records of one lieutenant are the same."""
    same = before.get("slot") == after.get("slot") and before.get("next") == after.get("next") and before.get("spare") == after.get("spare")
    return same or vms_in(before) == vms_in(after)


def _vm_in(slot: JsonValue) -> str:
    return str(slot.get("vm_id") or "") if isinstance(slot, dict) else ""


@dataclass(frozen=True, slots=True)
class SpareSlot:
    """The slot of what is restored from a snapshot. Implements `core.slot.item.SlotItem`; it is there as long as it is for something."""

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
    def session(self) -> str:
        return ""

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


@dataclass(frozen=True, slots=True)
class NextSlot:
    """The slot of the other machine. Implements `core.slot.item.SlotItem`; it goes with its machine."""

    item: LieutenantItem

    @property
    def owner(self) -> SlotOwner:
        return SlotOwner.of(self.item.key, self.item.uid, NEXT)

    @property
    def record(self) -> SlotRecord:
        return self.item.record.next

    @property
    def declared(self) -> SlotDeclaration:
        only = self.item.spec.management_policy is ManagementPolicy.OBSERVE_ONLY
        return SlotDeclaration(desired=DesiredState.RUNNING, observe_only=only)

    @property
    def session(self) -> str:
        return ""

    @property
    def conversation(self) -> str:
        return ""

    def changed(self, record: Record, slot: SlotRecord) -> Record:
        return record.but(next=slot)

    def filled(self, record: Record, slot: SlotRecord, machine: str) -> Record:
        assert isinstance(record, LieutenantRecord)
        boot = BootRecord(vm_id=slot.vm_id, machine=machine)
        return record.but(next=slot, replacement=record.replacement.but(boot=boot, clock=ClockRecord(), tries=0, not_before=0.0))

    def emptied(self, record: Record, slot: SlotRecord, lost: str) -> Record:
        assert isinstance(record, LieutenantRecord)
        if record.replacement.state == "Making":
            return record.but(next=slot, replacement=record.replacement.but(boot=BootRecord()))
        return record.but(next=SlotRecord(), replacement=record.replacement.over())

    def released(self, record: Record) -> Record:
        return record


def at_next(item: LieutenantItem) -> LieutenantItem:
    """The lieutenant as if the other machine were the one in its slot."""
    return Item(item.obj, item.spec, item.record.as_next(), NEXT)
