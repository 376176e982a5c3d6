"""From what a cluster shows to what is in force: one object at a time, level-triggered. Nothing is decided here but what is
declared; the loop does the rest.

An object is ingested once it carries our finalizer, so nothing outside can be made that the cluster would forget. It is withdrawn when
the cluster says so: `deletionTimestamp`, a DELETED event, or another object under its name. An object that is merely not there (a
backup was restored) is kept and reported: nothing is destroyed because something can't be found."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.parsing import load_spec
from reconciler.api.reasons import Reason
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.keys import Json, JsonValue, Key, as_map, as_maps, short
from reconciler.core.records import LieutenantRecord
from reconciler.engine.state.objects import AnyItem
from reconciler.engine.view import SourceEngine
from reconciler.errors import Conflict, InvalidSpec, NotFound, Refused, Rejected, UsageError
from reconciler.sources.kube import raw, restore
from reconciler.sources.kube.arrivals import Arrivals
from reconciler.sources.kube.client import Cluster, path_of
from reconciler.sources.kube.creates import without
from reconciler.sources.kube.secrets import KubeSecrets
from reconciler.sources.kube.seen import Seen
from reconciler.sources.kube.writes import NumberedWrites

log = logging.getLogger("reconciler.kube")

GONE = "it was deleted in the cluster"
REMEMBERED = 10_000
"""Deleted objects about which late words are known as such."""


class KubeSource:
    """`seen`: every object as the cluster last told of it, shared with the sink. `refused`: what can't be put in force, by key."""

    def __init__(self, cluster: Cluster, engine: SourceEngine, secrets: KubeSecrets, seen: Seen, source_id: str) -> None:
        self._cluster, self._engine, self._secrets, self.seen, self._source_id = cluster, engine, secrets, seen, source_id
        self._writes = NumberedWrites(cluster, engine.effects)
        self.refused: dict[Key, tuple[str, str]] = {}
        self.taken_back: dict[str, str] = {}  # shared with the sink
        self.restored: Counter[str] = Counter()  # by kind: what had a machine, a delivery or a result that the store did not know
        self._deleted: dict[str, None] = {}  # uids, in the order in which they went
        self._going: set[str] = set()  # these said themselves that they go
        self._missed: set[Key] = set()
        self._arrivals = Arrivals()
        self._ingested: dict[Key, Json] = {}
        self.opening = True
        """Nothing was done yet in this life: what a status says that we do not know, another operator wrote."""

    # --- events  --------------------------------------------------------------------------------------------------------------

    def on_event(self, kind: str, obj: Json) -> Key | None:
        """Take one look at an object; returns its key when that is news."""
        key = raw.key_of(obj)
        if key is None:
            return None
        known = self.seen.get(key)
        if kind == "DELETED":
            self._deleted[raw.uid(obj)] = None
            self._going.discard(raw.uid(obj))
            self.taken_back.pop(raw.uid(obj), None)
            if len(self._deleted) > REMEMBERED:
                del self._deleted[next(iter(self._deleted))]
            if known is not None and raw.uid(known) == raw.uid(obj):
                del self.seen[key]
            return key
        if known is not None and (known == obj or raw.older(obj, known)):
            return None
        if raw.uid(obj) in self._deleted:
            return None  # a late word about an object that is gone
        if raw.deleting(obj):
            self._going.add(raw.uid(obj))
        if known is None or raw.uid(known) != raw.uid(obj):
            self._arrivals.note(obj)
        self.seen[key] = obj
        return key

    # --- intake  --------------------------------------------------------------------------------------------------------------

    async def reconcile(self, key: Key) -> None:
        """Bring what is in force in line with what the cluster shows of this object. Raises what the API server, the store or
        the platform says; then it is looked at again."""
        before = self.refused.get(key)
        try:
            await self._reconcile(key)
        finally:
            if self.refused.get(key) != before:
                self._engine.declarations.flawed({one: why for one, (reason, why) in self.refused.items() if reason == "InvalidSpec"})

    async def _reconcile(self, key: Key) -> None:
        obj, item = self.seen.get(key), self._engine.table.get(key)
        if item is not None and obj is not None:
            self._arrivals.forget(obj)
        if item is not None and item.obj.source != raw.SOURCE:
            if obj is not None:
                where = item.obj.origin or f"source {item.obj.source}"
                self.refused[key] = (Reason.DECLARED_ELSEWHERE, f"{short(key)} is declared elsewhere ({where}); delete it there first")
            return
        if obj is None:
            self.refused.pop(key, None)
            if item is not None:
                await self._gone(item)
            return
        if item is not None and self._ingested.get(key) is obj and key not in self.refused:
            return  # nothing was said of it since
        if item is not None and item.uid != raw.uid(obj):
            await self._engine.declarations.withdraw(key, "another object took its name")
            return  # the new one is taken when the old one is gone
        if item is None and raw.deleting(obj) and not set(raw.ours(obj)) & set(raw.finalizers(obj)):
            return  # going, and never ours
        if item is None and (problem := unreadable(key, obj)):
            self.refused[key] = (Reason.INVALID_SPEC, problem)
            if raw.deleting(obj):
                await self._remove_finalizer(key, obj)
            return
        if not raw.deleting(obj) and not set(raw.ours(obj)) <= set(raw.finalizers(obj)):
            obj = await self._add_finalizer(key, obj)
        await self._secrets.want(key.namespace, raw.references(raw.spec(obj)))
        await self._intake(key, obj, item)
        if key not in self.refused:
            self._ingested[key] = obj

    def report_restored(self) -> None:
        """One line about all that was restored while it began; nothing when nothing was."""
        if self.restored:
            counts = " and ".join(f"{count} {kind.lower()}{'s' if count > 1 else ''}" for kind, count in sorted(self.restored.items()))
            log.warning("the cluster knew more than the store: restored from status and claims: %s", counts)
            self.restored.clear()

    def forget(self, key: Key) -> None:
        """What is in force under this name is not what was taken: it is gone, or was read from the store again."""
        self._ingested.pop(key, None)

    async def _add_finalizer(self, key: Key, obj: Json) -> Json:
        """Our finalizer, before anything outside is made for it (design §5.1)."""
        wanted = [*raw.finalizers(obj), *(one for one in raw.ours(obj) if one not in raw.finalizers(obj))]
        body: Json = {"metadata": {"uid": raw.uid(obj), "resourceVersion": raw.version(obj), "finalizers": list(wanted)}}
        try:
            held = await self._writes.add_finalizer(path_of(key), body)
        except (Conflict, NotFound, Rejected):
            await self.read(key)
            raise
        self.seen.answered(key, obj, held)
        return held

    async def _remove_finalizer(self, key: Key, obj: Json) -> None:
        """It goes, and what it says can't be carried out: nothing was ever made for it, unless its status names a machine (of a
        tree: that of a node) that an earlier release made. Such a one is held until its declaration is corrected."""
        status = raw.status(obj)
        vm = as_map(status.get("vm"))
        nodes = as_maps(status.get("nodes"))
        if vm.get("id") or vm.get("create") or status.get("creates"):
            return
        if any(node.get("vmId") or node.get("create") or node.get("creates") for node in nodes):
            return
        left: list[JsonValue] = [one for one in raw.finalizers(obj) if one not in raw.ours(obj)]
        body: Json = {"metadata": {"uid": raw.uid(obj), "resourceVersion": raw.version(obj), "finalizers": left}}
        try:
            await self._writes.remove_finalizer(path_of(key), body)
        except NotFound:
            pass
        except (Conflict, Rejected):
            await self.read(key)
            raise

    async def read(self, key: Key) -> Json | None:
        """Ask the API server itself; None when it is not there."""
        known = self.seen.get(key)
        try:
            obj = await self._cluster.get(path_of(key))
        except NotFound:
            self.seen.answered(key, known, None)
        else:
            self.on_event("", obj)
        return self.seen.get(key)

    async def _intake(self, key: Key, obj: Json, item: AnyItem | None) -> None:
        seen = replace(raw.intake(key, obj, self._source_id), why=self.taken_back.get(raw.uid(obj), ""))
        try:
            if item is None:
                await self._ingest(key, obj)
            else:
                await self._engine.declarations.intake(seen)
                await self._catch_up(key, obj)
        except (InvalidSpec, UsageError) as error:
            if item is not None and seen.deleted_at is not None:
                await self._engine.declarations.withdraw(key, GONE)
            self.refused[key] = (Reason.INVALID_SPEC, str(error))
        except Refused as error:
            self.refused[key] = (Reason.DECLARED_ELSEWHERE, str(error))
        else:
            self.refused.pop(key, None)

    async def _ingest(self, key: Key, obj: Json) -> None:
        """An object that the store does not know: new, or the store was lost."""
        engine, status = self._engine, raw.status(obj)
        seen = replace(raw.intake(key, obj, self._source_id), created_at=self._arrivals.take(obj))
        record: Json | None = None
        restored: restore.Restored | None = None
        known = False
        if key.kind == "Lieutenant":
            restored = restore.lieutenant(key, seen.uid, status, await engine.restore.vms(), engine.restore.owner)
            record, known = restored.record.dump(), restored.known()
        elif key.kind == "Task" and status:
            task = restore.task(key, seen.uid, status)
            record, known = task.dump(), task.phase != "Pending"
        elif isinstance(spec := load_spec(key.kind, seen.spec, tolerant=True), VMTreeSpec):
            record = restore.tree(spec, status, seen.deleted_at is not None).dump()
            for one in restore.machines(key, seen.uid, spec, status, await engine.restore.vms(), engine.restore.owner):
                await engine.restore.object(replace(seen, **one.identity), one.restored.record.dump(), {}, *one.restored.intents)
        elif isinstance(spec, BootProfileSpec) and status:
            for one in restore.of_profile(key, seen.uid, status, await engine.restore.vms(), engine.restore.owner):
                await engine.restore.object(replace(seen, **one.identity), one.restored.record.dump(), {}, *one.restored.intents)
        await engine.restore.object(seen, record, without(status), *(restored.intents if restored is not None else ()))
        if known:
            if self.opening:
                self.restored[key.kind] += 1
            log.log(
                logging.INFO if self.opening else logging.WARNING,
                "%s was known to the cluster and not to the store; restored from status and claims",
                key,
            )

    async def _catch_up(self, key: Key, obj: Json) -> None:
        """The store is older than the cluster: another operator with another store put a machine into this slot meanwhile, went on with
        this task, or did what a person asked for."""
        task, item = self._engine.table.task(key), self._engine.table.lieutenant(key)
        if task is not None and self.opening and restore.further(task.record, raw.status(obj)):
            log.warning("%s: the store is older than the cluster; it goes on from what its status says", key)
            theirs, status = restore.task(key, task.uid, raw.status(obj)).dump(), without(raw.status(obj))
            await self._engine.restore.record(key, theirs, status)
        if item is not None and self.opening:
            handled = restore.acknowledged(item.record, item.obj.status, raw.status(obj))
            if handled != item.record.handled:
                await self._engine.restore.record(key, item.record.but(handled=handled).dump())
                item = self._engine.table.lieutenant(key)
        told = as_map(raw.status(obj).get("vm")).get("epoch")
        if item is None or not isinstance(told, int) or told <= item.record.slot.epoch:
            return
        known = self._engine.restore
        restored = restore.lieutenant(key, item.uid, raw.status(obj), await known.vms(), known.owner).record
        if restored.slot.vm_id and restored.slot.epoch > item.record.slot.epoch:
            record: LieutenantRecord = item.record.but(slot=restored.slot, boot=restored.boot)
            log.warning("%s: the store is older than the cluster; VM %s is taken over", key, restored.slot.vm_id)
            await known.record(key, record.dump())

    # --- going ----------------------------------------------------------------------------------------------------------------

    async def _gone(self, item: AnyItem) -> None:
        """It is not in the cluster any more."""
        if item.deleting and item.obj.finalizers:
            return
        if item.uid in self._deleted or item.uid in self._going or not item.obj.finalizers:
            await self._engine.declarations.withdraw(item.key, GONE)
            return
        if not isinstance(item.record, LieutenantRecord) or not item.record.slot.vm_id:
            await self._engine.declarations.withdraw(item.key, "it is not in the cluster any more")
            return
        if item.key in self._missed:
            return
        self._missed.add(item.key)
        message = (
            f"VM {item.record.slot.vm_id} is kept: nobody was seen to delete its object, which is not in the cluster any more;"
            f" `reconciler delete lt {item.key.name} -n {item.key.namespace}` deletes it"
        )
        log.warning("%s: %s", item.key, message)
        await self._engine.record_event(item.key, item.uid, Reason.DECLARATION_GONE, message, warning=True)


def unreadable(key: Key, obj: Json) -> str:
    """What is wrong with its spec; '' when it can be carried out."""
    try:
        load_spec(key.kind, raw.spec(obj), tolerant=True)
    except (InvalidSpec, UsageError) as error:
        return str(error)
    except RecursionError:
        return "spec: it is nested too deeply"
    return ""
