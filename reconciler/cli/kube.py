"""`--kube`: the same commands against a cluster. The API server is the store: reads are its objects, writes are declarations in it,
with the rights of whoever runs the command. What only the operator's store has (whole conversations, the journal) is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.api.annotations import PREFIX, PROTECTION, VERBS, is_verb
from reconciler.api.registry import INTERNAL, KINDS
from reconciler.api.version import API_VERSION, GROUP
from reconciler.cli import names
from reconciler.config import Config
from reconciler.core.audit import Entry
from reconciler.core.keys import Json, JsonValue, Key, as_map, as_maps, as_strings
from reconciler.core.slot.claims import Owner
from reconciler.engine.ports import Event, Image, StoredObject, Write
from reconciler.errors import Conflict, NotFound, Refused, UsageError
from reconciler.serve.commands import key_of, patched, without_node

if TYPE_CHECKING:  # heavy parts, loaded when they are needed
    from reconciler.core.governance.memory import MemoryEntry
    from reconciler.sources.kube.client import Cluster
    from reconciler.views.forecast import Planned

MANAGER = "reconciler-cli"
"""Who we are among those who declare fields."""
PACE = 1.0
"""Seconds between two reads of the same thing, while something is followed."""
TRIES = 5


@asynccontextmanager
async def connected(config: Config) -> AsyncIterator[Cluster]:
    """The API server of `--context`. Raises `UsageError` when there is no way to one."""
    from reconciler.sources.kube.access import load
    from reconciler.sources.kube.client import Cluster

    cluster = Cluster(load(config.context, config.environ))
    try:
        yield cluster
    finally:
        await cluster.aclose()


def namespace_of(config: Config) -> str:
    """The namespace of the context."""
    from reconciler.sources.kube.access import load

    return load(config.context, config.environ).namespace


# --- reading ----------------------------------------------------------------------------------------------------------------------


class KubeStore:
    """A cluster in the shape of a store, for looking only. Followed, it is asked once in `PACE` seconds. Every method raises what the
    API server says."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._asked: dict[tuple[object, ...], float] = {}

    async def _pace(self, *what: object) -> None:
        now = asyncio.get_running_loop().time()
        due = max(now, self._asked.get(what, 0.0) + PACE)
        self._asked[what] = due
        await asyncio.sleep(due - now)

    async def write(self, batch: Sequence[Write]) -> None:
        return None

    async def load(self) -> Image:
        return Image(tuple(await self.objects()), (), {}, {}, {})

    async def objects(self, kind: str | None = None, namespace: str | None = None, name: str | None = None) -> list[StoredObject]:
        from reconciler.sources.kube.client import Unserved, collection, path_of

        if kind in INTERNAL:
            return []  # they are in the operator's store only
        await self._pace("objects", kind, namespace, name)
        if kind is not None and namespace is not None and name is not None:
            try:
                return [stored(await self._cluster.get(path_of(Key(kind, namespace, name))))]
            except Unserved:
                raise
            except NotFound:
                return []
        kinds = [kind] if kind is not None else [one.name for one in KINDS]
        found = [
            stored({"kind": one, "apiVersion": API_VERSION, **raw})
            for one in kinds
            for raw in await self._cluster.items(collection(one, namespace))
        ]
        return [obj for obj in found if name is None or obj.key.name == name]

    async def events(self, key: Key | None = None, after: int = 0, limit: int = 1000, namespace: str | None = None) -> list[Event]:
        """As the operator posted them, oldest first; of one object, of a namespace, or of all. `after`: a resource version."""
        await self._pace("events", key, namespace)
        within = key.namespace if key is not None else namespace
        path = f"namespaces/{within}/events" if within is not None else "events"
        found = [event_of(raw) for raw in await self._cluster.items(f"/apis/events.k8s.io/v1/{path}")]
        ours = [event for event in found if event is not None and (key is None or event.key == key) and event.seq > after]
        return sorted(ours, key=lambda event: (event.at, event.seq))[-limit:]

    async def session(self, session: str, offset: int = 0, limit: int = 1 << 22) -> bytes:
        return b""

    async def memory(self, namespace: str, owner: str) -> list[MemoryEntry]:
        raise UsageError("what agents remember is in the store of the operator", "--kube", "ask there, with its --store or --state")

    async def audit(self, limit: int = 1000, namespace: str | None = None) -> list[tuple[int, Entry]]:
        raise UsageError("who changed what is in the store of the operator", "--kube", "ask there, or read the audit log of the cluster")

    async def meta(self, name: str) -> str | None:
        return None

    async def metas(self, beginning: str) -> Mapping[str, str]:
        return {}

    async def aclose(self) -> None:
        return None


