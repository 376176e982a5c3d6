"""Delivery beside the loop: one supervised task for each sink, one notice at a time, in order, until the receiver has it.

At least once: a notice leaves the outbox after its receiver said that it has it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from reconciler.core.backoff import delay
from reconciler.core.notices import cloud_event
from reconciler.engine.effects import Effects
from reconciler.engine.outbox import Outbox, Row
from reconciler.engine.ports import Secrets, Store
from reconciler.engine.supervision import Supervisor
from reconciler.errors import ReconcilerError
from reconciler.notify.settings import Sink
from reconciler.notify.ways import Declined, Later, Values, Way, way_of

log = logging.getLogger("reconciler.notify")

FIRST, MOST = 1.0, 300.0
"""Seconds before another try: the first time, and at the most."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose notices they are."""

    installation: str
    fleet: str


class Delivery:
    """`store`: the engine's, whose writes are numbered. `jitter`: numbers from 0 to 1."""

    def __init__(self, outbox: Outbox, store: Store, effects: Effects, origin: Origin, jitter: Callable[[], float]) -> None:
        self._outbox, self._store, self._effects, self._origin, self._jitter = outbox, store, effects, origin, jitter
        self._settling = asyncio.Lock()
        self._settled = False

    async def run(self, sink: str, way: Way) -> None:
        """Deliver for ever."""
        deliver = self._effects.of("notice.deliver", way.deliver)
        await self._begin()
        while True:
            row = await self._outbox.next(sink, self._store)
            event = cloud_event(row.notice, self._origin.installation, self._origin.fleet)
            failures, told = 0, ""
            while True:
                try:
                    await deliver(event)
                    self._outbox.count(sink, "delivered")
                    if told:
                        log.warning("notices: sink %s takes them again", sink)
                    break
                except Declined as error:
                    self._outbox.count(sink, "refused")
                    log.warning("notices: %s is given up: %s", row.notice.id, error)
                    break
                except ReconcilerError as error:
                    self._outbox.count(sink, "failed")
                    failures += 1
                    if str(error) != told:
                        told = str(error)
                        log.warning("notices: %s; trying again", error)
                    pause = delay(failures, self._jitter(), base=FIRST, most=MOST)
                    await asyncio.sleep(max(pause, error.after) if isinstance(error, Later) else pause)
            await self._clear(sink, row)

    async def _begin(self) -> None:
        async with self._settling:
            if not self._settled:
                gone = await self._outbox.settle(self._store)
                if gone:
                    log.warning("notices: %d that waited for sinks which are not declared any more were dropped", gone)
                self._settled = True

    async def _clear(self, sink: str, row: Row) -> None:
        """Only the store can keep it from being cleared; until then nothing else is delivered, or it would be twice."""
        failures = 0
        while True:
            try:
                await self._outbox.done(sink, row, self._store)
                return
            except ReconcilerError:
                failures += 1
                await asyncio.sleep(delay(failures, self._jitter(), base=FIRST, most=MOST))


@asynccontextmanager
async def delivering(
    sinks: Sequence[Sink],
    delivery: Delivery,
    secrets: Secrets,
    environ: Mapping[str, str],
    now: Callable[[], float],
    supervisor: Supervisor,
) -> AsyncIterator[None]:
    """While it is open notices are delivered."""
    values = Values(secrets, environ)
    ways = [(sink, way_of(sink, values, environ, now)) for sink in sinks]

    def kept(sink: Sink, way: Way) -> asyncio.Task[None]:
        return supervisor.start("notice delivery", lambda: delivery.run(sink.name, way), name=f"notices-{sink.name}")

    tasks = [kept(sink, way) for sink, way in ways]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, way in ways:
            await way.aclose()
