"""The crash harness with a cluster as source and sink: the same stories and faults, the operator's own front door, an API server in
memory. The person declares there and looks there; a write to it is a numbered effect like any other, Events too."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from reconciler.api.meta import GROUP, VERSION
from reconciler.core.keys import Json, Key
from reconciler.engine.clock import LoopClock
from reconciler.engine.effects import Effects
from reconciler.engine.loop import Engine
from reconciler.engine.parts import EngineParts
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.declared import Declared
from reconciler.errors import Conflict, NotFound, ReconcilerError
from reconciler.sources.kube.access import Access
from reconciler.sources.kube.client import Cluster, collection, path_of
from reconciler.sources.kube.controller import KubeController
from reconciler.sources.kube.secrets import KubeSecrets
from reconciler.sources.kube.watching import OnEvent, Watching
from reconciler.store.sqlstore import open_store
from tests.faults.harness import LOOK, Controller, Crash, Fault, Life, Run, place_new_store, virtual
from tests.faults.play import Scenario
from tests.kube.double import ApiServer, Double, Follow
from tests.world import KEEPER, FakeAgents, FakeVers, World

T = TypeVar("T")
Seam = Callable[[int, str, Callable[[], Awaitable[Any]]], Coroutine[Any, Any, Any]]
NAMESPACE = "default"
LATE = 0.07
"""Seconds that one in three of the answers to an operator takes. By then the watch has told of what was answered, and of what somebody else
did since."""


class Posting(Double):
    """The operator's client. Events do not pass the engine's seam, so they pass the harness's here."""

    def __init__(self, server: ApiServer, seam: Seam, latency: float, lateness: Callable[[], float]) -> None:
        super().__init__(server, latency, lateness)
        self._seam = seam

    async def create(self, path: str, body: Json) -> Json:
        if not path.endswith("/events"):
            return await super().create(path, body)
        return cast(Json, await self._seam(0, "kube.event", lambda: Double.create(self, path, body)))

    async def merge(self, path: str, body: Json) -> Json:
        if "/events/" not in path:
            return await super().merge(path, body)
        return cast(Json, await self._seam(0, "kube.event", lambda: Double.merge(self, path, body)))


class OperatorLives(Controller):
    """Operators over one cluster and one world, one after another. `keep` False: each begins with an empty store."""

    def __init__(self, world: World, path: Path, life: Life, settings: EngineSettings, keep: bool, latency: float) -> None:
        super().__init__(world, path, life, settings)
        self.keep, self.latency = keep, latency
        self.lateness: Callable[[], float] = itertools.cycle((0.0, LATE, 0.0)).__next__
        self.server = ApiServer(world.now)
        self.skew = 0.0  # seconds by which the clock of every operator but the first is ahead
        self.kube_controller: KubeController | None = None
        self.secrets: KubeSecrets | None = None

    async def up(self) -> Engine:
        self.life.dead = False
        self.life.crashed.clear()
        self.lives += 1
        mine = self.lives

        async def seam(number: int, name: str, act: Callable[[], Awaitable[T]]) -> T:
            if mine != self.lives:
                raise Crash  # what is left of an operator that is dead
            return await self.life.hook(number, name, act)

        cluster = cast(Cluster, Posting(self.server, seam, self.latency, self.lateness))
        path = self.path if self.keep else self.path.with_suffix(f".{mine}")
        place_new_store(path)
        store = open_store(path, inline=True)
        self.secrets = KubeSecrets(cluster)

        def watcher(access: Access, namespaces: Sequence[str] | None, on_event: OnEvent, restarted: Callable[[], None]) -> Watching:
            return Follow(self.server, namespaces, on_event)

        self.kube_controller = KubeController(cluster, self.secrets, [NAMESPACE], f"operator-{mine}", lambda line: None, watcher=watcher)
        clock = LoopClock(self.world.now() + (self.skew if mine > 1 else 0.0))
        try:
            parts = EngineParts(
                self.settings, FakeVers(self.world), FakeAgents(self.world), KEEPER, store, self.secrets, clock,
                Effects(seam), random.Random(1).random, lambda: f"token-{next(self._tokens)}", self.kube_controller.sink,
            )  # fmt: skip
            self.engine = await Engine.open(parts)
        except (Crash, ReconcilerError):
            await self.secrets.aclose()
            await store.aclose()
            raise
        try:
            await self.kube_controller.open(self.engine, "uid-of-the-cluster")
        except (Crash, ReconcilerError):
            await self.down()
            raise
        return self.engine

    async def down(self) -> None:
        if self.engine is None or self.kube_controller is None or self.secrets is None:
            return
        engine, kube_controller, secrets = self.engine, self.kube_controller, self.secrets
        self.engine = None
        await kube_controller.close()
        await engine.stop()
        await secrets.aclose()
        await engine.store.aclose()