def stored(raw: Json) -> StoredObject:
    """An object of the API server as commands know objects. Its record has what status tells of it."""
    from reconciler.sources.kube import raw as read
    from reconciler.sources.kube import restore

    key = read.key_of(raw)
    if key is None:
        raise UsageError("the API server answered with something else than was asked for", str(raw.get("kind")), "check --context")
    status, record = read.status(raw), {}
    if key.kind == "Lieutenant":
        known = restore.lieutenant(key, read.uid(raw), status, {}, Owner("", "")).record
        record = known.but(slot=known.slot.but(vm_id=restore.vm_id_of(status))).dump()
    elif key.kind == "Task":
        record = restore.task(key, read.uid(raw), status).dump()
    seen = read.intake(key, raw)
    version = read.version(raw)
    return StoredObject(
        key=key,
        uid=seen.uid,
        generation=seen.generation,
        version=int(version) if version.isdigit() else 0,
        created_at=seen.created_at,
        spec=seen.spec,
        labels=seen.labels,
        annotations=seen.annotations,
        finalizers=tuple(read.finalizers(raw)),
        deleted_at=seen.deleted_at,
        status=status,
        record=record,
        source=read.SOURCE,
        origin=", ".join(declarers(raw)),
    )


def declarers(raw: Json) -> list[str]:
    """Who declared something of its spec: `kubectl-client-side-apply`, `argocd-controller`, …"""
    from reconciler.sources.kube import raw as read

    fields = read.metadata(raw).get("managedFields")
    entries = [one for one in fields if isinstance(one, dict)] if isinstance(fields, list) else []
    found = [str(one.get("manager")) for one in entries if "f:spec" in as_map(one.get("fieldsV1"))]
    return list(dict.fromkeys(found))


def event_of(raw: Json) -> Event | None:
    """None for an event about something else."""
    from reconciler.core.times import seconds
    from reconciler.sources.kube import raw as read

    about, series = as_map(raw.get("regarding")), as_map(raw.get("series"))
    if not str(about.get("apiVersion", "")).startswith(f"{GROUP}/"):
        return None
    at = seconds(series.get("lastObservedTime")) or seconds(raw.get("eventTime")) or 0.0
    key = Key(str(about.get("kind")), str(about.get("namespace")), str(about.get("name")))
    version = read.version(raw)
    kind, reason, note = (str(raw.get(name) or "") for name in ("type", "reason", "note"))
    count, first = series.get("count"), seconds(raw.get("eventTime")) or 0.0
    told = Event(key, str(about.get("uid") or ""), kind, reason, note, at, int(version) if version.isdigit() else 0)
    return replace(told, count=count if isinstance(count, int) else 1, first=first)


# --- writing ----------------------------------------------------------------------------------------------------------------------


async def submit(config: Config, requests: Sequence[Json]) -> list[JsonValue]:
    """The requests of `reconciler.serve.commands`, carried out in the cluster, in order. Raises the first that is refused."""
    async with connected(config) as cluster:
        return [await act(cluster, request) for request in requests]


