"""The crash harness: one numbered seam, a fault at each number, in virtual time (reliability-performance §1.5).

A scenario is a person who declares things and waits for what they show. Whatever happens to the controller, the person's
next look finds the declared state reached, and the world was treated well."""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
import os
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from reconciler.core.keys import Json, Key
from reconciler.core.profile.directories import AGENT_DIR
from reconciler.engine.clock import LoopClock
from reconciler.engine.effects import Effects
from reconciler.engine.kinds.stock import STOCK
from reconciler.engine.loop import Engine
from reconciler.engine.outbox import Outbox, Want
from reconciler.engine.parts import EngineParts
from reconciler.engine.ports import Draws, Secrets
from reconciler.engine.registry import Registration
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.declared import Declared
from reconciler.errors import GuestUnreachable, Indeterminate, NotSent, ReconcilerError, Unreachable
from reconciler.store.database import connect
from reconciler.store.migrate import prepare
from reconciler.store.sqlstore import open_store
from tests.faults.lies import WRONG_LISTS, Liar, lies_of
from tests.faults.virtualtime import VirtualLoop
from tests.world import KEEPER, FakeAgents, FakeVers, World

T = TypeVar("T")
assert AGENT_DIR

LOOK, LONGEST_LOOK = 0.2, 1.0
"""Virtual seconds from one look of a person to the next, and while nothing can have changed."""

FAULTS = ("crash-before", "crash-after", "error", "lost", "late")
"""process death before or after the effect; an error without effect; the effect without its answer; process death, and the
effect shows only afterwards."""


READS = frozenset(
    {
        *("vers.list_vms", "vers.get_vm", "vers.get_metadata", "vers.list_commits", "vers.resolve_ref"),
        *("guest.inspect", "store.load", "store.meta"),
        *("keeper.observe", "keeper.verdict", "keeper.digests", "keeper.prefixes", "keeper.file_size", "keeper.read_file"),
        "keeper.memory",
    }
)
"""Effects that change nothing: a crash before one is a crash after it, and an error of one is a lost answer of it."""


def faults_of(effect: str, number: int, every: bool = False) -> tuple[str, ...]:
    """The faults that differ at this effect, and what the platform may lie about there. A write to the store that shows late is one
    that was never made. `every`: those too that come to the same."""
    lies = lies_of(effect, number)
    if every:
        return (*FAULTS, *lies)
    if effect in READS:
        return ("crash-before", "error", *lies)
    return FAULTS[:-1] if effect.startswith("store.") else (*FAULTS, *lies)


LIES = ("odd-", "hostile-", "refused-")
"""What the kinds of answers begin with that are well formed and not true (`tests/faults/lies.py`)."""


class Crash(BaseException):
    """The controller's process is gone."""


class NoSecrets:
    def get(self, namespace: str, name: str, key: str) -> str | None:
        return None

    def config(self, namespace: str, name: str, key: str) -> str | None:
        return None

    def holds(self, kind: str, namespace: str, name: str) -> bool:
        return False

    def unread(self, kind: str, namespace: str, name: str) -> str:
        return ""

    def known(self) -> tuple[str, ...]:
        return ()


@dataclass
class Fault:
    """One fault at one number of the seam. `late_by`: seconds until a late effect shows."""

    number: int
    kind: str
    late_by: float = 3.0
    name: str = ""
    used: bool = False


