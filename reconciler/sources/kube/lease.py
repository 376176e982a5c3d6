"""Who of several operators acts: the holder of a Lease. Times are measured on this host's own clock only: another's lease is over
when it did not change for its whole duration *as we watched it*, so clocks that differ harm nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconciler.api.meta import GROUP
from reconciler.core.keys import Json, as_map, as_strings
from reconciler.core.times import timestamp_us
from reconciler.engine.subscriptions import Unsubscribe, subscribed
from reconciler.engine.supervision import Supervisor
from reconciler.errors import Conflict, NotFound, ReconcilerError, Refused
from reconciler.sources.kube.client import Cluster

log = logging.getLogger("reconciler.kube")

SECONDS = 15.0
"""How long a lease lasts after its last renewal."""
RETRY = 2.0
"""Between two looks of one who waits, and between two renewals of the holder."""
GIVE_UP = 2 / 3
"""Of the duration: a holder that could not renew for so long stands down, well before somebody else may begin."""
USABLE = 0.9
"""Of the duration: after so long without a renewal nothing is done any more, even by a process that slept meanwhile."""
SERVES, INSTALLATION, RUNS_IN, RELEASE = (f"{GROUP}/{word}" for word in ("serves", "installation", "runs-in", "release"))
"""Annotations of the Lease, by its holder: which namespaces (`*`, or names with commas), whose VMs are its own, in which namespace its
pod is ('' outside of the cluster) and what it is a release of."""
EVERYWHERE = "*"


def elapsed() -> float:
    """Seconds that also pass while the host sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(slots=True)
class _Seen:
    """What the Lease said, and since when it says so."""

    version: str
    at: float


