"""Everything that runs in the background: whatever ends one of them, it comes back, is counted and told, and `/healthz` knows (G-66)."""

from __future__ import annotations

import ast
import asyncio
import itertools
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import httpx2 as httpx
import pytest

from reconciler.config import Config
from reconciler.core.keys import Json, Key
from reconciler.core.snapshot.rendered import SecretRef
from reconciler.engine.clock import LoopClock
from reconciler.engine.loop import Engine
from reconciler.engine.outbox import Outbox
from reconciler.engine.parts import EngineParts
from reconciler.engine.queue import WorkQueue
from reconciler.engine.settings import EngineSettings
from reconciler.engine.supervision import PAUSE, Ended, Supervisor
from reconciler.errors import Unreachable
from reconciler.notify.delivery import Delivery, Origin, delivering
from reconciler.notify.settings import read_sinks
from reconciler.otel.export import Otlp
from reconciler.otel.settings import Wanted
from reconciler.serve.control import ControlServer, ask
from reconciler.serve.http import Listening, served
from reconciler.serve.metrics import ControllerCollector, Sources, exposition
from reconciler.serve.server import Address
from reconciler.sources.follower import Follower
from reconciler.sources.kube.access import Access
from reconciler.sources.kube.client import Cluster, collection
from reconciler.sources.kube.controller import KubeController
from reconciler.sources.kube.lease import Lease
from reconciler.sources.kube.orphans import OrphanRequests
from reconciler.sources.kube.secrets import KubeSecrets
from reconciler.sources.kube.watching import OnEvent, Watching
from reconciler.store.sqlstore import open_store
from tests.engine.stage import LT
from tests.engine.test_credentials import Answers
from tests.faults.harness import virtual
from tests.kube.double import ApiServer, Double, Follow
from tests.kube.operating import RealTime
from tests.world import KEEPER, FakeAgents, FakeVers

PACKAGE = Path(__file__).parents[2] / "reconciler"

STARTERS = ("create_task", "ensure_future", "Thread", "run_coroutine_threadsafe")
UNSUPERVISED = {
    ("agent/transport.py", "together"): "awaited by whoever calls it, and ended with it",
    ("agent/ssh.py", "get"): "a connection that is being opened; whoever needs one waits for it and is told",
    ("agent/host.py", "tools"): "looked up once, on demand; whoever needs it waits for it and is told",
    ("agent/execs.py", "run"): "feeds one command, and is ended with it",
    ("engine/supervision.py", "start"): "the supervisor itself",
    ("engine/supervision.py", "once"): "the supervisor itself",
    ("engine/observe/fleet.py", "list_since"): "one list; everybody who asked waits for it and is told",
    ("engine/meanwhile.py", "_begin"): "awaited, or ended, by the act that it is told of, which fails where it failed",
    ("sources/files/source.py", "watch"): "ended together; one that fails ends the watch, which is supervised",
    ("otel/export.py", "in_thread"): "one export; the task that asked waits for it and is told",
    ("sources/files/watch.py", "watch"): "ended with the watch that began it, which looks at both before each wait",
    ("sources/kube/watching.py", "start"): "the watch's thread, which begins anew by itself; its sign of life is part of /healthz",
    ("store/writer.py", "__init__"): "a thread whose every failure is the outcome of the writes at hand, after which it goes on",
    ("cli/cp.py", "_fetch_directory"): "one command of a person",
    ("cli/cp.py", "_put_directory"): "one command of a person",
    ("cli/attach.py", "_attach"): "one command of a person",
    ("cli/exec.py", "_pass_on"): "one command of a person",
    ("serve/surface.py", "__call__"): "a plan, awaited by those who ask for it",
    ("cli/live.py", "below_the_lines"): "a picture beside the lines, which tell everything; ended with them",
    ("cli/runner.py", "serve"): "the work of the process: its end is the process's own, with an exit code",
    ("cli/run.py", "_serve"): "the work of the process: awaited, its two parts are supervised",
}
"""By file and function: what begins a task of its own without the supervisor, and why its end can't go unnoticed."""