class ClusterRun(Run):
    """One run of a scenario by a person with kubectl."""

    def __init__(self, world: World, path: Path, fault: Fault | None, settings: EngineSettings, keep: bool, latency: float) -> None:
        super().__init__(world, path, fault, settings)
        self.controller: OperatorLives = OperatorLives(world, path, self.life, settings, keep, latency)
        self.person = Double(self.controller.server)

    @property
    def server(self) -> ApiServer:
        return self.controller.server

    def shown(self, key: Key) -> dict[str, Any] | None:
        """The object as the cluster has it."""
        found = (
            obj
            for at, obj in self.server.objects.items()
            if (obj.get("kind"), at.namespace, at.name) == (key.kind, key.namespace, key.name)
        )
        return next(found, None)

    async def declare(self, *declared: Declared) -> None:
        for one in declared:
            assert isinstance(one.key, Key)
            if self.shown(one.key) is not None:
                await self._change(one.key, one.spec)
                continue
            metadata: Json = {"name": one.key.name, "annotations": dict(one.annotations), "labels": dict(one.labels)}
            body: Json = {"apiVersion": f"{GROUP}/{VERSION}", "kind": one.key.kind, "metadata": metadata, "spec": dict(one.spec)}
            await self.person.create(collection(one.key.kind, one.key.namespace), body)

    async def _change(self, key: Key, spec: Json) -> None:
        """On top of what is there, as kubectl does it: again where somebody was faster."""
        while True:
            try:
                await self.person.replace(path_of(key), {**(self.shown(key) or {}), "spec": spec})
                return
            except Conflict:
                await asyncio.sleep(LOOK)

    async def delete(self, key: Key) -> None:
        obj = self.shown(key)
        if obj is not None:
            try:
                await self.person.delete(path_of(key), obj["metadata"]["uid"])
            except NotFound:
                return

    def phase(self, key: Key) -> str:
        obj = self.shown(key)
        return str(obj.get("status", {}).get("phase", "")) if obj is not None else "(gone)"

    def status_of_now(self, key: Key) -> Json | None:
        """As the cluster has it."""
        obj = self.shown(key)
        status = obj.get("status") if obj is not None else None
        if obj is None or not isinstance(status, dict) or status.get("observedGeneration") != obj["metadata"]["generation"]:
            return None
        return status

    def condition(self, key: Key, kind: str) -> str:
        conditions = ((self.shown(key) or {}).get("status") or {}).get("conditions", [])
        return next((str(c["status"]) for c in conditions if c["type"] == kind), "")

    def describe(self) -> str:
        seen = [(o["kind"], o["metadata"], o.get("status")) for at, o in self.server.objects.items() if at.custom]
        kube_controller = self.controller.kube_controller
        errors = kube_controller._last_error if kube_controller else ""
        return f"fault {self.life.fault}; in the cluster {seen}; last errors {errors}; {super().describe()}"


def play_in_cluster(
    scenario: Scenario, path: Path, fault: Fault | None, keep: bool = True, latency: float = 0.005, skew: float = 0.0
) -> ClusterRun:
    """One whole run, judged. `keep`: a crash leaves the store as it is; else it is lost with the operator. `latency`: seconds that the
    API server takes. `skew`: by so much is the clock of who takes over ahead."""

    async def main() -> ClusterRun:
        run = ClusterRun(scenario.world(), path, fault, scenario.settings, keep, latency)
        run.controller.skew = skew
        try:
            await run.alive()
            await scenario.story(run)
            scenario.judge(run)
            return run
        finally:
            await run.controller.down()

    return virtual(main)