@dataclass
class Life:
    """The seam over all lives of the controller in one run. `stray`: the calls of its dead that show only later."""

    fault: Fault | None = None
    names: list[str] = field(default_factory=list)
    crashed: asyncio.Event = field(default_factory=asyncio.Event)
    stray: list[asyncio.Task[object]] = field(default_factory=list)
    dead: bool = False
    liar: Liar = field(default_factory=Liar)
    settle_seconds: float = 0.0

    async def hook(self, number: int, name: str, act: Callable[[], Awaitable[T]]) -> T:
        if self.dead:
            raise Crash
        self.names.append(name)
        fault = self.fault
        if fault is None or fault.used or len(self.names) != fault.number:
            if name == "vers.list_vms":
                told: T = await self.liar.list_vms(act, asyncio.get_running_loop().time())  # type: ignore[arg-type, assignment]
                return told
            return await act()
        fault.used, fault.name = True, name
        if fault.kind in WRONG_LISTS:
            await act()
            blind = self.settle_seconds + 5 if fault.number % 2 else 0.0
            self.liar.wrong, self.liar.blind_until = fault.kind, asyncio.get_running_loop().time() + blind
            raise failure(name, happened=True)
        if fault.kind.startswith(LIES):
            lie: T = await self.liar.answer(fault.kind, act)
            return lie
        if fault.kind == "crash-before":
            self.die()
        if fault.kind == "error":
            raise failure(name, happened=False)
        if fault.kind == "late":
            if not name.startswith("store."):
                self.stray.append(asyncio.ensure_future(late(act, fault.late_by)))
            self.die()
        result = await act()
        if fault.kind == "lost":
            raise failure(name, happened=True)
        if fault.kind == "crash-after":
            self.die()
        return result

    async def crashes_within(self, seconds: float) -> None:
        """Returns then, or as soon as the controller is dead."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.crashed.wait()

    def die(self) -> None:
        self.dead = True
        self.crashed.set()
        raise Crash


async def late(act: Callable[[], Awaitable[object]], seconds: float) -> object:
    await asyncio.sleep(seconds)
    try:
        return await act()
    except ReconcilerError:
        return None


def failure(name: str, happened: bool) -> ReconcilerError:
    """What the caller sees of a call that failed on the way there or back."""
    if name in ("vers.create_vm", "vers.commit"):
        return Indeterminate("connection reset") if happened else NotSent("connection refused")
    if name.startswith(("guest.", "keeper.")):
        return GuestUnreachable("connection lost")
    return Unreachable("connection lost")


@functools.cache
def new_store() -> bytes:
    """An empty store of this release. Making one takes every migration, which no effect comes before and no fault can be put at."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        database = connect(path, create=True)
        prepare(database, upgrade=True)
        database.writes.dispose()
        assert os.listdir(folder) == [path.name], "all of it is in one file"
        return path.read_bytes()


