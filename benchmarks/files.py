"""P7, P11, P13: what a folder of declarations costs. `python -m benchmarks.files [--quick] [--count N]`

N lieutenants that sleep, one a file. P7: a controller starts over a store that has all of them, until everything was read and is in
force; what the documents say is kept from the life before, as `reconciler run` does. Floor, in the same process: loading the store, one
list of the platform, and reading every file with PyYAML's C loader. P13: how late the event loop is while the files are read and put in
force, and how long it computes at a stretch then, which other programs on the machine do not disturb; floors: the same probe in a loop
that does nothing else, while another process reads the same files with PyYAML, and while a thread of this one does. P11: one file is
replaced, until the call that this asks for is handed to the HTTP client; floor: until the same watcher alone says so. The platform is
simulated, everything else is real.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from watchfiles import awatch

from benchmarks.common import Goal, judge, table
from benchmarks.fleet import Platform, controller, machine, platform
from reconciler.app import long_lived
from reconciler.cli.run import READING
from reconciler.engine.loop import Engine
from reconciler.engine.supervision import Supervisor
from reconciler.sources.documents.kept import Kept
from reconciler.sources.files.source import FileSource
from reconciler.sources.files.sync import FileSync
from reconciler.sources.files.watch import _DEBOUNCE_MS, _QUIET_MS
from reconciler.sources.follower import Follower
from reconciler.store.sqlstore import open_store

TEXT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {{name: lt-{n:05}, labels: {{team: blue}}}}
spec:
  role: Keep number {n}
  profileRef: {{name: lightweight}}
  mode: {mode}
"""
PROBE = 0.005
"""Seconds between two looks at how late the loop is."""


@dataclass
class Lag:
    """How late a task is that sleeps `PROBE` seconds, again and again."""

    seconds: list[float] = field(default_factory=list)
    longest: float = 0.0
    """Seconds of a processor that one step of the loop took."""

    async def run(self) -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(PROBE)
            self.seconds.append(time.perf_counter() - begun - PROBE)

    def p999(self) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.999))]


@asynccontextmanager
async def lag() -> AsyncIterator[Lag]:
    probe = Lag()
    task = asyncio.create_task(probe.run())
    step = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        begun = time.thread_time()
        step(handle)
        probe.longest = max(probe.longest, time.thread_time() - begun)

    asyncio.Handle._run = timed  # type: ignore[method-assign, assignment]
    try:
        yield probe
    finally:
        asyncio.Handle._run = step  # type: ignore[method-assign]
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def file_of(root: Path, n: int) -> Path:
    return root / f"d{n % 100:02}" / f"lt-{n:05}.yaml"


def write(root: Path, n: int, mode: str) -> None:
    """As editors do: beside it, then in its place."""
    path = file_of(root, n)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(TEXT.format(n=n, mode=mode))
    fresh.rename(path)


@dataclass
class Followed:
    engine: Engine
    follower: Follower


@asynccontextmanager
async def followed(at: Platform, folder: Path, root: Path) -> AsyncIterator[Followed]:
    """The controller over that store, following that folder."""
    async with controller(at, folder, patience=READING) as engine:
        sync = FileSync(engine.table, engine.declarations, lambda line: print(line, file=sys.stderr))
        kept = Kept(folder / "documents.json")
        follower = Follower(FileSource([root], "default", sync, engine, kept=kept), lambda line: print(line, file=sys.stderr), Supervisor())
        task = asyncio.create_task(follower.run())
        try:
            yield Followed(engine, follower)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def in_force(one: Followed) -> None:
    while not one.follower.current():  # noqa: ASYNC110  # nothing tells of it; looking is cheap
        await asyncio.sleep(0.002)


async def rests(one: Followed) -> None:
    while not (one.follower.current() and one.engine.converged()):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


def read_all(root: Path) -> int:
    """The least that anybody has to do with files: read them, and parse them in C."""
    return sum(1 for path in sorted(root.rglob("*.yaml")) for _ in yaml.load_all(path.read_bytes(), Loader=yaml.CSafeLoader))


READ = "import pathlib, sys, yaml\nfor path in sorted(pathlib.Path(sys.argv[1]).rglob('*.yaml')):\n" + (
    "    list(yaml.load_all(path.read_bytes(), Loader=yaml.CSafeLoader))\n"
)
"""The program that does just that in a process of its own."""


