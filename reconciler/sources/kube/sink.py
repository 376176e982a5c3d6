"""Status into the cluster: by replace with the version we saw, only when something differs, one write a change (G-45, G-46). Also
where a create is written down before it is sent, and where a finalizer goes: `engine.backend.DeclarationBackend`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import orjson

from reconciler.api.reasons import Reason
from reconciler.api.status.bootprofile import CREATES
from reconciler.core.conditions import simple_status
from reconciler.core.keys import Json, JsonValue, Key, SlotOwner, as_map, as_maps, boot_profile, vm_tree
from reconciler.core.profile import bake
from reconciler.core.snapshot.rendered import Unresolved
from reconciler.core.tree.places import MACHINE
from reconciler.engine.effects import Effects
from reconciler.engine.ports import Intent, StoredObject
from reconciler.engine.state.declared import Declared
from reconciler.engine.view import ObjectReader
from reconciler.errors import Conflict, NotFound, Rejected
from reconciler.log import redact
from reconciler.sources.kube import creates, owned, raw
from reconciler.sources.kube.client import Cluster, collection, path_of
from reconciler.sources.kube.restore import create_status
from reconciler.sources.kube.secrets import KubeSecrets
from reconciler.sources.kube.seen import Seen
from reconciler.sources.kube.writes import NumberedWrites

log = logging.getLogger("reconciler.kube")

TREE_KIND, PROFILE_KIND = vm_tree("", "").kind, boot_profile("", "").kind

TRIES = 5
"""How often a write that lost against another one is made again at once; later it is looked at again."""


class _Made(NamedTuple):
    """What was made of a status, so that it is made once."""

    status: Json
    handed: int
    wanted: Json


class KubeSink:
    """`seen`: every object as the cluster last told of it. `table`, `effects`, `now` and `refused` are set once the engine is there."""

    def __init__(self, cluster: Cluster, secrets: KubeSecrets, seen: Seen) -> None:
        self._cluster, self._secrets, self._seen = cluster, secrets, seen
        self._creates: dict[SlotOwner, Intent] = {}
        self._locks: dict[Key, asyncio.Lock] = {}
        self._made: dict[Key, _Made] = {}
        self.telling: set[Key] = set()  # whose status in the cluster may tell of creates
        self.refused: dict[Key, tuple[str, str]] = {}
        self.writes = 0
        self.leaving: dict[str, StoredObject] = {}  # their time is over; by uid
        self.taken_back: dict[str, str] = {}  # by whoever declared them here, and why; by uid

    def attach(
        self,
        table: ObjectReader,
        effects: Effects,
        now: Callable[[], float],
        pending: Callable[[SlotOwner], Intent | None],
        taken: Callable[[Key], Awaitable[None]],
        read: Callable[[Key], Awaitable[None]],
    ) -> None:
        """`pending`: the open create of a slot; `taken`: takes in what is seen of an object, at once; `read`: asks the API server for one,
        whose news is taken in, since the watch tells none of it then."""
        self._table, self._writes, self._now, self._pending = table, NumberedWrites(self._cluster, effects), now, pending
        self._taken, self._read = taken, read

    # --- status ---------------------------------------------------------------------------------------------------------------

    async def write(self, key: Key) -> None:
        """Bring the cluster's status of this object in line with ours. Raises what the API server says."""
        async with self._lock(key):
            for _ in range(TRIES):
                obj = self._seen.get(key)
                wanted = self._wanted(key, obj) if obj is not None else None
                if obj is None or wanted is None or wanted == raw.status(obj):
                    return
                if await self._replace(key, obj, wanted):
                    return
        raise Conflict("somebody keeps changing this object", str(key), "looking again")

    async def _replace(self, key: Key, obj: Json, wanted: Json) -> bool:
        """False: somebody was faster; what is there now has been read."""
        metadata: Json = {name: value for name, value in raw.metadata(obj).items() if name != "managedFields"}  # kept as they are
        body: Json = {**obj, "metadata": metadata, "status": wanted}
        try:
            told = await self._writes.status(path_of(key, "status"), body)
        except (Conflict, NotFound):
            await self._read(key)
            return False
        self.writes += 1
        self._seen.answered(key, obj, told)
        return True

    def _wanted(self, key: Key, obj: Json) -> Json | None:
        """What its status should be; None: nothing is known that could be said."""
        item = self._table.get(key)
        refused = self.refused.get(key)
        known = item is not None and item.uid == raw.uid(obj) and item.obj.source == raw.SOURCE
        status: Json = dict(item.obj.status) if item is not None and known else {}
        if refused is not None:
            previous = status or raw.status(obj)
            said = simple_status(Unresolved(Reason(refused[0]), refused[1], final=True), previous, raw.generation(obj), self._now())
            status = {**previous, **said.dump()}  # what it said of a machine is all that is known of it
        told = self._with_creates(key, raw.uid(obj), status)
        if told is status:
            self.telling.discard(key)
        if not told:
            return None
        if item is None or refused is not None or told is not status:
            return self._cleaned(told)
        made = self._made.get(key)
        if made is None or made.status is not item.obj.status or made.handed != self._secrets.handed:
            made = self._made[key] = _Made(item.obj.status, self._secrets.handed, self._cleaned(status))
        return made.wanted

    def _with_creates(self, key: Key, uid: str, status: Json) -> Json:
        """With the creates that may be on their way for it; the same where there are none."""
        if key.kind == TREE_KIND:
            nodes = creates.of_nodes(key, uid, as_maps(status.get("nodes")), self._open, self._creates, self._made_in)
            return {**status, "nodes": nodes} if nodes or "nodes" in status else status
        if key.kind == PROFILE_KIND:
            mine = (item for item in self._table.of_kind(MACHINE) if bake.profile_of(item.key) == key)
            told = creates.of_profile(uid, (SlotOwner.of(item.key, item.uid) for item in mine), self._open)[:CREATES]
            return {**status, "bake": {**as_map(status.get("bake")), "creates": told}} if told else status
        own, others = self._open(SlotOwner.of(key, uid)), creates.beside(key, uid, self._open)
        if own is not None:
            status = {**status, "vm": {**as_map(status.get("vm")), "create": create_status(own).dump()}}
        elif (item := self._table.lieutenant(key)) is not None and item.uid == uid:
            status = creates.naming(status, item.record)
        return {**status, "creates": others} if others else status

    def _made_in(self, slot: SlotOwner) -> str:
        """The machine in a slot, '' for none."""
        item = self._table.lieutenant(slot.object)
        return item.record.slot.vm_id if item is not None and item.uid == slot.uid else ""

    def _open(self, slot: SlotOwner) -> Intent | None:
        """The create of this slot that is just being written down, or may be on its way."""
        return self._creates.get(slot) or self._pending(slot)

    def _cleaned(self, status: Json) -> Json:
        return as_map(self._clean(raw.without_nulls(status)))

    def _clean(self, status: JsonValue) -> JsonValue:
        """Without known secret values, wherever they may have come from (G-60)."""
        text = orjson.dumps(status).decode()
        if redact(text, self._secrets.known()) == text:
            return status
        return _redacted(status, lambda one: redact(one, self._secrets.known()))

    # --- engine.backend.DeclarationBackend --------------------------------------------------------------------------------------

    async def persist_intent(self, intent: Intent) -> None:
        """The open create is in the status of its object before it is sent (`status.vm.create`, `status.creates`), that of a machine which
        a tree or a profile has itself in that one's. Not for objects of other sources."""
        item = self._table.get(creates.told_by(intent.owner.object))
        if item is None or item.obj.source != raw.SOURCE:
            return
        self._creates[intent.owner] = intent
        self.telling.add(item.key)
        try:
            await self._written(item.obj)
        finally:
            del self._creates[intent.owner]  # from here on the journal says it

    async def flush_status(self, obj: StoredObject) -> None:
        """That a prompt is on its way is in the status of its task before it is sent."""
        if obj.source == raw.SOURCE:
            await self._written(obj)

    async def _written(self, obj: StoredObject) -> None:
        await self.write(obj.key)
        found = self._seen.get(obj.key)
        if found is None or raw.uid(found) != obj.uid:
            raise NotFound("its object is not in the cluster any more", str(obj.key), "nothing is done for it")

    async def declare(self, declared: Declared, owner: StoredObject) -> bool:
        """An object of its own, which goes with its owner. What another one declares under that name is left as it is."""
        if owner.source != raw.SOURCE:
            return False
        async with self._lock(declared.key):
            await self._read(declared.key)
            there = self._seen.get(declared.key)
            told = there
            if there is None:
                told = await self._writes.declare(collection(declared.key.kind, declared.key.namespace), owned.body(declared, owner))
            elif owned.belongs_to(there, owner) and not raw.deleting(there):
                wanted = owned.put_right(there, declared)
                told = await self._writes.redeclare(path_of(declared.key), wanted) if wanted != there else there
            assert told is not None
            self._seen.answered(declared.key, there, told)
        await self._taken(declared.key)
        return True

    async def undeclare(self, obj: StoredObject, annotations: Mapping[str, str], why: str) -> bool:
        if obj.source != raw.SOURCE:
            return False
        before, after = raw.around_a_deletion(annotations)
        self.taken_back[obj.uid] = why
        try:
            if before:
                await self._writes.annotate(path_of(obj.key), {"metadata": {"uid": obj.uid, "annotations": before}})
            await self._writes.delete(path_of(obj.key), obj.uid)
            if after:
                await self._writes.annotate(path_of(obj.key), {"metadata": {"uid": obj.uid, "annotations": after}})
        except (NotFound, Conflict):
            self.taken_back.pop(obj.uid, None)
        async with self._lock(obj.key):
            await self._read(obj.key)
        await self._taken(obj.key)
        return True

    async def release(self, obj: StoredObject) -> None:
        """Take our finalizer away; an object that is not there (any more) needs nothing."""
        if obj.source != raw.SOURCE:
            return
        async with self._lock(obj.key):
            for _ in range(TRIES):
                await self._read(obj.key)
                found = self._seen.get(obj.key)
                if found is None or raw.uid(found) != obj.uid or not set(raw.finalizers(found)) & set(obj.finalizers):
                    return
                left: list[JsonValue] = [one for one in raw.finalizers(found) if one not in obj.finalizers]
                body: Json = {"metadata": {"uid": obj.uid, "resourceVersion": raw.version(found), "finalizers": left}}
                try:
                    await self._writes.remove_finalizer(path_of(obj.key), body)
                except (Conflict, Rejected):
                    continue
                except NotFound:
                    pass
                self._seen.answered(obj.key, found, None)
                return
        raise Conflict("somebody keeps changing this object", str(obj.key), "looking again")

    async def expire(self, obj: StoredObject) -> None:
        """Delete the declaration of something that is over; done again by `settle` when it can't be done now."""
        if obj.source == raw.SOURCE:
            self.leaving[obj.uid] = obj
            await self.settle(obj.uid)

    async def settle(self, uid: str) -> None:
        """Carry on with what is leaving, until it is seen to be gone. Our finalizer goes first: so nobody, not even another operator
        after a crash, ever sees an object that is held by us and deleted, and takes that for a person's delete."""
        obj = self.leaving.get(uid)
        if obj is None:
            return
        await self.release(obj)
        try:
            await self._writes.delete(path_of(obj.key), uid)
        except (NotFound, Conflict):
            self.left(uid)

    def left(self, uid: str) -> None:
        """It is not in the cluster any more."""
        self.leaving.pop(uid, None)

    def _lock(self, key: Key) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    def forget(self, key: Key) -> None:
        """The object is gone for good."""
        self._made.pop(key, None)
        self.telling.discard(key)
        lock = self._locks.get(key)
        if lock is not None and not lock.locked():
            del self._locks[key]


def _redacted(value: JsonValue, clean: Callable[[str], str]) -> JsonValue:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_redacted(one, clean) for one in value]
    if isinstance(value, dict):
        return {name: _redacted(inner, clean) for name, inner in value.items()}
    return value
