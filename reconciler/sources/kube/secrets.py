"""Values from `Secret` and `ConfigMap` objects of the object's own namespace: in memory while referred to, nowhere else (G-60).

Only what is referred to is read, by name, and watched by name, so a role may be limited to those names. A change wakes what
lives in that namespace."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable, Iterable
from typing import Literal

from reconciler.core.keys import Json, as_map
from reconciler.engine.supervision import Supervisor
from reconciler.errors import Forbidden, ReconcilerError, Refused
from reconciler.sources.kube import raw
from reconciler.sources.kube.client import Cluster, Gone

log = logging.getLogger("reconciler.kube")

PATIENCE = 5.0
"""Seconds a declaration waits for the first look at its secrets."""
PAUSE = (1.0, 2.0, 5.0, 15.0)
LOST = 60.0
"""Seconds for which a right must be missing before it counts as lost: an API server that just started forbids much for a moment."""

GRANT = "grant it: docs/kubernetes.md has the role"
SECRET, CONFIG = "secrets", "configmaps"


class _Followed:
    """One object: `data` None while it is not known to exist. `forbidden`: why it may not be read, '' when it may; `since`: when that
    began, by the loop's clock; `lost`: why it may not be read any more, '' while it may."""

    def __init__(self) -> None:
        self.forbidden = ""
        self.since: float | None = None
        self.lost = ""
        self.data: dict[str, bytes] | None = None
        self.looked = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class KubeSecrets:
    """`engine.ports.Secrets` over a cluster. `changed` is told the namespace in which a followed secret changed."""

    def __init__(self, cluster: Cluster, supervisor: Supervisor | None = None) -> None:
        self._cluster = cluster
        self._supervisor = supervisor if supervisor is not None else Supervisor()
        self._followed: dict[tuple[str, str, str], _Followed] = {}
        self._known: set[str] = set()
        self.lost_after = LOST
        self.changed: Callable[[str], None] = lambda namespace: None

    def get(self, namespace: str, name: str, key: str) -> str | None:
        """The value of one key as last seen; None when there is none, or when it was not looked at yet: then it is, and
        `changed` tells when it is there. Raises `Refused` (without the value) when it is no text, `Forbidden` when we may not
        read it."""
        value = self._value(SECRET, namespace, name, key)
        if value:
            self._known.add(value)
        return value

    def config(self, namespace: str, name: str, key: str) -> str | None:
        """As `get`, of a ConfigMap; its values are no secrets."""
        return self._value(CONFIG, namespace, name, key)

    def holds(self, kind: Literal["Secret", "ConfigMap"], namespace: str, name: str) -> bool:
        """As last seen."""
        return self._follow(SECRET if kind == "Secret" else CONFIG, namespace, name).data is not None

    def unread(self, kind: Literal["Secret", "ConfigMap"], namespace: str, name: str) -> str:
        """Why what was read before may not be read any more; `changed` tells when that begins and when it ends."""
        return self._follow(SECRET if kind == "Secret" else CONFIG, namespace, name).lost

    def _value(self, plural: str, namespace: str, name: str, key: str) -> str | None:
        followed = self._follow(plural, namespace, name)
        if followed.forbidden:
            raise Forbidden(followed.forbidden, f"{plural} {namespace}/{name}", GRANT)
        data = followed.data
        if data is None or key not in data:
            return None
        try:
            value = data[key].decode("utf-8")
        except UnicodeDecodeError:
            value = None
        if value is None:  # told out here, where no exception that holds the bytes is at hand
            raise Refused("a value is not UTF-8", f"{plural} {namespace}/{name}, key {key}", "encode it, for example with base64")
        return value

    def known(self) -> Iterable[str]:
        """Every value handed out so far, longest first."""
        return sorted(self._known, key=len, reverse=True)

    @property
    def handed(self) -> int:
        """How many values were handed out so far: when it is the same, so is `known`."""
        return len(self._known)

    async def want(self, namespace: str, refs: Iterable[tuple[str, str]]) -> None:
        """Wait (a little) until these (plural, name) have been looked at once, so that nothing is said to be missing that is there."""
        waiting = [self._follow(plural, namespace, name).looked.wait() for plural, name in sorted(set(refs))]
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*waiting)
        except TimeoutError:
            log.info("secrets in namespace %s could not be looked at yet", namespace)

    async def aclose(self) -> None:
        tasks = [one.task for one in self._followed.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._followed.clear()

    def _follow(self, plural: str, namespace: str, name: str) -> _Followed:
        followed = self._followed.get((plural, namespace, name))
        if followed is None:
            followed = self._followed[(plural, namespace, name)] = _Followed()
            followed.task = self._supervisor.start(
                "secret watch", lambda: self._keep(plural, namespace, name, followed), _ended, name=f"{plural} {namespace}/{name}"
            )
        return followed

    async def _keep(self, plural: str, namespace: str, name: str, followed: _Followed) -> None:
        """List, watch, and again: whatever ends a watch, the next list is the truth."""
        failures, told = 0, ""
        while True:
            try:
                await self._once(plural, namespace, name, followed)
                failures, told = 0, ""
            except Gone:
                continue
            except ReconcilerError as error:
                failures += 1
                if told != str(error):
                    told = str(error)
                    log.warning("%s %s/%s can't be read: %s", plural, namespace, name, error)
                if isinstance(error, Forbidden):
                    self._forbidden(plural, namespace, name, followed, error)
            await asyncio.sleep(PAUSE[min(failures, len(PAUSE) - 1)] if failures else 0.2)

    async def _once(self, plural: str, namespace: str, name: str, followed: _Followed) -> None:
        path = f"/api/v1/namespaces/{namespace}/{plural}"
        only = f"metadata.name={name}"
        listed = await self._cluster.get(path, fieldSelector=only)
        items = listed.get("items")
        found = items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else None
        self._take(namespace, followed, _values(plural, found) if found is not None else None)
        async for kind, obj in self._cluster.watch(path, raw.version(listed), fieldSelector=only):
            if kind in ("ADDED", "MODIFIED"):
                self._take(namespace, followed, _values(plural, obj))
            elif kind == "DELETED":
                self._take(namespace, followed, None)

    def _forbidden(self, plural: str, namespace: str, name: str, followed: _Followed, error: Forbidden) -> None:
        """Told at once where it was never read; a value that is known stays so, and that nobody sees its changes is told after a while."""
        now = asyncio.get_running_loop().time()
        followed.since = now if followed.since is None else followed.since
        why, lost = error.what if followed.data is None else "", ""
        if followed.data is not None and now >= followed.since + self.lost_after:
            lost = f"{error.what} ({plural} {namespace}/{name}): its values are used as last read; {GRANT}"
        news = (followed.forbidden, followed.lost) != (why, lost)
        followed.forbidden, followed.lost = why, lost
        followed.looked.set()
        if news:
            self.changed(namespace)

    def _take(self, namespace: str, followed: _Followed, data: dict[str, bytes] | None) -> None:
        first = not followed.looked.is_set()
        changed = data != followed.data or bool(followed.forbidden or followed.lost)
        followed.forbidden, followed.lost, followed.since = "", "", None
        followed.data = data
        followed.looked.set()
        if changed or first:
            self.changed(namespace)


def _ended(error: Exception) -> None:
    """A defect of ours; following begins anew. Not the error's text: it may hold a value."""
    log.error("following a secret or a config map ended: internal error: %s", type(error).__name__)


def _values(plural: str, obj: Json) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    encoded = as_map(obj.get("data" if plural == SECRET else "binaryData"))
    if plural == CONFIG:
        found = {name: value.encode(errors="replace") for name, value in as_map(obj.get("data")).items() if isinstance(value, str)}
    for name, value in encoded.items():
        try:
            found[name] = base64.b64decode(str(value), validate=True)
        except (binascii.Error, ValueError):
            continue  # the API server takes no such value
    return found
