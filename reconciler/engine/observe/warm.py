"""Machines that baked profiles keep ready: what a profile has to know of its own, and which of them somebody else may take. Reads the
object table and the last list of VMs; asks nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.meta import Mode
from reconciler.api.reasons import Reason
from reconciler.api.status.lieutenant import LieutenantStatus
from reconciler.core.keys import Key, boot_profile
from reconciler.core.lieutenant.preparation import PREPARED
from reconciler.core.profile import bake, warm
from reconciler.core.profile.warm import Kept, WarmView
from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.slot import Ready
from reconciler.core.snapshot.vm import Vm, VmState
from reconciler.core.tree.places import MACHINE
from reconciler.core.treerecords import BootProfileRecord
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.observe.slots import Slots
from reconciler.engine.observe.trees import noted
from reconciler.engine.state.claimed import Claimed
from reconciler.engine.state.objects import AnyItem, LieutenantItem, ObjectTable


class Warm:
    """`foreseen`: those that a plan has shown to be taken already."""

    def __init__(self, table: ObjectTable, fleet: Fleet, slots: Slots, owner: Owner) -> None:
        self._table, self._fleet, self._slots, self._owner = table, fleet, slots, owner
        self.foreseen: set[Key] = set()

    def machines_of(self, profile: Key) -> list[LieutenantItem]:
        """The oldest first."""
        mine = (item.key for item in self._table.of_kind(MACHINE) if bake.profile_of(item.key) == profile)
        found = (self._table.lieutenant(key) for key in mine if not bake.is_oven(key))
        return sorted((item for item in found if item is not None), key=lambda item: warm.serial_of(item.key))

    # --- for the profile --------------------------------------------------------------------------------------------------------------

    def view(self, profile: Key, item: AnyItem | None, wanted: str, now: float) -> WarmView | None:
        """All that its decisions may depend on; None: it has none, and is to have none. `item`: None when the profile is gone."""
        spec, record = (item.spec, item.record) if item is not None else (None, None)
        declared = isinstance(spec, BootProfileSpec) and spec.bake.enabled and item is not None and not item.deleting
        count = spec.bake.warm if isinstance(spec, BootProfileSpec) and declared else 0
        machines = self.machines_of(profile)
        if not count and not machines:
            return None
        remembered = record if isinstance(record, BootProfileRecord) else BootProfileRecord()
        trees, lost = self._slots.trees, tuple(sorted(self.lost(profile), key=warm.serial_of))
        serials = [warm.serial_of(key) for key in (*(one.key for one in machines), *lost)]
        return WarmView(
            count=count,
            wanted=wanted,
            baked=bake.in_force(remembered, wanted) is not None,
            machines=tuple(replace(kept(one), asked=self._slots.journal.of(one.slot_owner) is not None) for one in machines),
            lost=lost if item is not None else (),
            serial=max(remembered.warmed, *serials, 0),
            cold=remembered.cold if remembered.cold_hash == wanted else "",
            full=trees.fleet_is_full(),
            awaited=trees.awaited(),
            now=now,
        )

    def lost(self, profile: Key) -> Iterator[Key]:
        """Whom claims name as kept ready for it, that are not in the store."""
        for vm in self._claiming():
            key = Key(MACHINE, vm.labels.get(claims.NAMESPACE, ""), vm.labels.get(claims.NAME, ""))
            if bake.profile_of(key) == profile and warm.serial_of(key) and self._table.get(key) is None:
                yield key

    def claim_of(self, key: Key) -> Claimed | None:
        """What the claim on the machine of such a one says."""
        for vm in self._claiming():
            if (vm.labels.get(claims.NAMESPACE), vm.labels.get(claims.NAME)) == (key.namespace, key.name):
                return Claimed(vm.labels.get(claims.UID, ""), vm.vm_id, vm.owner_id, claims.epoch_on(vm.labels))
        return None

    def _claiming(self) -> Iterator[Vm]:
        """VMs in no slot that claim to be a machine of ours."""
        latest = self._fleet.latest
        for vm in latest.vms.values() if latest is not None else ():
            named = vm.labels.get(claims.KIND) == MACHINE and bool(vm.labels.get(claims.UID))
            if named and claims.is_ours(vm, self._owner) and self._table.owner_of(vm.vm_id) is None and vm.state is not VmState.DEAD:
                yield vm

    # --- for who takes one -------------------------------------------------------------------------------------------------------------

    def offer(self, item: LieutenantItem, rendered: Rendered | Unresolved, now: float) -> Ready | None:
        """What is kept ready for one that has no machine; None: nothing, or it may not take it."""
        key, slot = item.key, item.record.slot
        if bake.profile_of(key) is not None or slot.vm_id or slot.restore:
            return None
        if not isinstance(rendered, Rendered) or now < self._slots.hold.until:
            return None
        if self._slots.trees.may_not_take(key) is not None:
            return None
        return next(self._fit(boot_profile(key.namespace, item.spec.profile_ref.name), rendered.profile_hash), None)

    def _fit(self, profile: Key, wanted: str) -> Iterator[Ready]:
        item, latest = self._table.get(profile), self._fleet.latest
        if item is None or not isinstance(item.spec, BootProfileSpec) or not item.spec.bake.warm or latest is None:
            return
        for one in self.machines_of(profile):
            vm_id = one.record.slot.vm_id
            vm = latest.vms.get(vm_id)
            if one.key in self.foreseen or not may_be_taken(one, wanted) or vm is None or vm.state is not VmState.SUSPENDED:
                continue
            yield Ready(one.key, vm_id)


def kept(item: LieutenantItem) -> Kept:
    """A machine that is kept ready, as its profile sees it."""
    status = LieutenantStatus.load(item.obj.status)
    ready = status.condition("Ready")
    current = status.observed_generation == item.obj.generation
    vm_id = item.record.slot.vm_id
    return Kept(
        key=item.key,
        hash=item.obj.labels.get(warm.HASH, "") or str(noted(item, vm_id).get(PREPARED, "")),
        vm_id=vm_id,
        ready=current and ready is not None and ready.status == "True",
        asleep=item.spec.mode is Mode.SUSPENDED,
        failed=could_not_be_made(status) if current else "",
        going=item.deleting,
    )


def could_not_be_made(status: LieutenantStatus) -> str:
    """Why a machine can't be made as its profile says, in words; '' also where the profile has no part in it."""
    stalled = status.condition("Stalled")
    failed = stalled is not None and stalled.status == "True" and stalled.reason == Reason.BOOT_FAILED
    return f"{stalled.reason}: {stalled.message}" if failed and stalled is not None else ""


def may_be_taken(item: LieutenantItem, wanted: str) -> bool:
    """It rests, and is what a lieutenant of the profile with this hash needs."""
    slot = item.record.slot
    return kept(item).rests and not slot.marked_for_deletion and noted(item, slot.vm_id).get(PREPARED) == wanted