async def act(cluster: Cluster, request: Json, manager: str = MANAGER) -> JsonValue:
    """One request. `manager`: who declares the fields that it changes. Raises what is wrong with it, and what the API server says."""
    key = key_of(request)
    if key.kind in INTERNAL:
        raise Refused(f"{names.short(key)} is in the operator's store, not in the cluster", "--kube", "run it where that store is")
    match request.get("op"):
        case "apply":
            before, after = await declare(cluster, key, request, manager=manager)
            return outcome(before, after)
        case "patch":
            return await _change(cluster, key, lambda obj: patched(key, obj.spec, request.get("set")), manager=manager)
        case "remove":
            verbs = {f"{PREFIX}{verb}": token for verb, token in as_strings(request.get("verbs")).items()}
            return await _change(cluster, key, lambda tree: without_node(tree, request), verbs, manager)
        case "annotate":
            await _annotate(cluster, key, as_strings(request.get("annotations")), manager)
            return "annotated"
        case "delete":
            verbs = {f"{PREFIX}{verb}": token for verb, token in as_strings(request.get("verbs")).items()}
            await _delete(cluster, key, verbs)
            return "deleted"
        case op:
            raise UsageError(f"{op!r} can't be done through the API server", "--kube", "run it where the operator's store is")


async def declare(
    cluster: Cluster, key: Key, request: Mapping[str, JsonValue], dry: bool = False, manager: str = MANAGER
) -> tuple[Json | None, Json]:
    """Server-side apply; what was there, and what is there then (or would be: `dry`). Raises `Refused` when somebody else declares
    one of the fields, `Rejected` when the API server finds it wrong."""
    from reconciler.sources.kube.client import path_of

    before = await _found(cluster, key)
    metadata: Json = {"name": key.name, "namespace": key.namespace}
    for name in ("labels", "annotations"):
        if request.get(name):
            metadata[name] = request[name]
    body: Json = {"apiVersion": API_VERSION, "kind": key.kind, "metadata": metadata, "spec": request.get("spec")}
    params = {"fieldManager": manager, "fieldValidation": "Strict", **({"dryRun": "All"} if dry else {})}
    try:
        return before, await cluster.apply(path_of(key), body, **params)
    except Conflict as error:
        raise Refused(f"{names.short(key)} is declared elsewhere: {error.what}", f"namespace {key.namespace}", "change it there") from None


def outcome(before: Json | None, after: Json) -> str:
    """`created`, `configured` or `unchanged`."""
    from reconciler.sources.kube import raw as read

    if before is None:
        return "created"
    return "unchanged" if _declared(before) == _declared(after) and read.uid(before) == read.uid(after) else "configured"


def _declared(raw: Json) -> tuple[Json, JsonValue, JsonValue]:
    from reconciler.sources.kube import raw as read

    return read.spec(raw), read.metadata(raw).get("labels"), read.metadata(raw).get("annotations")


async def _found(cluster: Cluster, key: Key) -> Json | None:
    from reconciler.sources.kube.client import Unserved, path_of

    try:
        return await cluster.get(path_of(key))
    except Unserved:
        raise
    except NotFound:
        return None


async def _there(cluster: Cluster, key: Key) -> Json:
    found = await _found(cluster, key)
    if found is None:
        raise NotFound(f"{names.short(key)} does not exist", f"namespace {key.namespace}", f"see `reconciler get {key.kind.lower()}`")
    return found


async def _change(
    cluster: Cluster, key: Key, change: Callable[[StoredObject], Json], verbs: Mapping[str, str] | None = None, manager: str = MANAGER
) -> str:
    """The spec, at the version it was read at; what somebody else changed meanwhile stays changed. `verbs`: annotations set with it. A
    merge patch: that needs no right but `patch`."""
    from reconciler.sources.kube import raw as read
    from reconciler.sources.kube.client import path_of

    for _ in range(TRIES):
        found = await _there(cluster, key)
        spec = change(stored({"kind": key.kind, **found}))
        if spec == read.spec(found):
            return "unchanged"
        try:
            at: Json = {"resourceVersion": read.version(found), "uid": read.uid(found), **({"annotations": dict(verbs)} if verbs else {})}
            body: Json = {"metadata": at, "spec": _merging(read.spec(found), spec)}
            await cluster.merge(path_of(key), body, fieldManager=manager, fieldValidation="Strict")
            return "configured"
        except Conflict:
            continue
    raise Conflict("somebody keeps changing this object", names.short(key), "try again")


