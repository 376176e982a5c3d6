"""Status into the cluster: by replace with the version we saw, only when something differs, one write a change (G-45, G-46). Also
where the create of a slot's own machine is written down before it is sent, and where a finalizer goes:
`engine.backend.DeclarationBackend`. Creates of a replacement, of a spare and of a bake are in the store's journal only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import orjson

from reconciler.api.reasons import Reason
from reconciler.api.status.vmtree import NODES
from reconciler.core.conditions import simple_status
from reconciler.core.keys import Json, JsonValue, Key, SlotOwner, as_map, as_maps
from reconciler.core.snapshot.rendered import Unresolved
from reconciler.core.tree.places import place_of_machine, tree_of_machine
from reconciler.engine.effects import Effects
from reconciler.engine.ports import Intent, StoredObject
from reconciler.engine.state.declared import Declared
from reconciler.engine.view import ObjectReader
from reconciler.errors import Conflict, NotFound, Rejected
from reconciler.log import redact
from reconciler.sources.kube import owned, raw
from reconciler.sources.kube.client import Cluster, collection, path_of
from reconciler.sources.kube.restore import create_status
from reconciler.sources.kube.secrets import KubeSecrets
from reconciler.sources.kube.writes import NumberedWrites

log = logging.getLogger("reconciler.kube")

TRIES = 5
"""How often a write that lost against another one is made again at once; later it is looked at again."""


class _Made(NamedTuple):
    """What was made of a status, so that it is made once."""

    status: Json
    handed: int
    wanted: Json


class KubeSink:
    """`seen`: every object as the cluster last told of it. `table`, `effects`, `now` and `refused` are set once the engine is there."""

    def __init__(self, cluster: Cluster, secrets: KubeSecrets, seen: dict[Key, Json]) -> None:
        self._cluster, self._secrets, self._seen = cluster, secrets, seen
        self._creates: dict[SlotOwner, Intent] = {}
        self._locks: dict[Key, asyncio.Lock] = {}
        self._made: dict[Key, _Made] = {}
        self.refused: dict[Key, tuple[str, str]] = {}
        self.writes = 0
        self.leaving: dict[str, StoredObject] = {}  # their time is over; by uid

    def attach(
        self,
        table: ObjectReader,
        effects: Effects,
        now: Callable[[], float],
        pending: Callable[[SlotOwner], Intent | None],
        taken: Callable[[Key], Awaitable[None]],
    ) -> None:
        """`pending`: the open create of a slot; `taken`: takes in what is seen of an object, at once."""
        self._table, self._writes, self._now, self._pending = table, NumberedWrites(self._cluster, effects), now, pending
        self._taken = taken

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
        self._seen[key] = told
        return True

    async def _read(self, key: Key) -> None:
        try:
            self._seen[key] = await self._cluster.get(path_of(key))
        except NotFound:
            self._seen.pop(key, None)

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
        if not status:
            return None
        slot = SlotOwner.of(key, raw.uid(obj))
        intent = self._creates.get(slot) or self._pending(slot)
        if intent is not None:
            status["vm"] = {**as_map(status.get("vm")), "create": create_status(intent).dump()}
        if isinstance(status.get("nodes"), list):
            status["nodes"] = self._with_creates(key, raw.uid(obj), as_maps(status["nodes"]))
            return self._cleaned(status)
        if item is None or refused is not None or intent is not None:
            return self._cleaned(status)
        made = self._made.get(key)
        if made is None or made.status is not item.obj.status or made.handed != self._secrets.handed:
            made = self._made[key] = _Made(item.obj.status, self._secrets.handed, self._cleaned(status))
        return made.wanted

    def _with_creates(self, tree: Key, uid: str, nodes: list[Json]) -> list[JsonValue]:
        """The nodes of a tree, each with the create of its own machine that may be on its way. Where they are more than its
        status may tell of, those with a create are told of first."""
        told: list[JsonValue] = []
        known: set[str] = set()
        for node in nodes:
            name = str(node.get("name", ""))
            known.add(name)
            slot = owned.slot_of(tree, uid, name)
            intent = self._creates.get(slot) or self._pending(slot)
            told.append({**node, "create": create_status(intent).dump()} if intent is not None else node)
        for slot, intent in self._creates.items():
            name = place_of_machine(slot.object)
            if slot == owned.slot_of(tree, uid, name) and name not in known:
                told.append({"name": name, "create": create_status(intent).dump()})
        return told if len(told) <= NODES else sorted(told, key=lambda node: "create" not in as_map(node))[:NODES]

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
        """The open create is in `status.vm.create` before it is sent, that of a tree's own machine in `status.nodes[].create`. Not for
        objects of other sources."""
        item = self._table.get(tree_of_machine(intent.owner.object) or intent.owner.object)
        if item is None or item.obj.source != raw.SOURCE:
            return
        self._creates[intent.owner] = intent
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
            self._seen[declared.key] = told
        await self._taken(declared.key)
        return True

    async def undeclare(self, obj: StoredObject, annotations: Mapping[str, str]) -> bool:
        if obj.source != raw.SOURCE:
            return False
        try:
            if annotations:
                body: Json = {"metadata": {"uid": obj.uid, "annotations": dict(annotations)}}
                await self._writes.annotate(path_of(obj.key), body)
            await self._writes.delete(path_of(obj.key), obj.uid)
        except (NotFound, Conflict):
            pass
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
                self._seen.pop(obj.key, None)
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
