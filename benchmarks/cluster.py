"""P4, P7: in a cluster. `python -m benchmarks.cluster [--sizes 500,2000]`; needs `make kube-assets`.

A real API server, so many lieutenants declared Suspended (nothing is made for them: what is measured is the way in and out, not the
platform), and beside ours a kopf operator with one handler that does nothing. Each runs in a process of its own.

P7: seconds from having the Lease until every object is taken and all rests, with a warm store; over kopf's seconds until its handler has
seen every object, one list of the platform, and loading the store. P4: CPU per changed object, for changes about which there is nothing to
say (a label) and for changes that make one status (a spec); over kopf's for the same; for a spec also over a
kopf whose handler writes down the generation it saw, as ours has to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import kopf

from benchmarks.common import Goal, judge, table
from benchmarks.fleet import KEEPER, SETTINGS, ReadyAgents, machine, platform
from reconciler.api.meta import GROUP, VERSION
from reconciler.app import Ways, long_lived
from reconciler.cluster import Scope, cluster_of, lease_of, operating
from reconciler.config import Config
from reconciler.core.keys import Json
from reconciler.engine.clock import LoopClock
from reconciler.engine.settings import EngineSettings
from reconciler.engine.supervision import Supervisor
from reconciler.sources.kube import raw
from reconciler.sources.kube.access import load
from reconciler.sources.kube.client import Cluster, collection
from reconciler.store.sqlstore import open_store
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings
from tests.kube.assets import find
from tests.kube.controlplane import running

NAMESPACE = "bench"
LIEUTENANTS = collection("Lieutenant", NAMESPACE)
AT_ONCE = 16
CHANGES = ("label", "spec")
LOOK = 0.5
"""Seconds between two looks whether it is done; looking costs what is measured."""


def tell(**told: float) -> None:
    """One line to the process that started us."""
    print(json.dumps(told), flush=True)


def complain(line: str) -> None:
    """What the operator says to people: nothing, when all is well."""
    print(line, file=sys.stderr, flush=True)


async def until(met: Callable[[], bool], pause: float = LOOK) -> None:
    while not met():  # noqa: ASYNC110  # nothing tells of it; looking is cheap
        await asyncio.sleep(pause)


async def settled() -> None:
    """Until this process does nothing: what it began with, such as the watch's first list, is over."""
    cpu = -1.0
    while time.process_time() - cpu > LOOK / 25:
        cpu = time.process_time()
        await asyncio.sleep(LOOK)


# --- in processes of their own --------------------------------------------------------------------------------------------------------


async def floor(count: int, answers: bool = False) -> None:
    """kopf, with a handler that only counts; `answers`: and writes down which generation it has seen, as every controller must."""
    begun, seen, access = time.perf_counter(), [0], load()
    registry = kopf.OperatorRegistry()

    async def event(body: kopf.Body, patch: kopf.Patch, **_: object) -> None:
        generation = body["metadata"]["generation"]
        if not answers:
            seen[0] += 1
        elif body.get("status", {}).get("observedGeneration") != generation:
            patch.status["observedGeneration"] = generation
        else:
            seen[0] += 1

    async def login(**_: object) -> kopf.ConnectionInfo:
        token = (await access.headers())["Authorization"].removeprefix("Bearer ")
        return kopf.ConnectionInfo(server=access.server, token=token, insecure=True)

    kopf.on.event(GROUP, VERSION, "lieutenants", registry=registry, id="event")(event)
    kopf.on.login(registry=registry, id="login")(login)
    own = kopf.OperatorSettings()  # as anybody starts it, only silent
    own.scanning.disabled, own.posting.enabled, own.peering.standalone = True, False, True
    operator = asyncio.create_task(kopf.operator(registry=registry, settings=own, namespaces=[NAMESPACE], standalone=True))
    await until(lambda: seen[0] >= count, 0.02)
    tell(seconds=time.perf_counter() - begun)
    for number in range(len(CHANGES)):
        await settled()
        cpu = time.process_time()
        tell(ready=1)
        await until(lambda number=number: seen[0] >= count * (number + 2))  # type: ignore[misc]
        tell(cpu=time.process_time() - cpu)
    operator.cancel()
    await asyncio.gather(operator, return_exceptions=True)


