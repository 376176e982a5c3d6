"""All declared objects in memory, written through to the store. The store is written before anything acts on a change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.meta import Model
from reconciler.api.parsing import plain
from reconciler.api.sourcereasons import SourceReason
from reconciler.api.task import TaskSpec
from reconciler.core.keys import Key, SlotKey, SlotOwner, boot_profile, source_key
from reconciler.core.keys import lieutenant as lieutenant_key
from reconciler.core.keys import task as task_key
from reconciler.core.records import LieutenantRecord, Record, SlotRecord, TaskRecord
from reconciler.core.values import replaced
from reconciler.engine.ports import HALTED as HALTED
from reconciler.engine.ports import AddAudit, DropObject, PutObject, Store, StoredObject, Write
from reconciler.engine.state import tombstones
from reconciler.engine.state.changes import ObjectChange
from reconciler.engine.state.flaws import told_of
from reconciler.engine.state.heldstatuses import HeldStatuses
from reconciler.engine.state.indexes import noted_by
from reconciler.engine.state.items import AnyItem as AnyItem
from reconciler.engine.state.items import Item as Item
from reconciler.engine.state.items import LieutenantItem as LieutenantItem
from reconciler.engine.state.items import TaskItem as TaskItem
from reconciler.engine.state.items import command_key as command_key
from reconciler.engine.state.items import parse as parse
from reconciler.engine.state.items import session_of as session_of
from reconciler.engine.state.kindindex import KindIndex
from reconciler.engine.state.newrecord import NewRecord
from reconciler.engine.state.newrecord import with_record as with_record
from reconciler.engine.state.prunes import PruneBook
from reconciler.engine.state.tombstones import Tombstone
from reconciler.errors import Conflict, InvalidSpec, ReconcilerError

PORTION = 100  # objects that are taken from the store in one step of the loop: a few milliseconds
FOLLOWED = 100
"""Changes of one object in its cluster that are remembered until the store takes it."""
WENT_ON = "went-on"
"""Name under which it is kept when the fleet was last halted no longer (seconds)."""

Listener = Callable[[Key, StoredObject | None, StoredObject | None], None]
"""Told of every durable change: the key, what it was, what it is (None: it was not there, it is gone)."""


class ObjectTable:
    """Every object, its tasks by lieutenant, its VM by owner. One writer: this process. `revision` grows with every change that listeners
    are told of. `halted`: since when (RFC 3339) nothing may be created or delivered, '' when it may; `went_on_at`: when it last might
    again. `prunes`: blocked deletions."""

    def __init__(self, store: Store, kinds: KindIndex) -> None:
        self._store, self.kinds = store, kinds
        self._items: dict[Key, AnyItem] = {}
        self._tasks: dict[Key, dict[Key, TaskItem]] = {}
        self._dependents: dict[Key, dict[Key, None]] = {}
        self._owners: dict[str, SlotKey] = {}
        self._adopters: dict[str, dict[Key, None]] = {}
        self._forks: dict[Key, dict[Key, None]] = {}
        self._deleting: set[Key] = set()
        self._noted: set[Key] = set()
        self._followed: dict[Key, list[AddAudit]] = {}
        self.broken: dict[Key, str] = {}
        self.flawed: Mapping[Key, str] = {}
        self.on_flawed: list[Callable[[Key], None]] = []
        self.tombstones: dict[Key, Tombstone] = {}
        self.halted, self.went_on_at, self.revision, self.profile_changes, self.prunes = "", 0.0, 0, 0, PruneBook()
        self.held = HeldStatuses()
        self.on_change: list[Listener] = []

    def fill(self, objects: Iterable[StoredObject], meta: Mapping[str, str]) -> None:
        """Take what the store holds. An object this release can't read is kept aside, untouched, with the reason. `meta`: has
        what is remembered of removed tasks, and whether the fleet is halted."""
        for _ in self._filling(objects, meta):
            continue

    async def fill_in_portions(self, objects: Iterable[StoredObject], meta: Mapping[str, str]) -> None:
        """The same, and whatever else has to be done meanwhile gets its turn."""
        for _ in self._filling(objects, meta):
            await asyncio.sleep(0)

    def _filling(self, objects: Iterable[StoredObject], meta: Mapping[str, str]) -> Iterator[None]:
        """Yields after each portion."""
        self.tombstones = tombstones.read(meta)
        self.halted, self.went_on_at = meta.get(HALTED, ""), float(meta.get(WENT_ON, "0"))
        self.prunes.fill(meta)
        for number, obj in enumerate(objects, 1):
            self._take(obj)
            if number % PORTION == 0:
                yield
        self.flawed = told_of(self._items.values(), SourceReason.DECLARATION_INVALID)
        self.prunes.held = told_of(self._items.values(), SourceReason.PRUNE_BLOCKED)

    # --- reading ------------------------------------------------------------------------------------------------------------------

    def get(self, key: Key) -> AnyItem | None:
        return self._items.get(key)

    def lieutenant(self, key: Key) -> LieutenantItem | None:
        item = self._items.get(key)
        return item if item is not None and isinstance(item.record, LieutenantRecord) else None  # type: ignore[return-value]

    def task(self, key: Key) -> TaskItem | None:
        item = self._items.get(key)
        return item if item is not None and isinstance(item.record, TaskRecord) else None  # type: ignore[return-value]

    def profile(self, namespace: str, name: str) -> BootProfileSpec | None:
        item = self._items.get(boot_profile(namespace, name))
        return item.spec if item is not None and isinstance(item.spec, BootProfileSpec) and not item.deleting else None

    def tasks_of(self, lieutenant: Key) -> list[TaskItem]:
        return list(self._tasks.get(lieutenant, {}).values())

    def dependents_of(self, task: Key) -> tuple[Key, ...]:
        """The tasks that are declared to come after this one."""
        return tuple(self._dependents.get(task, ()))

    def reconcile_key(self, key: Key) -> Key:
        """Where this object is reconciled; its own key when it is not there."""
        item = self._items.get(key)
        return self.kinds.reconcile_key(key, item.obj.spec) if item is not None else key

    def of_kind(self, kind: str) -> list[AnyItem]:
        return [item for key, item in self._items.items() if key.kind == kind]

    def deleting(self) -> Iterable[Key]:
        """Objects whose deletion was asked for."""
        return self._deleting

    def all_keys(self) -> list[Key]:
        return list(self._items)

    def owner_of(self, vm_id: str) -> SlotKey | None:
        """The slot that this VM fills."""
        return self._owners.get(vm_id)

    def slot(self, slot: SlotKey) -> SlotRecord | None:
        """The record of a slot, None when its object has none of that name."""
        item = self._items.get(slot.object)
        return item.record.slots().get(slot.node) if item is not None else None

    def filled(self, owner: SlotOwner) -> bool:
        """Whether this very slot, of this life of its object, has a VM."""
        item = self._items.get(owner.object)
        slot = item.record.slots().get(owner.node) if item is not None and item.uid == owner.uid else None
        return slot is not None and slot.vm_id != ""

    def adopters_of(self, vm_id: str) -> tuple[Key, ...]:
        """The lieutenants that are declared to adopt this VM."""
        return tuple(self._adopters.get(vm_id, ()))

    def forks_of(self, source: Key) -> tuple[Key, ...]:
        """What is declared to be made as a live copy of this one."""
        return tuple(self._forks.get(source, ()))

    def adopting(self) -> tuple[str, ...]:
        """Every VM that some lieutenant is declared to adopt."""
        return tuple(self._adopters)

    def owned(self) -> dict[str, SlotKey]:
        """VM id → the slot that it fills, for every VM in a record."""
        return self._owners

    # --- writing ------------------------------------------------------------------------------------------------------------------

    async def update(self, changes: Sequence[tuple[Key, Callable[[StoredObject], StoredObject]]], *more: Write) -> None:
        """Change some objects and write other rows, in one transaction; durable when it returns. Raises `Conflict` when the
        store moved on (the rows are read again), or what the store says when it can't be written."""
        puts: list[Write] = []
        before: dict[Key, AnyItem] = {}
        noted: set[Key] = set()
        for key, change in changes:
            item = self._items.get(key)
            if item is None:
                continue
            known = item.obj
            if key in self._noted:
                known = replaced(known, record=item.record.dump())
                noted.add(key)
                self._noted.discard(key)
            changed = self.held.join(change(known), puts)
            if key not in noted and (changed is item.obj or changed == item.obj):
                continue
            before.setdefault(key, item)
            obj = replaced(changed, version=item.obj.version + 1)
            self._take(obj, change.record if isinstance(change, NewRecord) else item.record if changed.record is known.record else None)
            puts.append(PutObject(obj, item.obj.version))
        if puts or more:
            await self._write([*puts, *more], before, noted)

    def note(self, key: Key, record: Record) -> None:
        """Another record, of what can be had again: in force at once, in the store with the next write of this object (`unwritten`)."""
        item = self._items.get(key)
        if item is not None and record is not item.record:
            self._noted.add(key)
            self._index(item, noted := Item(item.obj, item.spec, record))
            self._items[key] = noted

    def unwritten(self, key: Key) -> bool:
        """Something was noted of it that is not in the store yet."""
        return key in self._noted

    def follow(self, obj: StoredObject, spec: Model, *audit: AddAudit) -> None:
        """Take over what another store keeps, a cluster: it tells it again after every start, before anything acts, so nothing is
        written down here for it alone; it is in the store with the next write of this object. `obj`: with the version of the
        one that is known. `spec`: that of `obj`, loaded. `audit`: who changed what, written together with it."""
        old = self._items[obj.key]
        if audit:
            self._followed[obj.key] = [*self._followed.get(obj.key, ()), *audit][-FOLLOWED:]
        self._replace(obj.key, Item(obj, spec, old.record))
        self._tell(obj.key, old.obj, obj)

    async def put_in_force(self, changes: Sequence[ObjectChange], *more: Write) -> None:
        """All of these changes, one of an object, and other rows: in memory at one moment, in the store in one transaction; durable when
        it returns. Raises `Conflict` when an object is not as its change takes it to be, or what the store says: nothing holds then."""
        if moved := next((one.key for one in changes if self._items.get(one.key) is not one.before), None):
            raise Conflict("the object changed meanwhile", str(moved), "read it again")
        batch = [*(write for one in changes for write in one.writes()), *more]
        if not batch:
            return
        noted = {one.key for one in changes if one.key in self._noted}
        for one in changes:
            self._replace(one.key, one.after)
        try:
            await self._commit(batch)
        except ReconcilerError:
            for one in changes:
                if one.before is None:
                    self._replace(one.key, None)
                else:
                    self._take_back(one.before, (one.after or one.before).obj)
            self._noted |= noted
            await self._read_again([one.key for one in changes])
            raise
        for one in changes:
            for before, after in one.steps():
                self._tell(one.key, before, after)

    async def drop(self, key: Key, *more: Write) -> None:
        """Remove an object for good."""
        item = self._items.get(key)
        if item is None:
            return
        try:
            await self._write([DropObject(key, item.uid), *more], {})
        except ReconcilerError:
            await self._read_again([key])
            raise
        self._replace(key, None)
        self._tell(key, item.obj, None)

    async def expire_task(self, key: Key, stone: Tombstone, *more: Write) -> None:
        """Remove a task for good and remember what it came to, in one transaction."""
        try:
            await self.drop(key, stone.write(key), *more)
        finally:
            if key not in self._items:  # also when the answer to that was lost: it is gone in the store, and remembered there
                self.tombstones[key] = stone

    async def purge_task(self, key: Key, *more: Write) -> None:
        """Remove a task for good, with all that is remembered of it: a user deleted it."""
        writes = (tombstones.cleared(key),) if key in self.tombstones else ()
        await (self.drop(key, *writes, *more) if key in self._items else self.update([], *writes, *more))
        self.tombstones.pop(key, None)

    async def _write(self, batch: list[Write], before: Mapping[Key, AnyItem], noted: Collection[Key] = ()) -> None:
        """`before`: what the table had; `noted`: of which it had a record that the store has not."""
        try:
            await self._commit(batch)
        except ReconcilerError:
            self._noted.update(noted)
            for write in batch:
                if isinstance(write, PutObject) and (old := before.get(write.obj.key)) is not None:
                    self._take_back(old, write.obj)
            await self._read_again(list(before))
            raise
        for write in batch:
            if isinstance(write, PutObject):
                old = before.get(write.obj.key)
                self._tell(write.obj.key, old.obj if old else None, write.obj)

    async def _commit(self, batch: Sequence[Write]) -> None:
        """With every object goes who changed what of it where it was followed."""
        keys = [
            write.obj.key if isinstance(write, PutObject) else write.key for write in batch if isinstance(write, PutObject | DropObject)
        ]
        audits = {key: self._followed.pop(key) for key in keys if key in self._followed}
        try:
            await self._store.write([*batch, *(one for audit in audits.values() for one in audit)])
        except ReconcilerError:
            for key, audit in audits.items():
                self._followed[key] = [*audit, *self._followed.get(key, ())][-FOLLOWED:]
            raise

    def _take_back(self, before: AnyItem, put: StoredObject) -> None:
        """`put` was not written: what it was before is in force again, but for what was followed meanwhile."""
        now, old = self._items.get(put.key), before.obj
        if now is not None and now.obj is not put:
            obj = now.obj
            old = replaced(old, spec=obj.spec, labels=obj.labels, annotations=obj.annotations, generation=obj.generation)
        self._take(old, before.record)

    def _tell(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
        self.revision += 1
        for listener in tuple(self.on_change):
            listener(key, before, after)

    async def _read_again(self, keys: list[Key]) -> None:
        """After a write of unknown outcome, or one that lost against another: the store is right. When it can't be read
        either, the next write conflicts and brings us here again."""
        for key in keys:
            known = self._items.get(key)
            try:
                found = await self._store.objects(key.kind, key.namespace, key.name)
            except ReconcilerError:
                continue
            if not found and known is not None:
                self._replace(key, None)
                self._tell(key, known.obj, None)
            for obj in found:
                if known is None or obj.version != known.obj.version:
                    self._noted.discard(key)
                    self._take(obj)
                    self._tell(key, None, obj)

    def _take(self, obj: StoredObject, record: Record | None = None) -> None:
        """`record`: that of `obj`, where it need not be loaded."""
        old = self._items.get(obj.key)
        try:
            if record is not None and old is not None and old.obj.spec is obj.spec:
                item = Item(obj, old.spec, record)
            else:
                item = parse(obj, self.kinds.record_of(obj.key.kind), old)
        except (InvalidSpec, ValueError) as error:
            self.broken[obj.key] = str(error)
            return
        self._replace(obj.key, item)

    def _replace(self, key: Key, item: AnyItem | None) -> None:
        self.broken.pop(key, None)
        self._index(old := self._items.get(key), item)
        if item is None or old is None or item.uid != old.uid:
            self._noted.discard(key)
            self.held.drop(key)
        if item is None:
            self._items.pop(key, None)
        else:
            self._items[key] = item

    def _index(self, old: AnyItem | None, new: AnyItem | None) -> None:
        if old is not None and new is not None and self._indexed_alike(old, new):
            return
        for item, add in ((old, False), (new, True)):
            if item is None:
                continue
            if isinstance(item.spec, BootProfileSpec):
                self.profile_changes += 1
            (self._deleting.add if add and item.deleting else self._deleting.discard)(item.key)
            if isinstance(item.spec, LieutenantSpec):
                if item.spec.adopt is not None:
                    noted_by(self._adopters, item.spec.adopt.vm_id, item.key, add)
                if item.spec.fork is not None:
                    noted_by(self._forks, source_key(item.key.namespace, plain(item.spec.fork.from_)), item.key, add)
            elif isinstance(item.spec, TaskSpec):
                for ref in item.spec.after:
                    noted_by(self._dependents, task_key(item.key.namespace, ref.name), item.key, add)
                work_set = self._tasks.setdefault(lieutenant_key(item.key.namespace, item.spec.lieutenant_ref.name), {})
                if add:
                    work_set[item.key] = item  # type: ignore[assignment]
                else:
                    work_set.pop(item.key, None)
            for node, slot in item.record.slots().items():
                if slot.vm_id:
                    self._own(slot.vm_id, SlotKey(item.key, node), add)

    @staticmethod
    def _indexed_alike(old: AnyItem, new: AnyItem) -> bool:
        """Nothing by which it is found has changed."""
        if old.spec is not new.spec or old.deleting or new.deleting or not isinstance(new.spec, LieutenantSpec):
            return False
        return old.record is new.record or old.record.slots() == new.record.slots()

    def _own(self, vm_id: str, slot: SlotKey, add: bool) -> None:
        if add:
            self._owners[vm_id] = slot
        elif self._owners.get(vm_id) == slot:
            del self._owners[vm_id]

    def note_flawed(self, found: Mapping[Key, str]) -> None:
        """What is declared and not valid from now on."""
        before, self.flawed = self.flawed, dict(found)
        changed = [key for key in {**before, **self.flawed} if before.get(key) != self.flawed.get(key)]
        self.profile_changes += bool(changed)
        for key in changed:
            for listener in tuple(self.on_flawed):
                listener(key)
