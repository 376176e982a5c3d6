"""The same documents through three doors — kubectl, files, the command line — and what each comes to: its plan, its acts, its statuses."""

from __future__ import annotations

import asyncio
import difflib
import json
import pprint
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.api.registry import INTERNAL
from reconciler.app import engine_over
from reconciler.core.keys import Json
from reconciler.engine.backend import NullBackend
from reconciler.engine.loop import Engine
from reconciler.engine.planning import plan_everything
from reconciler.engine.ports import Event
from reconciler.engine.state.declared import Declared
from reconciler.sources.files.scan import Scanner
from reconciler.sources.files.stack import MARKER
from reconciler.sources.files.sync import FileSync
from reconciler.sources.kube.raw import without_nulls
from reconciler.store.sqlstore import open_store
from reconciler.views.forecast import planned
from tests.faults.harness import NoSecrets
from tests.kube.controlplane import Namespace
from tests.kube.operating import Person, RealTime, charge, config, tuned, until, ways_in

VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"00000000-0000-4000-8000-\d{12}"), "VM"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(-[a-z0-9-]+(?=-g\d))?"), "UID"),
    (re.compile(r"UID\.[0-9a-f]{16}"), "UID.INSTALLATION"),
    (re.compile(r'"pid": \d+'), '"pid": 0'),
)
"""What no two runs of one door have in common either; and what a tree declares has a uid of its own in a cluster, elsewhere its tree's and
its place."""

UNDER_WAY = ("Pending", "Progressing", "Unknown")
"""Phases of a tree that name the nodes that were on their way when somebody looked: no acts either."""

MOMENTS = ("Pending", "Provisioning", "Starting", "Unreachable", "Idle", "Working", "Suspending", "Suspended")
"""Phases between which a look may or may not fall: no acts."""


@dataclass
class Story:
    """What one door came to."""

    plans: list[tuple[str, str, str, str]] = field(default_factory=list)
    acts: dict[str, list[str]] = field(default_factory=dict)
    status: dict[str, Json] = field(default_factory=dict)

    def listen(self, event: Event) -> None:
        if event.reason in (UNDER_WAY if event.key.kind == "VMTree" else MOMENTS):
            return
        self.acts.setdefault(event.key.name, []).append(f"{event.type} {event.reason} {plain(event.message)}")

    async def plan(self, engine: Engine) -> None:
        self.plans = [(p.key.name, p.verb, plain(p.target), plain(p.reason)) for p in planned((await plan_everything(engine)).steps)]


def plain(text: str) -> str:
    for pattern, word in VOLATILE:
        text = pattern.sub(word, text)
    return text


Settled = Callable[[Engine, str], bool]
"""Whether what is declared in a namespace is true, as far as it can be."""


@dataclass(frozen=True)
class Stage:
    """What is declared, by a controller that was not there while it was, and until when that one acts."""

    text: str
    settled: Settled


def known(engine: Engine) -> dict[str, Json]:
    """Of every object that an engine has."""
    return {f"{key.kind}/{key.name}": item.obj.status for key in engine.table.all_keys() if (item := engine.table.get(key))}


def statuses(objects: dict[str, Json]) -> dict[str, Json]:
    return {name: json.loads(plain(json.dumps(without_nulls(status), sort_keys=True))) for name, status in sorted(objects.items())}


Declare = Callable[[Engine, Path], Awaitable[None]]


async def by_file(engine: Engine, folder: Path) -> None:
    """What is not declared any more goes after the second clean look."""
    now = 0.0
    sync = FileSync(engine.table, engine.declarations, lambda line: None, lambda: now)
    for _ in range(2):
        found = await asyncio.to_thread(Scanner(folder.name).scan, [folder])
        assert found.clean
        await sync.round(found)
        now += sync.look_again or 0.0
    assert not sync.prunings or not sync.blocked