def _merging(before: Json, after: Json) -> Json:
    """The JSON merge patch from one map to another: only what differs, null for what is gone, and lists whole."""
    found: Json = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if value != old:
            found[name] = _merging(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found


async def _annotate(cluster: Cluster, key: Key, annotations: Mapping[str, str], manager: str = MANAGER) -> None:
    from reconciler.sources.kube.client import path_of

    unknown = [name for name in annotations if not is_verb(name)]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no verb", str(key), f"use one of {', '.join(sorted(VERBS))}")
    await _there(cluster, key)
    body: Json = {"metadata": {"annotations": dict(annotations)}}
    await cluster.merge(path_of(key), body, fieldManager=manager)


async def _delete(cluster: Cluster, key: Key, verbs: Mapping[str, str]) -> None:
    """Only the very object that was looked at. A protected one is refused here: the API server could not take it back."""
    from reconciler.sources.kube import raw as read
    from reconciler.sources.kube.client import path_of

    found = await _there(cluster, key)
    confirmed = f"{PREFIX}delete-confirmed" in verbs or read.deleting(found)
    nodes = as_maps(read.spec(found).get("nodes")) if key.kind == "VMTree" and not confirmed else []  # of a spec that is not valid too
    guarded = [str(node.get("name")) for node in nodes if node.get("protected") is True]
    if guarded:
        what = f"{', '.join(guarded)} of {names.short(key)} is protected from deletion"
        raise Refused(what, f"namespace {key.namespace}", "confirm it with --confirm")
    if read.intake(key, found).annotations.get(PROTECTION) == "enabled" and not confirmed:
        remedy = f"confirm it with --confirm, or remove its annotation {PROTECTION} first"
        raise Refused(f"{names.short(key)} is protected from deletion", f"namespace {key.namespace}", remedy)
    before, after = read.around_a_deletion(verbs)
    if before:
        await cluster.delete(path_of(key), read.uid(found), dry=True)  # else half of what was asked for would stay behind
        await _annotate(cluster, key, as_strings(before))
    await cluster.delete(path_of(key), read.uid(found))
    if after:
        with suppress(NotFound):  # nothing held it
            await _annotate(cluster, key, as_strings(after))


# --- plan -------------------------------------------------------------------------------------------------------------------------


async def planned(config: Config, declared: Sequence[tuple[Key, Json]]) -> list[Planned]:
    """What an apply of these (key, request) would change, told by the API server itself, which does nothing (`dryRun`).
    Raises `Refused` and `Rejected` like `declare`."""
    from reconciler.core.decisions.base import Effect
    from reconciler.views.forecast import Planned

    found: list[Planned] = []
    async with connected(config) as cluster:
        for key, request in declared:
            before, after = await declare(cluster, key, request, dry=True)
            if outcome(before, after) == "unchanged":
                continue
            reason = "declared, and not there" if before is None else f"changed: {', '.join(differences(before, after))}"
            verb = "Create" if before is None else "Change"
            effect = Effect.CREATE if before is None else Effect.CHANGE
            found.append(Planned(key, verb, "declaration", reason, effect, reason))
    return found


def differences(before: Json, after: Json) -> list[str]:
    """Paths at which two objects are declared differently; a list is compared whole, and no value is told."""
    parts = zip(("spec", "labels", "annotations"), _declared(before), _declared(after), strict=True)
    return [path for name, a, b in parts for path in _paths(a or {}, b or {}, name)]


def _paths(before: JsonValue, after: JsonValue, path: str) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            one
            for name in dict.fromkeys((*before, *after))
            if before.get(name) != after.get(name)
            for one in _paths(before.get(name), after.get(name), f"{path}.{name}")
        ]
    return [path] if before != after else []
