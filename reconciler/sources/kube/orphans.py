"""Deletion of orphans as a declaration: a person asks by an annotation of the operator's Lease, the operator in charge carries it out by
its own procedure and answers by another annotation. Nothing else than the holder of that Lease ever acts on it.

`fleet.vers.sh/delete-orphan.VM_ID` (a time) asks; `fleet.vers.sh/orphan-outcome.VM_ID` (JSON: reason, message, at) answers, and with it
the request is taken away. Whoever asked takes the answer away; one that nobody took is removed after `KEPT` seconds."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence

from reconciler.api.annotations import PREFIX
from reconciler.api.meta import UUID
from reconciler.core.keys import Json, as_map
from reconciler.core.times import seconds, timestamp
from reconciler.engine.subscriptions import Unsubscribe
from reconciler.engine.supervision import Supervisor
from reconciler.engine.view import OrphanPort
from reconciler.errors import Forbidden
from reconciler.sources.kube.client import Cluster
from reconciler.sources.kube.lease import Lease, notes_of, path_of

log = logging.getLogger("reconciler.kube")

ASKED, OUTCOME = f"{PREFIX}delete-orphan.", f"{PREFIX}orphan-outcome."
KEPT = 3600.0
POLL = 0.5


# --- the operator's side ------------------------------------------------------------------------------------------------------


class OrphanRequests:
    """Hands requests on the Lease to the engine, and its answers back. `now`: seconds since the epoch."""

    def __init__(
        self, lease: Lease, orphans: OrphanPort, now: Callable[[], float] = time.time, supervisor: Supervisor | None = None
    ) -> None:
        self._lease, self._orphans, self._now = lease, orphans, now
        self._supervisor = supervisor if supervisor is not None else Supervisor()
        self._asked: set[str] = set()
        self._new: set[str] = set()
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ends: list[Unsubscribe] = []

    def start(self) -> None:
        self._ends = [self._orphans.subscribe(self._over), self._lease.subscribe(self._observe)]
        self._task = self._supervisor.start("orphan requests", self._ask, self._failed)

    async def stop(self) -> None:
        """Listen no more. What was asked for is in the store, and still on the Lease."""
        for end in self._ends:
            end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _observe(self, annotations: Mapping[str, str]) -> None:
        for vm_id in requested(annotations) - self._asked:
            if f"{ASKED}{vm_id}" in self._lease.edits:
                continue  # answered already; the answer goes out with the next renewal
            self._asked.add(vm_id)
            self._new.add(vm_id)
            self._some.set()
        for name, value in annotations.items():
            if name.startswith(OUTCOME) and answered_at(value) < self._now() - KEPT:
                self._lease.edits[name] = None

    async def _ask(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            wanted = sorted(self._new)
            try:
                await self._orphans.ask(wanted)
            except BaseException:
                self._some.set()
                raise
            self._new.difference_update(wanted)

    def _failed(self, error: Exception) -> None:
        log.warning("a request to delete orphans could not be written down: %s; trying again", error)

    def _over(self, vm_id: str, reason: str, message: str) -> None:
        if vm_id in self._asked:
            self._asked.discard(vm_id)
            answer = {"reason": reason, "message": message[:1000], "at": timestamp(self._now())}
            self._lease.edits |= {f"{ASKED}{vm_id}": None, f"{OUTCOME}{vm_id}": json.dumps(answer)}


def requested(annotations: Mapping[str, str]) -> set[str]:
    """The VMs whose deletion somebody asks for. What is no id of a VM is nobody's request."""
    named = {name.removeprefix(ASKED) for name in annotations if name.startswith(ASKED)}
    return {vm_id for vm_id in named if re.fullmatch(UUID, vm_id)}


def answered_at(value: str) -> float:
    """When an answer was given; 0 for what is none."""
    return seconds(_answer(value).get("at")) or 0.0


def _answer(value: str) -> Json:
    try:
        return as_map(json.loads(value))
    except (ValueError, RecursionError):
        return {}


# --- the person's side --------------------------------------------------------------------------------------------------------


async def ask(cluster: Cluster, namespace: str, name: str, vm_ids: Sequence[str]) -> None:
    """Ask the holder of this Lease to delete these VMs if they are orphans. Raises what the API server says."""
    at = timestamp(time.time())
    changes: dict[str, str | None] = {f"{ASKED}{vm_id}": at for vm_id in vm_ids}
    changes |= {f"{OUTCOME}{vm_id}": None for vm_id in vm_ids}  # of an earlier request
    try:
        await _annotate(cluster, namespace, name, changes)
    except Forbidden as error:
        remedy = "ask for the role reconciler-orphans in that namespace: docs/kubernetes.md"
        raise Forbidden(error.what, f"Lease {namespace}/{name}", remedy) from None


async def outcomes(
    cluster: Cluster, namespace: str, name: str, vm_ids: Sequence[str], told: Callable[[str, str], None], patience: float
) -> frozenset[str]:
    """Wait for what became of these: `told` is called with VM id and message. Returns those without an answer after `patience` seconds.
    Raises what the API server says."""
    clock = asyncio.get_running_loop().time
    end, waiting = clock() + patience, set(vm_ids)
    while True:
        annotations = notes_of(await cluster.get(path_of(namespace, name)))
        found = {vm_id: annotations[f"{OUTCOME}{vm_id}"] for vm_id in sorted(waiting) if f"{OUTCOME}{vm_id}" in annotations}
        for vm_id, value in found.items():
            told(vm_id, str(_answer(value).get("message") or "is done with"))
        if found:
            await _annotate(cluster, namespace, name, {f"{OUTCOME}{vm_id}": None for vm_id in found})
        waiting -= found.keys()
        if not waiting or clock() >= end:
            return frozenset(waiting)
        await asyncio.sleep(POLL)


async def _annotate(cluster: Cluster, namespace: str, name: str, changes: Mapping[str, str | None]) -> None:
    await cluster.merge(path_of(namespace, name), {"metadata": {"annotations": dict(changes)}})
