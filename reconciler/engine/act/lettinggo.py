"""Letting go of a VM: it stays, kept for us, as nobody's, or just as it is."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Detach
from reconciler.core.records import SlotRecord
from reconciler.core.slot import claims, tenancy
from reconciler.core.slot.item import SlotItem
from reconciler.core.snapshot.vm import Seen, VmObservation, VmState
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.slotbooks import SlotBooks
from reconciler.engine.ports import Place
from reconciler.errors import Forbidden, GuestFailed, GuestUnreachable, NotFound, Unreachable


class LettingGo:
    """Of any slot."""

    def __init__(self, tools: ActContext, books: SlotBooks) -> None:
        self.t, self.books = tools, books

    async def detached(self, item: SlotItem, seen: VmObservation, action: Detach) -> None:
        """The VM stays: as ours without an object, as nobody's, or just as it is. Keeper and pi on it go on."""
        t, vm_id = self.t, action.vm_id
        if action.how == "Leave" and not item.declared.observe_only and await self.is_claimed(item, vm_id):
            return  # the list was wrong: left as it is, our claim would stay on it for nobody
        vm = t.fleet.current(vm_id)
        labels: dict[str, str] = {}
        said = action.why
        shared = t.gatherer.slots.origins.shared(item.owner)
        if action.how == "Retain":
            labels = {claims.RETAINED: item.owner.key.path, **tenancy.shared_with(shared)}
        elif action.how == "Orphan":
            labels = claims.released_labels(vm.labels if vm is not None else {})
            labels |= tenancy.released_by(t.gatherer.owner, vm_id, item.owner.object.namespace, shared)
            if isinstance(seen, Seen) and seen.state is VmState.RUNNING:
                try:
                    await t.agents.remove_claim(Place(vm_id))
                except (GuestUnreachable, GuestFailed) as error:
                    said = f"{said}; the claim file inside it stays: {error}"
            else:
                said = f"{said}; the claim file inside it stays, it does not run"
        if labels:
            there = await self.label_for_good(vm_id, labels)
            if action.how == "Orphan" and (left := claims.released_labels(there)):  # of what a list did not show
                await self.label_for_good(vm_id, left)
        await t.agents.release(Place(vm_id))
        old = self.books.now(item)
        slot = SlotRecord(epoch=old.epoch, account=old.account, adopted=old.adopted, branch=old.branch)
        event = self.books.event(item, Reason.DETACHED_VM, f"VM {vm_id} ({action.how}): {said}; it goes on costing money")
        await self.books.empty(item, slot, "", *event)
        t.gatherer.machines.observe_again(vm_id)
        t.fleet.forget(vm_id)

    async def label_for_good(self, vm_id: str, labels: dict[str, str]) -> Mapping[str, str]:
        """Nobody looks at this VM again: that the labels are on it is read back. Returns all that are. Raises what the platform says."""
        t = self.t
        await t.vers.set_labels(vm_id, labels)
        there = (await t.vers.get_vm(vm_id)).labels
        if any(there.get(name, "") != value for name, value in labels.items()):
            raise Unreachable("the platform took labels and does not show them", f"VM {vm_id}", "they are written again")
        t.fleet.labelled(vm_id, labels)
        return there

    async def is_claimed(self, item: SlotItem, vm_id: str) -> bool:
        """By its own status, whether the VM carries our claim; then only a list counts that is begun later. What is not there carries
        none. Raises what else the platform says."""
        t = self.t
        try:
            vm = await t.vers.get_vm(vm_id)
        except (NotFound, Forbidden):
            return False
        if not claims.claimed_for(vm, t.gatherer.owner, item.owner, item.record.epoch):
            return False
        t.fleet.changed(vm_id)
        return True
