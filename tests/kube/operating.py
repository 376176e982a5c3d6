"""An operator in the test's own process: the real front door on a real API server, over a small world of machines in real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.app import MakeWays, Ways
from reconciler.cluster import Operator, Scope, cluster_of, lease_of, operating
from reconciler.config import Config
from reconciler.engine.loop import Engine
from reconciler.engine.settings import EngineSettings
from reconciler.engine.supervision import Supervisor
from reconciler.notify.settings import Sink
from reconciler.sources.kube.access import Access, load
from reconciler.sources.kube.client import Cluster
from reconciler.sources.kube.lease import Lease
from tests.kube.controlplane import Namespace
from tests.world import KEEPER, FakeAgents, FakeVers, World

SETTLE = 1.0
SECONDS = 60.0
"""How long something may take to show, on a busy machine."""


class RealTime(World):
    """A world on the clock on the wall, in which everything is quick."""

    def __init__(self) -> None:
        super().__init__(work_seconds=0.4)
        self.boot_seconds = 0.2

    def now(self) -> float:
        return time.time()


class Person:
    """Somebody with kubectl, who does not block the operator that runs in this process."""

    def __init__(self, cluster: Namespace) -> None:
        self.cluster = cluster

    async def kubectl(self, *words: str, stdin: str = "") -> str:
        return await asyncio.to_thread(self.cluster.kubectl, *words, stdin=stdin)

    async def apply(self, text: str) -> None:
        await asyncio.to_thread(self.cluster.apply, text)

    async def wait(self, what: str, condition: str, seconds: float = SECONDS) -> None:
        await asyncio.to_thread(self.cluster.wait, what, condition, seconds)

    async def get(self, kind: str, name: str) -> dict[str, Any]:
        return await asyncio.to_thread(self.cluster.get, kind, name)

    async def list(self, kind: str) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self.cluster.list, kind)

    async def condition(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        conditions = (await self.get(kind, name)).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == type_), {})

    async def sees(self, kind: str, name: str, type_: str, reason: str) -> dict[str, Any]:
        """Until a condition of this object has this reason."""
        told: dict[str, Any] = {}
        for _ in range(int(SECONDS * 4)):
            told = await self.condition(kind, name, type_)
            if told.get("reason") == reason:
                return told
            await asyncio.sleep(0.25)
        raise AssertionError(f"{kind}/{name}: {type_} never had reason {reason}; last {told}")


async def until(what: Callable[[], bool], why: str, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never came true: {why}")


def config(state: Path) -> Config:
    return Config(state=state, settle_seconds=SETTLE, resync_seconds=1.0)


def ways_in(world: World, vers: Callable[[World], FakeVers] = FakeVers) -> MakeWays:
    """To the world's machines."""

    @asynccontextmanager
    async def make_ways(config: Config, now: Callable[[], float], supervisor: Supervisor, /) -> AsyncIterator[Ways]:
        yield Ways(vers(world), FakeAgents(world), KEEPER)

    return make_ways


def tuned(settings: EngineSettings) -> EngineSettings:
    return replace(settings, workers=8)


def access_of(cluster: Namespace) -> Access:
    """The operator's own."""
    return load(environ={"KUBECONFIG": str(cluster.plane.operator.kubeconfig)})


@asynccontextmanager
async def standing(
    cluster: Namespace, state: Path, who: str, *, lease_seconds: float = 15.0, crash: bool = False, access: Access | None = None
) -> AsyncIterator[tuple[Cluster, Lease]]:
    """A process that may become the operator: its client and its candidacy, with the operator's own few rights. `crash`: it ends
    without a word. `access`: another way to the API server."""
    async with cluster_of(access or access_of(cluster)) as api:
        lease = lease_of(config(state), api, Scope((cluster.name,)), who, lambda line: None)
        lease.seconds = lease_seconds
        try:
            yield api, lease
        finally:
            if crash:
                lease.lost.set()
            await lease.release()


@asynccontextmanager
async def charge(
    cluster: Namespace,
    state: Path,
    world: World,
    who: str = "one",
    *,
    crash: bool = False,
    lease_seconds: float = 15.0,
    prepare: Callable[[Engine], None] = lambda _: None,
    vers: Callable[[World], FakeVers] = FakeVers,
    access: Access | None = None,
    notify: tuple[Sink, ...] = (),
) -> AsyncIterator[Operator]:
    """An operator in charge of one namespace."""
    async with standing(cluster, state, who, crash=crash, lease_seconds=lease_seconds, access=access) as (api, lease):
        await asyncio.wait_for(lease.acquire(), SECONDS)
        scope, ways = Scope((cluster.name,)), ways_in(world, vers)
        settings = replace(config(state), notify=notify)
        async with operating(settings, api, scope, lease, lambda line: None, prepare, make_ways=ways, tune=tuned) as operator:
            yield operator