async def by_command(engine: Engine, folder: Path) -> None:
    found = await asyncio.to_thread(Scanner(folder.name).scan, [folder])
    for one in found.objects:
        await engine.declarations.apply(Declared(one.key, one.spec, one.labels, one.annotations, "api"))


@asynccontextmanager
async def without_cluster(state: Path, world: RealTime) -> AsyncIterator[Engine]:
    store = await asyncio.to_thread(open_store, state / "state.db")
    ways = ways_in(world)
    async with engine_over(config(state), store, "cluster/ns", NoSecrets(), backend=NullBackend(), make_ways=ways, tune=tuned) as engine:
        try:
            yield engine
        finally:
            await engine.stop()
            await store.aclose()


async def through(declare: Declare, folder: Path, state: Path, world: RealTime, settled: Settled) -> Story:
    """The documents of a folder, whose name is the namespace, as files or by command."""
    story = Story()
    async with without_cluster(state, world) as engine:

        async def catch_up() -> None:
            await declare(engine, folder)
            await story.plan(engine)

        engine.recorder.listen(story.listen)
        await engine.start(catch_up)
        await until(lambda: settled(engine, folder.name), "the fleet is as declared")
        story.status = statuses(known(engine))
    return story


async def through_the_cluster(cluster: Namespace, text: str, state: Path, world: RealTime, settled: Settled) -> Story:
    """The same documents by `kubectl apply`."""
    story, person = Story(), Person(cluster)
    await person.apply(text)

    def prepare(engine: Engine) -> None:
        engine.recorder.listen(story.listen)
        start = engine.start

        async def planned(catch_up: Callable[[], Awaitable[None]] | None = None) -> None:
            async def and_plan() -> None:
                assert catch_up is not None
                await catch_up()
                await story.plan(engine)

            await start(and_plan)

        engine.start = planned  # type: ignore[method-assign]

    async with charge(cluster, state, world, prepare=prepare) as operator:
        await until(lambda: settled(operator.engine, cluster.name) and operator.kube_controller.rests(), "the fleet is as declared")
        await asyncio.sleep(0.5)
        found = [one for kind in ("bp", "vmt", "lt", "ltask") for one in await person.list(kind)]
        own = {name: status for name, status in known(operator.engine).items() if name.partition("/")[0] in INTERNAL}
        story.status = statuses({f"{one['kind']}/{one['metadata']['name']}": one["status"] for one in found} | own)
    return story


async def three(cluster: Namespace, tmp_path: Path, *stages: Stage) -> list[tuple[Story, Story, Story]]:
    """Of each stage, one after the other over the same machines: by files, by the command line, by kubectl."""
    folder, (filing, commanding, applying) = tmp_path / cluster.name, (RealTime(), RealTime(), RealTime())
    folder.mkdir()
    (folder / MARKER).write_text("uuid: 5b1f0d7e-6c0e-4f0b-9a53-00000000c1a5\nprune: true\nmaxDelete: 10\n")
    for state in ("file", "api", "kube"):
        (tmp_path / "state" / state).mkdir(parents=True)
    told: list[tuple[Story, Story, Story]] = []
    for stage in stages:
        (folder / "fleet.yaml").write_text(stage.text)
        filed = await through(by_file, folder, tmp_path / "state" / "file", filing, stage.settled)
        commanded = await through(by_command, folder, tmp_path / "state" / "api", commanding, stage.settled)
        applied = await through_the_cluster(cluster, stage.text, tmp_path / "state" / "kube", applying, stage.settled)
        told.append((filed, commanded, applied))
    assert [world.violations for world in (filing, commanding, applying)] == [[], [], []]
    return told


def must_be_alike(one: Story, *others: Story) -> None:
    """Raises `AssertionError` that says in what they differ."""
    for other in others:
        for part in ("plans", "acts", "status"):
            told, of_other = (pprint.pformat(getattr(story, part), width=130).splitlines() for story in (one, other))
            assert told == of_other, "\n".join(difflib.unified_diff(told, of_other, part, "of another door", lineterm=""))