async def ours(count: int, state: Path) -> None:
    """The operator, over machines without inside."""
    long_lived()  # as the program begins
    begun, config = time.perf_counter(), Config(state=state)

    @asynccontextmanager
    async def make_ways(_: Config, now: Callable[[], float], supervisor: Supervisor, /) -> AsyncIterator[Ways]:
        vers = VersClient(Settings(os.environ))
        yield Ways(vers, ReadyAgents(LoopClock()), KEEPER)
        await vers.aclose()

    def tune(settings: EngineSettings) -> EngineSettings:
        return replace(SETTINGS, installation=settings.installation, fleet=settings.fleet)

    async with cluster_of(load()) as cluster:
        scope = Scope((NAMESPACE,))
        lease = lease_of(config, cluster, scope, str(uuid.uuid4()), complain)
        await lease.acquire()
        waited = time.perf_counter() - begun  # until the Lease of the one that was killed is over
        async with operating(config, cluster, scope, lease, complain, make_ways=make_ways, tune=tune) as operator:
            kube_controller, engine = operator.kube_controller, operator.engine

            def rests() -> bool:
                return len(kube_controller.seen) >= count and engine.converged() and kube_controller.rests()

            def followed(number: int) -> bool:
                objs = kube_controller.seen.values()
                heard = all(raw.metadata(obj).get("labels") == {"change": str(number)} for obj in objs)
                return heard and all(raw.status(obj).get("observedGeneration") == raw.generation(obj) for obj in objs) and rests()

            await until(rests, 0.02)
            tell(seconds=time.perf_counter() - begun, lease=waited, writes=kube_controller.sink.writes)
            for number in range(len(CHANGES)):
                await settled()
                cpu, writes = time.process_time(), kube_controller.sink.writes
                tell(ready=1)
                await until(lambda number=number: followed(number))  # type: ignore[misc]
                tell(cpu=time.process_time() - cpu, writes=kube_controller.sink.writes - writes)
            cpu, writes = time.process_time(), kube_controller.sink.writes
            await asyncio.sleep(10)
            tell(cpu=time.process_time() - cpu, writes=kube_controller.sink.writes - writes)
        await lease.release()


async def parts(state: Path) -> None:
    """What else a start needs: the store, and one list of the platform."""
    begun = time.perf_counter()
    store, vers = open_store(state / "state.db"), VersClient(Settings(os.environ))
    await store.load()
    await vers.list_vms()
    tell(seconds=time.perf_counter() - begun)
    await store.aclose()
    await vers.aclose()


# --- the one that starts them -----------------------------------------------------------------------------------------------------------


class Child:
    """One of the above, line by line."""

    def __init__(self, *words: str, env: dict[str, str]) -> None:
        command = [sys.executable, "-m", "benchmarks.cluster", "--child", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})

    async def line(self) -> dict[str, float]:
        assert self.process.stdout is not None
        said = await asyncio.to_thread(self.process.stdout.readline)
        assert said, f"it ended with {self.process.wait()}"
        found: dict[str, float] = json.loads(said)
        return found

    async def end(self) -> None:
        await asyncio.to_thread(self.process.wait)


async def everywhere(cluster: Cluster, count: int, act: Callable[[str], object]) -> None:
    """For every lieutenant, `AT_ONCE` at once."""
    names = iter([f"lt-{number:05}" for number in range(count)])

    async def work() -> None:
        for name in names:
            await act(name)  # type: ignore[misc]

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def change(cluster: Cluster, count: int, number: int, what: str) -> None:
    spec: Json = {"role": f"measure {what} {uuid.uuid4()}"} if what == "spec" else {}
    body: Json = {"metadata": {"labels": {"change": str(number)}}, **({"spec": spec} if spec else {})}
    await everywhere(cluster, count, lambda name: cluster.merge(f"{LIEUTENANTS}/{name}", body))


async def follow(child: Child, cluster: Cluster, count: int, since: int = 0) -> list[dict[str, float]]:
    """Both kinds of change under it, labelled with numbers from `since` on; what it told of each."""
    found = []
    for number, what in enumerate(CHANGES, since):
        await child.line()
        await change(cluster, count, number, what)
        found.append(await child.line())
    return found


async def peer(what: str, count: int, state: Path, env: dict[str, str], cluster: Cluster) -> list[dict[str, float]]:
    """Both kinds of change under a kopf."""
    child = Child(what, str(count), str(state), env={**env, "KUBECONFIG": env["ADMIN"]})
    await child.line()
    found = await follow(child, cluster, count, len(CHANGES))
    await child.end()
    return found


