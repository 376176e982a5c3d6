"""An API server in memory, as far as the operator uses one: resourceVersions and the conflicts they make, uids, generations, the status
subresource, finalizers, deletion in two steps, watches. `test_double.py` holds its manners to those of a real one.

It knows no schemas, roles, quotas or admission: whatever is sent is taken. It lives in one loop, also in virtual time."""

from __future__ import annotations

import asyncio
import copy
import functools
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from reconciler.api.meta import GROUP, VERSION
from reconciler.api.registry import KINDS
from reconciler.core.keys import Json, JsonValue
from reconciler.errors import Conflict, NotFound, ReconcilerError, Rejected
from reconciler.sources.kube.access import Access
from reconciler.sources.kube.client import Gone, collection
from reconciler.sources.kube.watching import OnEvent

OURS = f"/apis/{GROUP}/{VERSION}"
Raw = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Where:
    """A path, read. `name` '': the collection."""

    prefix: str
    namespace: str
    plural: str
    name: str = ""
    sub: str = ""

    @classmethod
    def of(cls, path: str) -> Where:
        parts = path.strip("/").split("/")
        at = 2 if parts[0] == "api" else 3
        prefix, rest = "/" + "/".join(parts[:at]), parts[at:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        return cls(prefix, namespace, *rest)

    @property
    def custom(self) -> bool:
        """One of our kinds: with a generation and a status of its own."""
        return self.prefix == OURS

    def holds(self, other: Where) -> bool:
        """Whether `other`, an object, is in this collection."""
        return (other.prefix, other.plural) == (self.prefix, self.plural) and self.namespace in ("", other.namespace)


@dataclass
class ApiServer:
    """What is kept, and every change of it. `now`: seconds since the epoch. `oldest`: watches from before this version are told 410.
    `news`: set by the next change. `trouble`: asked before every call, with method and path; what it returns is raised instead."""

    now: Callable[[], float]
    objects: dict[Where, Raw] = field(default_factory=dict)
    changes: list[tuple[int, str, Where, Raw]] = field(default_factory=list)
    oldest: int = 0
    version: int = 0
    trouble: Callable[[str, str], ReconcilerError | None] = lambda method, path: None
    writes: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def at(self, where: Where) -> Raw:
        found = self.objects.get(where)
        if found is None:
            raise NotFound(f'{where.plural} "{where.name}" not found', where.name)
        return found

    def put(self, where: Where, obj: Raw, kind: str) -> Json:
        """Keep it (or, DELETED, no longer) under a new version, and tell."""
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        if kind == "DELETED":
            del self.objects[where]
        else:
            self.objects[where] = obj
        self.changes.append((self.version, kind, where, copy.deepcopy(obj)))
        self.writes += 1
        self.news.set()
        self.news = asyncio.Event()
        return copy.deepcopy(obj)

    def timestamp(self) -> str:
        return datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def at_once() -> float:
    """No answer is late."""
    return 0.0


def late(seed: str, most: float) -> Callable[[], float]:
    """Half of the answers come at once, and the others up to so many seconds later."""
    draws = random.Random(seed)
    return lambda: max(0.0, draws.uniform(-most, most))


def answered(
    carry_out: Callable[Concatenate[Double, P], Awaitable[T]],
) -> Callable[Concatenate[Double, P], Coroutine[Any, Any, T]]:
    """What was carried out, or refused, is answered after the client's `lateness`."""

    @functools.wraps(carry_out)
    async def call(self: Double, *args: P.args, **params: P.kwargs) -> T:
        try:
            answer = await carry_out(self, *args, **params)
        except ReconcilerError:
            await self.on_its_way()
            raise
        await self.on_its_way()
        return answer

    return call


class Double:
    """A client of it, with the methods of `client.Cluster`. Each call takes `latency` seconds before it is carried out, and its answer
    the seconds that `lateness` says. Watches tell of what was carried out meanwhile."""

    def __init__(self, server: ApiServer, latency: float = 0.005, lateness: Callable[[], float] = at_once) -> None:
        self.server, self.latency, self.lateness = server, latency, lateness
        self.access = Access("http://double", "default", None)

    async def _call(self, method: str, path: str) -> Where:
        await asyncio.sleep(self.latency)
        failure = self.server.trouble(method, path)
        if failure is not None:
            raise failure
        return Where.of(path)

    async def on_its_way(self) -> None:
        """The time that an answer takes."""
        seconds = self.lateness()
        if seconds:
            await asyncio.sleep(seconds)

    async def aclose(self) -> None:
        return None

    @answered
    async def get(self, path: str, **params: str) -> Json:
        where = await self._call("GET", path)
        if where.name:
            return copy.deepcopy(self.server.at(where))
        found = [
            copy.deepcopy(obj)
            for at, obj in sorted(self.server.objects.items(), key=lambda pair: str(pair[0]))
            if selected(where, at, params)
        ]
        return {"items": list(found), "metadata": {"resourceVersion": str(self.server.version)}}

    async def items(self, path: str) -> list[Json]:
        told: Any = (await self.get(path))["items"]
        return list(told)

    @answered
    async def create(self, path: str, body: Json) -> Json:
        where = await self._call("POST", path)
        obj: Raw = copy.deepcopy(dict(body))
        meta = obj["metadata"]
        where = Where(where.prefix, where.namespace, where.plural, meta["name"])
        if where in self.server.objects:
            raise Conflict(f'{where.plural} "{where.name}" already exists', path)
        meta.update(namespace=where.namespace, uid=str(uuid.uuid4()), creationTimestamp=self.server.timestamp())
        meta.pop("resourceVersion", None)
        if where.custom:
            meta["generation"] = 1
            obj.pop("status", None)
        return self.server.put(where, obj, "ADDED")

    @answered
    async def replace(self, path: str, body: Json) -> Json:
        where = await self._call("PUT", path)
        sub, where = where.sub, Where(where.prefix, where.namespace, where.plural, where.name)
        old = self.server.at(where)
        preconditions(old, body, path)
        new: Raw = copy.deepcopy(dict(body))
        if sub == "status":
            new = {**copy.deepcopy(old), "status": new.get("status")}
        elif where.custom and "status" in old:
            new["status"] = copy.deepcopy(old["status"])
        return self._update(where, old, new, path)

    @answered
    async def merge(self, path: str, body: Json) -> Json:
        where = await self._call("PATCH", path)
        old = self.server.at(where)
        preconditions(old, body, path)
        new = merged(copy.deepcopy(old), copy.deepcopy(body))
        if where.custom:
            new.pop("status", None)
            if "status" in old:
                new["status"] = copy.deepcopy(old["status"])
        return self._update(where, old, new, path)

    async def patch(self, path: str, operations: list[JsonValue]) -> Json:
        raise NotImplementedError("the operator sends no JSON patches to anything this stands in for")

    @answered
    async def delete(self, path: str, uid: str) -> None:
        where = await self._call("DELETE", path)
        old = self.server.at(where)
        preconditions(old, {"metadata": {"uid": uid}}, path)
        meta = old["metadata"]
        if not meta.get("finalizers"):
            self.server.put(where, copy.deepcopy(old), "DELETED")
        elif not meta.get("deletionTimestamp"):
            new = copy.deepcopy(old)
            new["metadata"].update(deletionTimestamp=self.server.timestamp(), deletionGracePeriodSeconds=0)
            if where.custom:
                new["metadata"]["generation"] += 1
            self.server.put(where, new, "MODIFIED")

    def _update(self, where: Where, old: Raw, new: Raw, path: str) -> Json:
        """`new` in the place of `old`: what nobody may change stays as it was; what changes nothing is no change."""
        kept = ("name", "namespace", "uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp")
        kept += ("deletionGracePeriodSeconds",)
        meta = new["metadata"] = {name: value for name, value in new["metadata"].items() if name not in kept}
        meta.update({name: old["metadata"][name] for name in kept if name in old["metadata"]})
        if not meta.get("finalizers"):
            meta.pop("finalizers", None)
        more = set(meta.get("finalizers", ())) - set(old["metadata"].get("finalizers", ()))
        if more and meta.get("deletionTimestamp"):
            raise Rejected(f"no new finalizers can be added if the object is being deleted, found {sorted(more)}", path)
        if new == old:
            return copy.deepcopy(old)
        if where.custom and new.get("spec") != old.get("spec"):
            meta["generation"] += 1
        if meta.get("deletionTimestamp") and not meta.get("finalizers"):
            return self.server.put(where, new, "DELETED")
        return self.server.put(where, new, "MODIFIED")

    async def watch(self, path: str, version: str, **params: str) -> AsyncIterator[tuple[str, Json]]:
        where = await self._call("WATCH", path)
        since = int(version)
        while True:
            if since < self.server.oldest:
                raise Gone("too old resource version", path)
            news = self.server.news  # of what comes after the changes that are told of now
            for number, kind, at, obj in self.server.changes[first_after(self.server.changes, since) :]:
                since = number
                if selected(where, at, params):
                    yield kind, copy.deepcopy(obj)
            await news.wait()


def first_after(changes: Sequence[tuple[int, str, Where, Raw]], version: int) -> int:
    """Versions count from 1 without a gap."""
    return min(max(version, 0), len(changes))


def selected(where: Where, at: Where, params: dict[str, str]) -> bool:
    only = params.get("fieldSelector", "").removeprefix("metadata.name=")
    return where.holds(at) and only in ("", at.name)


def preconditions(old: Raw, body: Json, path: str) -> None:
    """What was said of version and uid must be so."""
    said: Any = body.get("metadata") or {}
    for name in ("uid", "resourceVersion"):
        if said.get(name) and said[name] != old["metadata"][name]:
            raise Conflict(f"{name} is {old['metadata'][name]}, not {said[name]}", path)


def merged(old: Raw, patch: Any) -> Raw:
    """RFC 7396."""
    for name, value in patch.items():
        if value is None:
            old.pop(name, None)
        elif isinstance(value, dict):
            inner = old.get(name)
            old[name] = merged(inner if isinstance(inner, dict) else {}, value)
        else:
            old[name] = value
    return old


class Follow:
    """A watch over the double, as kopf does it: first everything there is, then every change; after 410 from the beginning, without a
    word about what was deleted meanwhile."""

    def __init__(self, server: ApiServer, namespaces: Sequence[str] | None, on_event: OnEvent, latency: float = 0.02) -> None:
        self._client, self._namespaces, self._on_event = Double(server, latency), namespaces, on_event
        self._tasks: list[asyncio.Task[None]] = []
        self.restarts = 0

    def start(self) -> None:
        for kind in KINDS:
            for namespace in self._namespaces or (None,):
                self._tasks.append(asyncio.create_task(self._follow(collection(kind.name, namespace))))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def again(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        self.restarts += 1
        self.start()

    def alive(self) -> bool:
        return True

    async def _follow(self, path: str) -> None:
        while True:
            try:
                listed: Any = await self._client.get(path)
                for obj in listed["items"]:
                    self._on_event("", obj)
                async for kind, obj in self._client.watch(path, listed["metadata"]["resourceVersion"]):
                    await asyncio.sleep(self._client.latency)
                    self._on_event(kind, obj)
            except ReconcilerError:
                await asyncio.sleep(1.0)
