"""VMs that say they are ours and that nothing here owns: told, and deleted only where a person asked for exactly that one
(G-02, G-07, design §5.9)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from reconciler.api.parsing import load_spec
from reconciler.api.reasons import Reason
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.fleet.orphans import Standing, Stray, standing_of, strays
from reconciler.core.keys import Key
from reconciler.core.records import LieutenantRecord
from reconciler.core.slot.claims import KIND, NAME, NAMESPACE, UID, Owner
from reconciler.core.snapshot.vm import VmList
from reconciler.core.tree.places import key_of, place_of_machine, tree_of_machine, uid_of, wanted_places
from reconciler.core.treerecords import TreeRecord
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.ports import Clock, PutMeta, StoredObject
from reconciler.engine.recorder import Recorder
from reconciler.engine.state.journal import Journal
from reconciler.engine.state.objects import ObjectTable
from reconciler.engine.subscriptions import Unsubscribe, subscribed
from reconciler.errors import Forbidden, NotFound, ReconcilerError

ASKED = "collect/"
"""Meta rows: `collect/VM_ID` is 'asked' while that VM is to be deleted, '' when that is over."""


async def ask_for(table: ObjectTable, vm_ids: Iterable[str]) -> None:
    """Write down that these VMs are to be deleted if they are orphans; whether they are is looked at before each call."""
    await table.update([], *(PutMeta(f"{ASKED}{vm_id}", "asked") for vm_id in vm_ids))


def awaited(labels: Mapping[str, str], get: Callable[[Key], StoredObject | None]) -> bool:
    """Whether these labels claim a machine for a node of a tree that is there and has no other one: a lost object is made again, and
    finds it. `get`: an object by its key."""
    key = Key(labels.get(KIND, ""), labels.get(NAMESPACE, ""), labels.get(NAME, ""))
    tree_key = tree_of_machine(key)
    tree = get(tree_key) if tree_key is not None else None
    place = place_of_machine(key)
    if tree is None or tree.deleted_at is not None or labels.get(UID) != uid_of(tree.uid, place) or key != key_of(tree.key, place, False):
        return False
    machine = get(key)
    if machine is not None:
        return not LieutenantRecord.load(machine.record).slot.vm_id
    spec, record = load_spec(tree.key.kind, tree.spec, tolerant=True), TreeRecord.load(tree.record)
    return isinstance(spec, VMTreeSpec) and any(p.name == place and not p.node.has_agent for p in wanted_places(spec, record, {}))


class Orphans:
    """Looks at every list for VMs without an owner. `found`: those of ours, as of the last list."""

    def __init__(
        self,
        table: ObjectTable,
        fleet: Fleet,
        recorder: Recorder,
        clock: Clock,
        owner: Owner,
        journal: Journal,
        meta: Mapping[str, str],
    ) -> None:
        self._table, self._fleet, self._recorder, self._clock, self._owner = table, fleet, recorder, clock, owner
        self._journal = journal
        self._asked = {name.removeprefix(ASKED) for name, value in meta.items() if name.startswith(ASKED) and value}
        self.found: dict[str, Stray] = {}
        self._listeners: list[Callable[[str, str, str], None]] = []

    async def ask(self, vm_ids: Iterable[str]) -> None:
        """A person wants these deleted. Durable when it returns; carried out with the next lists."""
        wanted = tuple(vm_ids)
        await ask_for(self._table, wanted)
        self._asked.update(wanted)

    def subscribe(self, listener: Callable[[str, str, str], None]) -> Unsubscribe:
        """Called with VM id, reason and message when it is decided what became of a request."""
        return subscribed(self._listeners, listener)

    async def look(self, fresh: VmList) -> None:
        """Tell of those that are new, and go on deleting those that were asked for. Raises what platform and store say."""
        settled = self._clock.now() - self._fleet.settle
        owned, seen_at, coming = self._table.owned(), self._fleet.first_seen, self._coming()
        every = strays(fresh.vms.values(), self._owner, owned, seen_at, settled, awaited=self._awaited, coming=coming)
        found = {stray.vm.vm_id: stray for stray in every if stray.standing in (Standing.ORPHAN, Standing.SUSPECTED)}
        for vm_id in found.keys() - self.found.keys():
            message = f"VM {vm_id} {found[vm_id].said}; it costs money until somebody deletes it"
            await self._table.update([], *self._recorder.event(Key("VM", "", vm_id), vm_id, Reason.ORPHAN_VM, message, "Warning"))
        self.found = found
        for vm_id in sorted(self._asked):
            await self._collect(vm_id, fresh)

    async def _collect(self, vm_id: str, fresh: VmList) -> None:
        """One step towards its absence: looked at by itself right before the call, given up when it is no orphan (any more)."""
        try:
            vm = await self._fleet.vers.get_vm(vm_id)
        except (NotFound, Forbidden):
            if vm_id not in fresh.vms:
                await self._over(vm_id, Reason.DELETED_ORPHAN, "is gone")
            return
        standing = standing_of(vm, self._owner)
        owner = self._table.owner_of(vm_id)
        if standing[0] is Standing.ORPHAN and self._awaited(vm.labels):
            standing = Standing.SUSPECTED, f"is taken back by vmtree/{vm.labels[NAME]}"
        if owner is not None or standing[0] is not Standing.ORPHAN:
            why = f"belongs to {owner}" if owner is not None else standing[1]
            await self._over(vm_id, Reason.NO_ORPHAN, f"{why}; it is not deleted")
            return
        if vm_id not in self.found:
            return  # too young to be sure that nothing here is about to own it
        try:
            await self._fleet.vers.delete_vm(vm_id)
        except ReconcilerError as error:
            said = self._recorder.event(Key("VM", "", vm_id), vm_id, Reason.DELETE_FAILED, f"VM {vm_id}: {error}", "Warning")
            await self._table.update([], *said)

    def _coming(self) -> set[str]:
        """The tokens of creates whose machine is taken over once it is found: open ones, for objects that are there."""
        creates = self._journal.creates(self._table.filled)
        return {one.token for one in creates if (item := self._table.get(one.owner.object)) is not None and item.uid == one.owner.uid}

    def _awaited(self, labels: Mapping[str, str]) -> bool:
        return awaited(labels, lambda key: item.obj if (item := self._table.get(key)) is not None else None)

    async def _over(self, vm_id: str, reason: str, said: str) -> None:
        event = self._recorder.event(Key("VM", "", vm_id), vm_id, reason, f"VM {vm_id} {said}")
        await self._table.update([], PutMeta(f"{ASKED}{vm_id}", ""), *event)
        self._asked.discard(vm_id)
        for listener in tuple(self._listeners):
            listener(vm_id, reason, said)