async def measure(count: int, env: dict[str, str], state: Path) -> tuple[tuple[object, ...], list[Goal]]:
    async with cluster_of(load(environ={"KUBECONFIG": env["ADMIN"]})) as cluster:
        spec: Json = {"role": "measure", "mode": "Suspended", "profileRef": {"name": "lightweight"}}

        def made(name: str) -> object:
            body: Json = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Lieutenant", "metadata": {"name": name}, "spec": spec}
            return cluster.create(LIEUTENANTS, body)

        await everywhere(cluster, count, made)
        first = Child("ours", str(count), str(state), env=env)
        cold = await first.line()
        first.process.kill()
        await first.end()
        kopfs = Child("floor", str(count), str(state), env=env)
        seen = await kopfs.line()
        kopfs.process.kill()
        await kopfs.end()
        rest = Child("parts", str(count), str(state), env=env)
        others = await rest.line()
        await rest.end()
        second = Child("ours", str(count), str(state), env=env)
        warm = await second.line()
        mine = await follow(second, cluster, count)
        quiet = await second.line()
        await second.end()
        bare, answering = [await peer(what, count, state, env, cluster) for what in ("floor", "answers")]
    least = seen["seconds"] + others["seconds"]
    each = [(ours["cpu"] / count * 1e3, floor["cpu"] / count * 1e3) for ours, floor in zip(mine, bare, strict=True)]
    answered = mine[1]["cpu"] / answering[1]["cpu"]
    ratio = (warm["seconds"] - warm["lease"]) / least
    times = (
        cold["seconds"] - cold["lease"],
        cold["writes"] / count,
        seen["seconds"],
        others["seconds"],
        warm["seconds"] - warm["lease"],
        ratio,
    )
    written = mine[0]["writes"] / count, mine[1]["writes"] / count, int(quiet["writes"])
    row = (count, *times, int(warm["writes"]), *(value for pair in each for value in pair), answering[1]["cpu"] / count * 1e3, *written)
    return row, [
        Goal(f"P7 N = {count:,}", ratio, 1.5, 1.2, at_least=False),
        Goal(f"P7 writes of a warm start, N = {count:,}", warm["writes"], 0, 0, at_least=False),
        Goal(f"P4 CPU a label, N = {count:,}", each[0][0] / each[0][1], 2.0, 1.5, at_least=False),
        Goal(f"P4 CPU a spec, N = {count:,}", each[1][0] / each[1][1], 2.0, 1.5, at_least=False),
        Goal(f"P4 CPU a spec, beside a kopf that answers too, N = {count:,}", answered, 2.0, 1.5, at_least=False),
        Goal(f"P4 writes a spec, N = {count:,}", mine[1]["writes"] / count, 1, 1, at_least=False),
        Goal(f"P4 writes at rest, N = {count:,}", quiet["writes"], 0, 0, at_least=False),
    ]


@contextmanager
def places() -> Iterator[dict[str, str]]:
    """An API server with our kinds, and a platform; how to reach them."""
    with running(find(os.environ)) as plane, platform(0.0) as at:
        plane.install_crds()
        plane.install_rbac()
        plane.namespace(NAMESPACE)
        yield {**at.environment, "KUBECONFIG": str(plane.operator.kubeconfig), "ADMIN": str(plane.admin.kubeconfig)}


HEAD = (
    "N", "cold s", "writes each", "kopf s", "store, list s", "warm s", "÷ floor", "writes",
    "label ms", "kopf ms", "spec ms", "kopf ms", "it answers ms", "writes a label", "a spec", "at rest",
)  # fmt: skip


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", default="500,2000", help="numbers of objects")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, count, state = arguments.child[0], int(arguments.child[1]), Path(arguments.child[2])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asyncio.run(
                {
                    "ours": lambda: ours(count, state),
                    "floor": lambda: floor(count),
                    "answers": lambda: floor(count, True),
                    "parts": lambda: parts(state),
                }[what]()
            )
        return 0
    print(machine())
    rows, goals = [], []
    for count in (int(size) for size in arguments.sizes.split(",")):
        with places() as env, tempfile.TemporaryDirectory() as directory:
            row, judged = asyncio.run(measure(count, env, Path(directory)))
        rows.append(row)
        goals += judged
    table("In a cluster", HEAD, rows)
    return judge(goals)


if __name__ == "__main__":
    raise SystemExit(main())