class Injected(Exception):
    """A defect, anywhere."""


def calls_in(node: ast.AST, function: str = "") -> Iterator[tuple[str, ast.Call]]:
    """(function that it is in, call)."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = node.name
    if isinstance(node, ast.Call):
        yield function, node
    for inner in ast.iter_child_nodes(node):
        yield from calls_in(inner, function)


@lru_cache
def calls() -> list[tuple[str, str, ast.Call, str]]:
    """(file, function, call, name of what is called) of the whole product but the simulator, a program of its own."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        file = str(path.relative_to(PACKAGE))
        if file.startswith("vers/simulator/"):
            continue
        for function, node in calls_in(ast.parse(path.read_text("utf-8"))):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            found.append((file, function, node, name))
    return found


def labels() -> set[str]:
    """What is kept running, as the code says it."""
    found = set()
    for _, _, call, name in calls():
        first = call.args[0] if call.args else None
        if name in ("start", "keep", "once") and len(call.args) > 1 and isinstance(first, ast.Constant) and isinstance(first.value, str):
            found.add(first.value)
    return found


def test_nothing_runs_in_the_background_without_a_supervisor() -> None:
    begun = {(file, function) for file, function, _, name in calls() if name in STARTERS}
    assert begun - set(UNSUPERVISED) == set(), "start it by `Supervisor.start`, or say here why its end can't go unnoticed"
    assert set(UNSUPERVISED) - begun == set(), "gone"


# --- the supervisor -----------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-66")
@pytest.mark.parametrize("how", ["returns", "raises", "raises an expected error", "is cancelled by what it waits for"])
def test_whatever_ends_a_background_task_it_begins_anew_after_a_growing_pause_is_counted_and_told(how: str) -> None:
    async def main() -> None:
        supervisor, ended, begun = Supervisor(), list[Ended](), list[float]()
        clock = asyncio.get_running_loop().time

        async def told(one: Ended) -> None:
            ended.append(one)

        async def run() -> None:
            begun.append(clock())
            await asyncio.sleep(0.5)
            if how == "raises":
                raise Injected("a secret value")
            if how == "raises an expected error":
                raise Unreachable("no answer", "there", "wait")
            if how == "is cancelled by what it waits for":
                other = asyncio.ensure_future(asyncio.sleep(10))
                other.cancel()
                await other

        supervisor.subscribe(told)
        task = supervisor.start("a thing", run)
        await asyncio.sleep(0.25)
        assert supervisor.healthy()
        assert supervisor.labels() == {"a thing"}
        await asyncio.sleep(0.5)
        assert (supervisor.healthy(), supervisor.down()) == (False, ("a thing",))
        await asyncio.sleep(PAUSE)
        assert supervisor.healthy()
        await asyncio.sleep(600)
        pauses = [later - earlier - 0.5 for earlier, later in itertools.pairwise(begun)]
        assert pauses[:4] == pytest.approx([1.0, 2.0, 4.0, 8.0])
        assert pauses[-1] == pytest.approx(60.0)
        assert supervisor.restarts["a thing"] == len(ended) == len(begun)
        assert {one.task for one in ended} == {"a thing"}
        assert "secret" not in ended[0].why
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert (supervisor.labels(), supervisor.healthy()) == (frozenset(), True), "who ends it on purpose does end it"

    virtual(main)


def test_a_listener_that_fails_or_hangs_keeps_no_task_from_coming_back() -> None:
    async def main() -> None:
        supervisor, begun = Supervisor(), list[int]()

        async def fails(one: Ended) -> None:
            raise Injected

        async def hangs(one: Ended) -> None:
            await asyncio.sleep(1e6)

        async def run() -> None:
            begun.append(1)
            raise Injected

        supervisor.subscribe(fails)
        supervisor.subscribe(hangs)
        task = supervisor.start("a thing", run)
        await asyncio.sleep(100)
        task.cancel()
        assert len(begun) > 3
        assert supervisor.restarts["telling of an end"] >= len(begun)

    virtual(main)


