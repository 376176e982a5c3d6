"""What happened, as Kubernetes Events (events.k8s.io): one object for each series of the recorder, with its count."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable

from reconciler.api.meta import GROUP, VERSION
from reconciler.core.keys import Json
from reconciler.core.times import timestamp_us
from reconciler.engine.ports import Event
from reconciler.engine.supervision import Supervisor
from reconciler.errors import NotFound, RateLimited, ReconcilerError, Transient
from reconciler.log import redact
from reconciler.sources.kube.client import Cluster

log = logging.getLogger("reconciler.kube")

WAITING = 2000
"""Events that wait at most; beyond it the oldest are dropped, counted and told."""
NOTE = 1000
CONTROLLER = f"{GROUP}/reconciler"
TRIES = 5


class KubeEvents:
    """Listen with `post`; `start` posts them one after the other. `known`: secret values, taken out of every note."""

    def __init__(
        self, cluster: Cluster, instance: str, known: Callable[[], Iterable[str]], gate: Callable[[], None], supervisor: Supervisor
    ) -> None:
        self._cluster, self._instance, self._known, self._gate = cluster, instance[:128], known, gate
        self._supervisor = supervisor
        self._waiting: deque[Event] = deque()
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.lost: Counter[str] = Counter()

    def post(self, event: Event) -> None:
        """Post it soon. What has no namespace (a VM nobody owns) is for logs only."""
        if not event.key.namespace:
            return
        if len(self._waiting) >= WAITING:
            self._waiting.popleft()
            self._lose("too many at once")
        self._waiting.append(event)
        self._some.set()

    def start(self) -> None:
        self._task = self._supervisor.start("cluster events", self._post_all, self._failed)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _failed(self, error: Exception) -> None:
        """A defect of ours: the event at hand is lost, the next ones are posted."""
        log.error("an event could not be posted: internal error", exc_info=error)
        self._lose(type(error).__name__)
        self._some.set()

    def _lose(self, why: str, more: str = "") -> None:
        if not self.lost[why]:
            log.warning("Kubernetes Events are lost: %s", more or why)
        self.lost[why] += 1

    async def _post_all(self) -> None:
        while True:
            await self._some.wait()
            while self._waiting:
                await self._post_one(self._waiting.popleft())
            self._some.clear()

    async def _post_one(self, event: Event) -> None:
        """Again while the server is away or busy; what it refuses (a namespace that is going) is lost, and counted."""
        for attempt in range(TRIES):
            try:
                self._gate()
                await self._write(event)
                return
            except RateLimited as error:
                await asyncio.sleep(error.retry_after or 1.0)
            except Transient:
                await asyncio.sleep(2.0**attempt)
            except ReconcilerError as error:
                self._lose(type(error).__name__, str(error))
                return
        self._lose("the API server does not answer")

    async def _write(self, event: Event) -> None:
        note = redact(event.message, self._known())[:NOTE]
        path = f"/apis/events.k8s.io/v1/namespaces/{event.key.namespace}/events"
        name = f"{event.key.name}.{event.series}"
        if event.count > 1:
            counted: Json = {"series": {"count": event.count, "lastObservedTime": timestamp_us(event.at)}}
            try:
                await self._cluster.merge(f"{path}/{name}", counted)
                return
            except NotFound:
                pass  # it has expired: news again
        await self._cluster.create(path, self._body(event, name, note))

    def _body(self, event: Event, name: str, note: str) -> Json:
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": event.key.namespace},
            "eventTime": timestamp_us(event.at),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": event.reason,
            "reason": event.reason,
            "type": event.type,
            "note": note,
            "regarding": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": event.key.kind,
                "namespace": event.key.namespace,
                "name": event.key.name,
                "uid": event.uid,
            },
        }
