"""What puts keys into the work queue: what was declared or written, and a new list of the platform. Everything else rests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from reconciler.api.annotations import PREFIX
from reconciler.core.governance.memory import Whose
from reconciler.core.keys import Key, lieutenant
from reconciler.core.snapshot.vm import VmList
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.observe.slots import Hold
from reconciler.engine.ports import Clock, StoredObject
from reconciler.engine.queue import Priority, WorkQueue
from reconciler.engine.registry import AnyKind
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.objects import ObjectTable

LIEUTENANT = lieutenant("", "").kind
AT_ONCE = 500
"""Keys that are queued before everything else of the process has its turn."""


class Triggers:
    """`reconciling`: the keys that were not seen steady since their last change. `fresh`: the store was empty at the start."""

    def __init__(
        self,
        queue: WorkQueue,
        table: ObjectTable,
        kinds: Mapping[str, AnyKind],
        fleet: Fleet,
        hold: Hold,
        settings: EngineSettings,
        clock: Clock,
        fresh: bool,
    ) -> None:
        self._queue, self._table, self._kinds, self._fleet = queue, table, kinds, fleet
        self._hold, self._settings, self._clock = hold, settings, clock
        self._hold_checked = not fresh
        self.reconciling: set[Key] = set()

    async def begin(self) -> None:
        """Everything is looked at once."""
        for number, key in enumerate(self._table.all_keys(), 1):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            reconciled = self._table.reconcile_key(key)
            self.reconciling.add(reconciled)
            self._queue.add(reconciled, Priority.RESYNC)
        for kind in self._kinds.values():
            for key in kind.left_behind():
                self._queue.add(key, Priority.RESYNC)

    # --- what is declared and written -----------------------------------------------------------------------------------------

    def changed(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
        """An object was written: reconcile it and whatever its kind says is affected. What only its own worker writes (status, record)
        is no reason to reconcile it again: the worker goes on until it is steady."""
        if before is None or after is None or not same_declaration(before, after):
            self._declared(key, before, after)
        else:
            if before.status != after.status:
                for kind in self._kinds.values():
                    for told in kind.told(key, before, after):
                        self._queue.add(told)
            if before.record is after.record or before.record == after.record:
                return
        for kind in self._kinds.values():
            for affected in kind.affected(key, before, after):
                self._queue.add(affected)

    def remembered(self, whose: Whose) -> None:
        """What has changed in a memory reaches the machines of those that share it."""
        for item in self._table.of_kind(LIEUTENANT):
            if item.key.namespace == whose.namespace and whose.owner in ("", item.key.name):
                self._queue.add(item.key)

    def flawed(self, key: Key) -> None:
        """That it is declared badly, or no more so, is told in its status, and concerns whoever refers to it."""
        if self._table.get(key) is not None:
            self._queue.add(self._table.reconcile_key(key))
        for kind in self._kinds.values():
            for affected in kind.affected(key, None, None):
                self._queue.add(affected)

    def halted(self) -> None:
        """The fleet was halted, or goes on: that concerns everything."""
        for key in self._table.all_keys():
            self._queue.add(self._table.reconcile_key(key), Priority.RESYNC)

    def _declared(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
        known = after if after is not None else before
        reconciled = self._table.kinds.reconcile_key(key, known.spec) if known is not None else key
        if after is None and reconciled == key:
            self.reconciling.discard(key)
        else:
            self.reconciling.add(reconciled)
        self._queue.add(reconciled, Priority.DELETE if after is not None and after.deleted_at is not None else Priority.CHANGE)

    # --- the platform ---------------------------------------------------------------------------------------------------------

    def listed(self, before: VmList | None, fresh: VmList) -> None:
        """A new list: look at the owners of what changed in it; everything else rests (G-45)."""
        owned = self._table.owned()
        self._fleet.note_owned(owned, self._marked())
        if not self._hold_checked:
            self._hold_checked = True
            if any(vm.labels.get(f"{PREFIX}fleet") == self._settings.fleet for vm in fresh.vms.values()):
                self._hold.until = self._clock.now() + self._settings.empty_store_seconds
        if before is None:
            for key in {slot.object for slot in owned.values()}:
                self._queue.add(key, Priority.RESYNC)
            return
        old, new = before.vms, fresh.vms
        for vm_id, slot in owned.items():
            if (row := new.get(vm_id)) is not (known := old.get(vm_id)) and row != known and self._fleet.news(vm_id):
                self._queue.add(slot.object, Priority.RESYNC, self._has_news)
        for vm_id in self._table.adopting():
            if new.get(vm_id) != old.get(vm_id):
                for key in self._table.adopters_of(vm_id):
                    self._queue.add(key, Priority.RESYNC)

    def _has_news(self, key: Key) -> bool:
        """Whether one of its VMs is in the newest list otherwise than its last look showed it."""
        item = self._table.get(key)
        return item is None or any(slot.vm_id and self._fleet.news(slot.vm_id) for slot in item.record.slots().values())

    def _marked(self) -> frozenset[str]:
        """VMs of ours that are meant to go; nobody asks when nothing is being deleted."""
        if not self._hold.failing_deletes and not any(self._table.deleting()):
            return frozenset()
        filled = ((vm_id, self._table.slot(slot)) for vm_id, slot in self._table.owned().items())
        return frozenset(vm_id for vm_id, slot in filled if slot is not None and slot.marked_for_deletion)

    def platform_changed(self) -> None:
        """The platform went away, or came back."""
        for kind in self._kinds.values():
            for key in kind.platform_changed():
                self._queue.add(key, Priority.RESYNC)


def same_declaration(before: StoredObject, after: StoredObject) -> bool:
    """Whether what an object is reconciled for is the same. What its own worker writes leaves spec and annotations the very same."""
    if before.spec is after.spec and before.annotations is after.annotations:
        return before.deleted_at == after.deleted_at and before.generation == after.generation
    return declaration_of(before) == declaration_of(after)


def declaration_of(obj: StoredObject) -> tuple[object, ...]:
    """What an object is reconciled for, of what others than its worker write: labels and others' annotations mean nothing to us."""
    verbs = {name: value for name, value in obj.annotations.items() if name.startswith(PREFIX)}
    return obj.spec, verbs, obj.deleted_at, obj.generation