def test_an_object_whose_look_was_cut_short_is_looked_at_again() -> None:
    async def main() -> None:
        queue, looks, key = WorkQueue(), list[Key](), Key("Task", "default", "t")

        async def look(one: Key) -> None:
            looks.append(one)
            if len(looks) == 1:
                raise Injected

        task = Supervisor().start("worker", lambda: queue.serve(look))
        queue.add(key)
        await asyncio.sleep(10)
        task.cancel()
        assert looks == [key, key]
        assert queue.idle()

    virtual(main)


# --- all of them --------------------------------------------------------------------------------------------------------------


class Quiet:
    """A source that never has anything."""

    async def watch(self, changed: Callable[[], None]) -> None:
        changed()
        await asyncio.Event().wait()

    async def scan(self) -> int:
        return 0

    async def apply(self, found: int) -> None:
        return None


@dataclass
class Everything:
    """A process with all that the product ever runs in the background."""

    supervisor: Supervisor
    engine: Engine
    http: httpx.AsyncClient
    state: Path
    sources: Sources
    server: ApiServer


@asynccontextmanager
async def everything(state: Path) -> AsyncIterator[Everything]:
    supervisor, world = Supervisor(pause=0.05), RealTime()
    server = ApiServer(world.now)
    cluster = cast(Cluster, Double(server))
    config = Config(state=state, environ={"RECONCILER_HTTP_TOKEN": "a-token-of-some-length"})
    async with AsyncExitStack() as stack:
        store = open_store(state / "state.db")
        stack.push_async_callback(store.aclose)
        secrets = KubeSecrets(cluster, supervisor)
        stack.push_async_callback(secrets.aclose)

        def watcher(access: Access, namespaces: Sequence[str] | None, on_event: OnEvent, restarted: Callable[[], None]) -> Watching:
            return Follow(server, namespaces, on_event)

        controller = KubeController(cluster, secrets, ["default"], "one", lambda line: None, watcher=watcher, supervisor=supervisor)
        settings = EngineSettings(installation="i", resync_seconds=0.2, workers=2)
        parts = EngineParts(
            settings,
            FakeVers(world),
            FakeAgents(world),
            KEEPER,
            store,
            secrets,
            LoopClock(),
            backend=controller.sink,
            supervisor=supervisor,
            draws=Answers({"mint": "a-value-of-it"}),
        )
        (sink,) = read_sinks([{"name": "ops", "command": ["true"]}], "c.toml")
        outbox = Outbox([sink.want])
        engine = await Engine.open(replace(parts, outbox=outbox))
        stack.push_async_callback(engine.stop)
        stack.push_async_callback(controller.close)
        await controller.open(engine, "uid")
        minted = SecretRef("mint", "", "Program", ("mint",), 3600)
        engine.secrets.uses(LT, frozenset([minted]))
        engine.secrets.look("default", minted)
        delivery = Delivery(outbox, engine.store, engine.effects, Origin("i", "default"), lambda: 0.5)
        await stack.enter_async_context(delivering([sink], delivery, secrets, {"PATH": os.environ["PATH"]}, time.time, supervisor))
        await secrets.want("default", [("secrets", "s")])
        lease, waiting = (Lease(cluster, "ns", "l", who, lambda line: None, supervisor=supervisor) for who in ("one", "two"))
        await lease.acquire()
        stack.push_async_callback(lease.release)
        candidacy = supervisor.start("lease candidacy", waiting.acquire, may_end=True)
        stack.callback(candidacy.cancel)
        requests = OrphanRequests(lease, engine.orphans, supervisor=supervisor)
        requests.start()
        stack.push_async_callback(requests.stop)

        async def handle(request: Json) -> Json:
            return {"ok": "pong"}

        control = ControlServer(state, handle, supervisor)
        await control.start()
        stack.push_async_callback(control.stop)
        follower = Follower(Quiet(), lambda line: None, supervisor, 0.05)
        following = asyncio.ensure_future(follower.run())
        stack.callback(following.cancel)
        sources = Sources(lambda: engine, dict, lambda: True, following=follower.healthy, supervisor=supervisor)
        http_server = await stack.enter_async_context(served(sources, config, Listening(Address("127.0.0.1", 0))))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{http_server.port}", trust_env=False))
        otlp = Otlp(Wanted(True, True, span_seconds=0.2, metric_seconds=0.2), "1.0", "here")
        otlp.attach(engine)
        await stack.enter_async_context(otlp.exporting(ControllerCollector(sources).collect, supervisor))
        yield Everything(supervisor, engine, http, state, sources, server)


