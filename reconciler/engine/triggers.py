"""What makes us look: what was declared or written, a new list of the platform, a keeper that said something. Everything else rests."""

from __future__ import annotations

from reconciler.core.keys import Key, SlotKey
from reconciler.core.snapshot.vm import VmList
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.observe.slots import Hold
from reconciler.engine.places import place_of
from reconciler.engine.ports import Agents, Clock, StoredObject
from reconciler.engine.queue import Priority, WorkQueue
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.declarations import PREFIX, Declarations
from reconciler.engine.state.objects import LieutenantItem, ObjectTable

HEARD_EVERY = 0.05
"""Seconds in which everything a keeper says counts as one reason to look: a streaming answer is no storm."""


class Triggers:
    """Puts lanes into the queue. `moving`: the lanes that were not seen to rest since their last change. `fresh`: the store was empty
    at the start."""

    def __init__(
        self,
        queue: WorkQueue,
        table: ObjectTable,
        declarations: Declarations,
        fleet: Fleet,
        agents: Agents,
        hold: Hold,
        settings: EngineSettings,
        clock: Clock,
        fresh: bool,
    ) -> None:
        self._queue, self._table, self._declarations, self._fleet, self._agents = queue, table, declarations, fleet, agents
        self._hold, self._settings, self._clock = hold, settings, clock
        self._hold_checked = not fresh
        self._watched: set[str] = set()
        self.reconciling: set[Key] = set()

    def begin(self) -> None:
        """Everything is looked at once."""
        for key in self._table.all_keys():
            work_set = self._declarations.work_set_of(key)
            self.reconciling.add(work_set)
            self._queue.add(work_set, Priority.RESYNC)

    # --- what is declared and written -----------------------------------------------------------------------------------------

    def changed(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
        """An object was written: look at its lane, at the tasks that wait for it and at what refers to it. What only a lane's
        own worker writes (status, record) is no reason to look at that lane again: the worker goes on until it rests."""
        if before is None or after is None or declaration_of(before) != declaration_of(after):
            self._declared(key, before, after)
        elif before.record is after.record or before.record == after.record:
            return
        if key.kind == "Task":
            self._dependents(key)
        elif key.kind == "Lieutenant":
            self._adopters_freed(before)
            if any(not waiting.record.finished for waiting in self._table.tasks_of(key)):
                self._queue.add(key)
        elif key.kind == "BootProfile":
            for kind in ("Lieutenant", "BootProfile"):
                for other in self._table.of_kind(kind):
                    if other.key.namespace == key.namespace and other.key != key:
                        self._queue.add(other.key)

    def _declared(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
        work_set = self._declarations.work_set_of(key) if after is not None or before is None else work_set_of_gone(before)
        if after is None and work_set == key:
            self.reconciling.discard(key)
        else:
            self.reconciling.add(work_set)
        self._queue.add(work_set, Priority.DELETE if after is not None and after.deleted_at is not None else Priority.CHANGE)

    def _dependents(self, key: Key) -> None:
        for dependent in self._table.dependents_of(key):
            task = self._table.task(dependent)
            if task is not None and not task.record.finished:
                self._queue.add(self._declarations.work_set_of(dependent))

    def _adopters_freed(self, before: StoredObject | None) -> None:
        """Lieutenants that wait for a VM which this object had and has no more."""
        slot = before.record.get("slot") if before is not None else None
        vm_id = str(slot.get("vm_id", "")) if isinstance(slot, dict) else ""
        if vm_id and self._table.owner_of(vm_id) is None:
            for key in self._table.adopters_of(vm_id):
                self._queue.add(key)

    # --- the platform ---------------------------------------------------------------------------------------------------------

    def listed(self, before: VmList | None, fresh: VmList) -> None:
        """A new list: look at the owners of what changed in it; everything else rests (G-45)."""
        owned = self._table.owned()
        self._fleet.note_owned(owned, self._condemned())
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
            if new.get(vm_id) != old.get(vm_id):
                self._queue.add(slot.object, Priority.RESYNC)
        for vm_id in self._table.adopting():
            if new.get(vm_id) != old.get(vm_id):
                for key in self._table.adopters_of(vm_id):
                    self._queue.add(key, Priority.RESYNC)

    def _condemned(self) -> frozenset[str]:
        """VMs of ours that are meant to go; nobody asks when nothing is being deleted."""
        if not self._hold.failing_deletes and not any(item.deleting for item in self._table.of_kind("Lieutenant")):
            return frozenset()
        filled = ((vm_id, self._table.slot(slot)) for vm_id, slot in self._table.owned().items())
        return frozenset(vm_id for vm_id, slot in filled if slot is not None and slot.marked_for_deletion)

    def lieutenants(self) -> None:
        """Something that concerns every machine: the platform went away, or came back."""
        for item in self._table.of_kind("Lieutenant"):
            self._queue.add(item.key, Priority.RESYNC)

    # --- keepers --------------------------------------------------------------------------------------------------------------

    def watch(self, item: LieutenantItem) -> None:
        """From now on what its keeper says is heard."""
        place = place_of(item)
        if place.id and place.id not in self._watched:
            self._watched.add(place.id)
            self._agents.watch(place, lambda: self.said(item.slot_owner.key if place.local else self._table.owner_of(place.vm_id)))

    def said(self, slot: SlotKey | None) -> None:
        """A keeper said something, or its connection broke. `slot`: whose it is; None: nobody's any more."""
        if slot is not None:
            self._queue.add_at(slot.object, HEARD_EVERY, Priority.CHANGE)


def declaration_of(obj: StoredObject) -> tuple[object, ...]:
    """What a lane is looked at for, of what others than its worker write: labels and others' annotations mean nothing to us."""
    verbs = {name: value for name, value in obj.annotations.items() if name.startswith(PREFIX)}
    return obj.spec, verbs, obj.deleted_at, obj.generation


def work_set_of_gone(obj: StoredObject) -> Key:
    """Where an object that is gone was looked at."""
    ref = obj.spec.get("lieutenantRef")
    if obj.key.kind == "Task" and isinstance(ref, dict):
        return Key("Lieutenant", obj.key.namespace, str(ref.get("name", "")))
    return obj.key