async def beside(root: Path) -> float:
    """How late a loop is that does nothing, while another process reads the files."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", READ, str(root), stdin=asyncio.subprocess.DEVNULL)
    async with lag() as probe:
        assert await process.wait() == 0
    return probe.p999()


async def floor(at: Platform, folder: Path, root: Path) -> tuple[float, float]:
    """Seconds for the store, one list, and all files, one after the other; and how late the loop is while a thread reads the files."""
    begun = time.perf_counter()
    store = open_store(folder / "state.db")
    await store.load()
    await store.aclose()
    at.state()
    async with lag() as probe:
        await asyncio.to_thread(read_all, root)
    return time.perf_counter() - begun, probe.p999()


async def noticed(folder: Path, runs: int) -> list[float]:
    """How long the watcher alone takes to say that a file was replaced."""
    found: list[float] = []
    for run in range(runs):
        begun = 0.0

        async def replace(number: int = run) -> None:
            nonlocal begun
            await asyncio.sleep(0.3)
            begun = time.perf_counter()
            write(folder, number, "Suspended")

        task = asyncio.create_task(replace())
        async for _ in awatch(folder, debounce=_DEBOUNCE_MS, step=_QUIET_MS):
            found.append(time.perf_counter() - begun)
            break
        await task
    return found


async def changes(one: Followed, root: Path, runs: int) -> list[float]:
    """One file after the other says Running: how long until its create is handed to the client."""
    sent = asyncio.Event()
    vers = one.engine.vers
    create = vers.create_vm

    async def noting(*args: object, **kwargs: object) -> object:
        sent.set()
        return await create(*args, **kwargs)  # type: ignore[arg-type]

    vers.create_vm = noting  # type: ignore[method-assign, assignment]
    found: list[float] = []
    for run in range(runs):
        await rests(one)
        await asyncio.sleep(1.0)
        sent.clear()
        begun = time.perf_counter()
        write(root, run * 7, "Running")
        await sent.wait()
        found.append(time.perf_counter() - begun)
    return found


async def measure(count: int, runs: int) -> int:
    with tempfile.TemporaryDirectory() as made, platform(0.0) as at:
        folder, root = Path(made), Path(made) / "fleet"
        for n in range(count):
            write(root, n, "Suspended")
        async with followed(at, folder, root) as one:
            await rests(one)
        floors, starts, lags, apart, idle, steps = [], [], [], [], [], []
        for _ in range(3):
            seconds, late = await floor(at, folder, root)
            floors.append(seconds)
            apart.append(await beside(root))
            idle.append(late)
            begun = time.perf_counter()
            async with followed(at, folder, root) as one, lag() as probe:
                await in_force(one)
                starts.append(time.perf_counter() - begun)
                lags.append(probe.p999())
                steps.append(probe.longest)
        (folder / "beside").mkdir()
        alone = await noticed(folder / "beside", runs)
        async with followed(at, folder, root) as one:
            await rests(one)
            took = await changes(one, root, runs)
    return told(count, floors, starts, apart, idle, lags, steps, alone, took)


def told(
    count: int,
    floors: Sequence[float],
    starts: Sequence[float],
    apart: Sequence[float],
    idle: Sequence[float],
    lags: Sequence[float],
    steps: Sequence[float],
    alone: Sequence[float],
    took: Sequence[float],
) -> int:
    middle = statistics.median
    rows = [
        ("P7 start until all is in force", middle(starts), middle(floors), middle(starts) / middle(floors)),
        ("P13 loop lag meanwhile, p99.9; another process reads", middle(lags), middle(apart), middle(lags) / max(middle(apart), 1e-6)),
        ("P13 the same; a thread of the process reads", middle(lags), middle(idle), middle(lags) / max(middle(idle), 1e-6)),
        ("P13 longest step of the loop, of a processor", max(steps), PROBE, max(steps) / PROBE),
        ("P11 change of one file until its call", middle(took), middle(alone), middle(took) / middle(alone)),
    ]
    table(f"{count:,} files, one lieutenant each; seconds", ("", "measured", "floor", "ratio"), rows)
    return judge(
        [
            Goal("P7 start ÷ floor", middle(starts) / middle(floors), 1.5, 1.2, at_least=False),
            Goal("P13 loop lag p99.9, s", middle(lags), 0.05, 0.02, at_least=False),
            Goal("P13 longest step, s", max(steps), 0.05, 0.02, at_least=False),
            Goal("P11 change to call p50, s", middle(took), 0.1, 0.03, at_least=False),
        ]
    )


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a small folder: a smoke test, not a measurement")
    parser.add_argument("--count", type=int, default=10_000, help="files (default 10,000)")
    arguments = parser.parse_args()
    long_lived()
    print(machine(), os.path.basename(__file__))
    return asyncio.run(measure(200 if arguments.quick else arguments.count, 3 if arguments.quick else 9))


if __name__ == "__main__":
    raise SystemExit(main())