def kept(label: str) -> list[asyncio.Task[Any]]:
    """The tasks that keep this one running: they run `Supervisor.keep` and nothing above it."""
    found = []
    for task in asyncio.all_tasks():
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is not None and frame.f_code is Supervisor.keep.__code__ and frame.f_locals["label"] == label:
            found.append(task)
    return found


async def until(holds: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(20):
        try:
            while not holds():  # noqa: ASYNC110  # any of several things may bring it about
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            raise AssertionError(f"never came true: {what}") from None


def injected(task: asyncio.Task[Any]) -> bool:
    """Make what it waits for raise, or cancel it where that is a task itself; False when it waits for nothing this moment."""
    waits = cast(Any, task)._fut_waiter
    if waits is None or waits.done():
        return False
    if isinstance(waits, asyncio.Task):
        return waits.cancel()
    waits.set_exception(Injected())
    return True


@pytest.mark.guarantee("G-66")
async def test_every_background_task_comes_back_is_counted_and_told(tmp_path: Path) -> None:
    kept_running = labels() - {"keeper connection"}  # tests/agent/test_protocol.py: that one ends with what it belongs to
    async with everything(tmp_path) as running:
        supervisor, events = running.supervisor, list[tuple[str, str]]()
        running.engine.subscribe(events=lambda event: events.append((event.reason, event.message)))
        await until(lambda: kept_running <= supervisor.labels(), "all of them run")
        assert kept_running == supervisor.labels(), "each is known to the code by a literal, and tried here"
        for label in sorted(supervisor.labels()):
            task = kept(label)[0]
            await until(lambda: injected(task), label)  # noqa: B023
            await until(lambda: supervisor.restarts[label] >= 1, label)  # noqa: B023
            await until(lambda: label in supervisor.labels() and supervisor.healthy(), label)  # noqa: B023
            assert not task.done(), label
            assert any(reason == "BackgroundTaskEnded" and message.startswith(f"{label} ended") for reason, message in events), label
        told = exposition(ControllerCollector(running.sources)).decode()
        for label in supervisor.labels():
            count = re.search(rf'reconciler_background_restarts_total\{{task="{label}"\}} (\d+)', told)
            assert count, label
            assert int(count[1]) >= 1, label
        # And all of it works: probes, the control socket, the way from the cluster through the loop and back.
        assert (await running.http.get("/healthz")).status_code == 200
        assert await ask(running.state, {"op": "ping"}) == {"ok": "pong"}
        body: Json = {
            "apiVersion": "fleet.vers.sh/v1alpha1",
            "kind": "Lieutenant",
            "metadata": {"name": "a"},
            "spec": {"role": "Keep the API", "profileRef": {"name": "lightweight"}},
        }
        await Double(running.server).create(collection("Lieutenant", "default"), body)
        await until(lambda: any(obj.get("status", {}).get("phase") == "Idle" for obj in running.server.objects.values()), "it works")


async def test_healthz_says_when_a_background_task_is_down(tmp_path: Path) -> None:
    async with everything(tmp_path) as running:

        async def run() -> None:
            raise Injected

        supervisor = running.supervisor
        task = asyncio.ensure_future(supervisor.keep("a thing", run, pause=30.0))
        await until(lambda: supervisor.down() == ("a thing",), "it waits")
        assert (await running.http.get("/healthz")).status_code == 503
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await running.http.get("/healthz")).status_code == 200