def place_new_store(path: Path) -> None:
    """Where none is yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(new_store())


class Controller:
    """Engines over one store and one world, one after another."""

    def __init__(self, world: World, path: Path, life: Life, settings: EngineSettings) -> None:
        self.world, self.path, self.life, self.settings = world, path, life, settings
        self._tokens = itertools.count(1)
        self._uids = itertools.count(1)
        self.engine: Engine | None = None
        self.secrets: Secrets | None = None
        self.draws: Draws | None = None
        self.kinds: Sequence[Registration] = STOCK
        self.wants: Sequence[Want] = ()
        self.lives = 0
        self.clock_off = 0.0  # seconds by which the clock of the next controller is ahead of the world's

    async def up(self) -> Engine:
        self.life.dead = False
        self.life.crashed.clear()
        self.lives += 1
        place_new_store(self.path)
        store = open_store(self.path, inline=True)
        try:
            parts = EngineParts(
                self.settings, FakeVers(self.world), FakeAgents(self.world), KEEPER, store, self.secrets or NoSecrets(),
                LoopClock(self.world.now() + self.clock_off), Effects(self.life.hook), random.Random(1).random,
                lambda: f"token-{next(self._tokens)}",
                kinds=self.kinds, outbox=Outbox(self.wants) if self.wants else None, draws=self.draws,
            )  # fmt: skip
            engine = await Engine.open(parts)
        except (Crash, ReconcilerError):
            await store.aclose()
            raise
        engine.declarations._new_uid = lambda: f"uid-{next(self._uids)}"
        try:
            await engine.start()
        except (Crash, ReconcilerError):
            await engine.stop()
            await store.aclose()
            raise
        self.engine = engine
        return engine

    async def down(self) -> None:
        if self.engine is not None:
            await self.engine.stop()
            await self.engine.store.aclose()
            self.engine = None


Step = Callable[["Run"], Coroutine[Any, Any, None]]


class Run:
    """One run of a scenario under one fault."""

    def __init__(self, world: World, path: Path, fault: Fault | None, settings: EngineSettings) -> None:
        self.world, self.life = world, Life(fault, settle_seconds=settings.settle_seconds)
        world.posthumous = self.life.stray
        self.controller = Controller(world, path, self.life, settings)
        self.deadline = 3600.0

    @property
    def engine(self) -> Engine:
        assert self.controller.engine is not None
        return self.controller.engine

    async def alive(self) -> None:
        """The controller runs; after a crash it is started again, as a supervisor would."""
        for _ in range(5):
            if self.controller.engine is not None and not self.life.dead:
                return
            try:
                await self.controller.down()
                await self.controller.up()
                return
            except (Crash, ReconcilerError):
                await asyncio.sleep(1)  # as a supervisor starts it again
        raise AssertionError("the controller does not come up")

    async def declare(self, *declared: Declared) -> None:
        """As a person would: again until it was taken."""
        for one in declared:
            await self.retrying(partial(self._apply, one))

    async def _apply(self, one: Declared) -> None:
        await self.engine.declarations.apply(one)

    async def delete(self, key: Key) -> None:
        async def once() -> None:
            if self.engine.table.get(key) is not None:
                await self.engine.declarations.delete(key)

        await self.retrying(once)

    async def retrying(self, act: Callable[[], Awaitable[object]]) -> None:
        for _ in range(20):
            await self.alive()
            try:
                await act()
                return
            except Crash:
                await asyncio.sleep(1)
            except ReconcilerError:
                await asyncio.sleep(0.5)
        raise AssertionError("the declaration was never taken")

    async def until(self, what: Callable[[], bool], why: str) -> None:
        """Until it shows; the controller is kept alive meanwhile."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        end = loop.time() + self.deadline
        while loop.time() < end:
            await self.alive()
            if what():
                return
            # Before the next timer nothing changes: looks until then would only see the same.
            unchanged = min(loop.next_due() - loop.time(), LONGEST_LOOK)
            await self.life.crashes_within(max(1, math.ceil(unchanged / LOOK)) * LOOK)
        raise AssertionError(f"never came true: {why}; {self.describe()}")

    def describe(self) -> str:
        known = [item for key in self.engine.table.all_keys() if (item := self.engine.table.get(key))]
        items = [(str(i.key), i.obj.status.get("phase"), i.obj.status.get("conditions")) for i in known]
        return f"fault {self.life.fault}; objects {items}; last errors {self.engine.reporter._last}; violations {self.world.violations}"

    def phase(self, key: Key) -> str:
        item = self.engine.table.get(key)
        return str(item.obj.status.get("phase", "")) if item is not None else "(gone)"

    def status_of_now(self, key: Key) -> Json | None:
        """What an object's status says, when it is of what is declared now."""
        item = self.engine.table.get(key)
        if item is None or item.obj.status.get("observedGeneration") != item.obj.generation:
            return None
        return item.obj.status

    def condition(self, key: Key, kind: str) -> str:
        item = self.engine.table.get(key)
        conditions = item.obj.status.get("conditions") if item is not None else None
        if isinstance(conditions, list):
            for c in conditions:
                if isinstance(c, dict) and c["type"] == kind:
                    return str(c["status"])
        return ""


def virtual(main: Callable[[], Coroutine[Any, Any, T]], start: float = 0.0) -> T:
    """Run a coroutine in virtual time, which begins at `start`."""
    loop = VirtualLoop(start, end=50_000.0)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main())
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        asyncio.set_event_loop(None)