class Lease:
    """One candidate. `identity` must be its own alone. `tell` takes one line for people. `notes`: annotations that the Lease has
    while this one holds it; what is put in later is there with the next renewal. `edits`: annotations to set, or to remove (None), once:
    with the next renewal."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        identity: str,
        tell: Callable[[str], None],
        seconds: float = SECONDS,
        clock: Callable[[], float] = elapsed,
        notes: Mapping[str, str] | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._cluster, self._tell, self._clock = cluster, tell, clock
        self._supervisor = supervisor if supervisor is not None else Supervisor()
        self._path = collection(namespace)
        self._namespace, self._name, self.identity, self.seconds = namespace, name, identity, seconds
        self._seen: _Seen | None = None
        self._renewed = self._read = float("-inf")
        self._current: Json = {}
        self._renewing: asyncio.Task[None] | None = None
        self._told = ""
        self.notes = dict(notes or {})
        self.edits: dict[str, str | None] = {}
        self._listeners: list[Callable[[Mapping[str, str]], None]] = []
        self.lost = asyncio.Event()

    @property
    def where(self) -> str:
        """`NAMESPACE/NAME`."""
        return f"{self._namespace}/{self._name}"

    def subscribe(self, listener: Callable[[Mapping[str, str]], None]) -> Unsubscribe:
        """Called with the annotations of the Lease now, and whenever it was renewed or read while it is ours."""
        listener(notes_of(self._current))
        return subscribed(self._listeners, listener)

    def held(self) -> bool:
        """Whether we may act this very moment."""
        return not self.lost.is_set() and self._clock() < self._renewed + self.seconds * USABLE

    def known(self) -> bool:
        """Whether it is ours, or we read within its last duration whose it is: one who can do neither could not take over."""
        return self.held() or self._clock() < self._read + self.seconds

    def check(self) -> None:
        """Raises `Refused` when we may not act (any more)."""
        if not self.held():
            raise Refused("another operator may be in charge", f"Lease {self.where}", "this one stands down")

    async def acquire(self) -> None:
        """Wait until it is ours; it is renewed from then on until `release` or until `lost` is set."""
        await self._stop_renewing()
        while True:
            try:
                if await self._try():
                    break
            except NotFound as error:
                remedy = "make that namespace, or name another one with --lease-namespace"
                self._say(f"the lease can't be had: {error.what}: {remedy}; trying again")
            except ReconcilerError as error:
                self._say(f"the lease can't be had: {error}; trying again")
            await asyncio.sleep(RETRY)
        self.lost = asyncio.Event()
        self._told = ""
        self._renewing = self._supervisor.start("lease", self._renew, may_end=True, most=RETRY)
        lost = self.lost
        self._renewing.add_done_callback(lambda _: lost.set())  # whatever ended it: nobody renews it any more

    async def release(self) -> None:
        """Let another one have it at once."""
        held = self.held()  # to stop renewing is to lose it
        await self._stop_renewing()
        if not held:
            return
        self.lost.set()
        try:
            await self._write(self._current, holder="", seconds=1)
        except ReconcilerError as error:
            log.info("the lease was not given back: %s", error)

    async def _try(self) -> bool:
        """Take it when it is free, ours or over."""
        begun = self._clock()
        try:
            found = await self._cluster.get(f"{self._path}/{self._name}")
        except NotFound:
            found = {}
        spec = as_map(found.get("spec"))
        holder = str(spec.get("holderIdentity") or "")
        version = _version(found)
        if self._seen is None or self._seen.version != version:
            self._seen = _Seen(version, begun)
        lasts = spec.get("leaseDurationSeconds")
        over = begun >= self._seen.at + (float(lasts) if isinstance(lasts, int) else self.seconds)
        if found and holder not in ("", self.identity) and not over:
            self._read = begun
            self._say(f"standing by: {holder} is in charge{unserved(notes_of(found), self.notes)}")
            return False
        try:
            self._current = await self._write(found, self.identity, int(self.seconds), taken=holder != self.identity)
        except Conflict:
            return False  # somebody was faster
        self._renewed = begun
        return True

    def _observed(self) -> None:
        for listener in tuple(self._listeners):
            listener(notes_of(self._current))

    async def _stop_renewing(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
            self._renewing = None

    def _too_late(self) -> bool:
        return self._clock() > self._renewed + self.seconds * GIVE_UP

    async def _renew(self) -> None:
        """Until it is taken from us, or could not be renewed in time; after a defect it goes on, while there is time."""
        why = ""
        while not self._too_late():
            await asyncio.sleep(RETRY)
            begun = self._clock()
            try:
                self._current = await self._write(self._current, self.identity, int(self.seconds))
                self._renewed = begun
                self._observed()
                continue
            except Conflict:
                try:
                    found = await self._cluster.get(f"{self._path}/{self._name}")
                    if as_map(found.get("spec")).get("holderIdentity") == self.identity:
                        self._current = found  # somebody wrote a label or a request, or our own renewal was not answered
                        self._observed()
                        continue
                    log.warning("the lease %s was taken from us", self.where)
                    break
                except ReconcilerError as error:
                    why = f": {error}"
                    log.info("the lease could not be read: %s", error)
            except ReconcilerError as error:
                why = f": {error}"
                log.info("the lease could not be renewed: %s", error)
            if self._too_late():
                log.warning("the lease %s could not be renewed in time%s", self.where, why)
                break

    async def _write(self, found: Json, holder: str, seconds: int, *, taken: bool = False) -> Json:
        now = timestamp_us(time.time())
        spec: Json = dict(as_map(found.get("spec")))
        changes = spec.get("leaseTransitions")
        spec.update(holderIdentity=holder, leaseDurationSeconds=seconds, renewTime=now)
        if taken:
            spec.update(acquireTime=now, leaseTransitions=(changes if isinstance(changes, int) else 0) + 1)
        if not found:
            metadata: Json = {"name": self._name, "namespace": self._namespace}
            body: Json = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            return await self._cluster.create(self._path, self._noted(body, {}))
        body = {**found, "spec": spec}
        edits = dict(self.edits) if holder else {}
        written = await self._cluster.replace(f"{self._path}/{self._name}", self._noted(body, edits))
        for name, value in edits.items():
            if self.edits.get(name) == value:
                self.edits.pop(name, None)
        return written

    def _noted(self, lease: Json, edits: Mapping[str, str | None]) -> Json:
        wanted = {**notes_of(lease), **self.notes, **edits}
        annotations: Json = {name: value for name, value in wanted.items() if value is not None}
        return {**lease, "metadata": {**as_map(lease.get("metadata")), "annotations": annotations}} if wanted else lease

    def _say(self, line: str) -> None:
        if line != self._told:
            self._told = line
            self._tell(line)


def collection(namespace: str) -> str:
    """Where the Leases of a namespace live."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def path_of(namespace: str, name: str) -> str:
    """Where one Lease lives."""
    return f"{collection(namespace)}/{name}"


def notes_of(lease: Json) -> dict[str, str]:
    """What its holder says of itself there; {} for a Lease that is not."""
    return as_strings(as_map(lease.get("metadata")).get("annotations"))


def unserved(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """What nobody would serve because two operators of different namespaces meet on one Lease, in words; '' when nothing."""
    held, wanted = theirs.get(SERVES, ""), ours.get(SERVES, "")
    if not wanted or held in ("", EVERYWHERE):
        return ""
    missing = sorted(set(wanted.split(",")) - set(held.split(",")))
    if not missing:
        return ""
    of = "the other namespaces are" if wanted == EVERYWHERE else f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'}"
    return f", of {held} only, so {of} not served: give both the same namespaces, or this one a --lease-namespace of its own"


def _version(found: Json) -> str:
    return str(as_map(found.get("metadata")).get("resourceVersion", ""))
