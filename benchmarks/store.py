"""P12: what a durable intent costs. `python -m benchmarks.store [--quick] [--runs N]`

Fifty writers each await one durable intent after another. Floor, measured in the same run: the same fifty writers with sqlite3 alone, one
thread that writes all waiting rows by one `executemany` and one commit (WAL, synchronous=FULL), without any of our code. Every transaction
costs one fdatasync of the WAL (synchronous=FULL), so intents ÷ transactions says how many share one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from queue import Empty, SimpleQueue

from benchmarks.common import Goal, Spread, interleave, judge, table
from reconciler.engine.ports import Intent, Json, Key, PutIntent, PutObject, SlotOwner, StoredObject
from reconciler.store.sqlstore import open_store

OWNER = SlotOwner.of(Key("Lieutenant", "default", "a"), "uid")
WRITERS = 50
OBJECTS = 10_000

Row = tuple[str, str, str, str, str, str, int, str, float, float | None, str]


async def _fifty(write: Callable[[str], Awaitable[None]], each: int) -> float:
    """Intents a second, with each of the writers waiting for its own."""

    async def writer(number: int) -> None:
        for turn in range(each):
            await write(f"{number}-{turn}")

    begun = time.perf_counter()
    await asyncio.gather(*(writer(number) for number in range(WRITERS)))
    return WRITERS * each / (time.perf_counter() - begun)


def ours(each: int, shared: list[float]) -> float:
    """Through the store's own interface; adds to `shared` how many intents shared a transaction."""

    async def run(path: Path) -> float:
        store = open_store(path)

        async def write(token: str) -> None:
            await store.write([PutIntent(Intent(token, OWNER, "create", 1, {"source": {"root": "default"}}, 1.0))])

        await write("warm")
        before = store.stats
        rate = await _fifty(write, each)
        shared.append((store.stats.batches - before.batches) / (store.stats.commits - before.commits))
        await store.aclose()
        return rate

    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(run(Path(directory) / "store.db"))


def floor(each: int) -> float:
    """sqlite3, one thread, nothing else."""
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(_floor(Path(directory) / "floor.db", each))


async def _floor(path: Path, each: int) -> float:
    loop = asyncio.get_running_loop()
    queue: SimpleQueue[tuple[Row, asyncio.Future[None]] | None] = SimpleQueue()
    flusher = threading.Thread(target=_flush, args=(path, queue, loop))
    flusher.start()

    async def write(token: str) -> None:
        done: asyncio.Future[None] = loop.create_future()
        row: Row = (token, "Lieutenant", "default", "a", "uid", "create", 1, '{"source":{"root":"default"}}', 1.0, None, "")
        queue.put((row, done))
        await done

    try:
        await write("warm")
        return await _fifty(write, each)
    finally:
        queue.put(None)
        flusher.join()


def _flush(path: Path, queue: SimpleQueue[tuple[Row, asyncio.Future[None]] | None], loop: asyncio.AbstractEventLoop) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    texts = ", ".join(f"{name} TEXT" for name in ("kind", "namespace", "name", "uid", "verb"))
    others = "attempt INTEGER, payload TEXT, sent_at REAL, server_time REAL, outcome TEXT"
    db.execute(f"CREATE TABLE intents (token TEXT PRIMARY KEY, {texts}, {others})")
    db.execute("CREATE INDEX intents_by_time ON intents (sent_at)")
    while (first := queue.get()) is not None:
        jobs = [first]
        try:
            while (job := queue.get_nowait()) is not None:
                jobs.append(job)
        except Empty:
            pass
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT OR REPLACE INTO intents VALUES (?,?,?,?,?,?,?,?,?,?,?)", [row for row, _ in jobs])
        db.execute("COMMIT")
        loop.call_soon_threadsafe(_resolve, jobs)
    db.close()


def _resolve(jobs: list[tuple[Row, asyncio.Future[None]]]) -> None:
    for _, done in jobs:
        done.set_result(None)


def fdatasync_seconds(times: int = 200) -> float:
    """Median of one fdatasync after a write of one page, where the stores of this run live."""
    took = []
    with tempfile.TemporaryFile() as file:
        for _ in range(times):
            file.write(b"\0" * 4096)
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begun)
    return statistics.median(took)


def cold_load(count: int) -> tuple[float, float]:
    """Seconds to put `count` objects and to load them in a store opened anew."""

    async def run(path: Path) -> tuple[float, float]:
        spec: Json = {"role": "x" * 500, "limits": {"a": 1, "b": [1, 2, 3]}, "labels": {"team": "a"}}
        status: Json = {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "m" * 40}] * 3}
        objects = [
            StoredObject(
                Key("Lieutenant", "default", f"n{n:05}"), f"uid-{n}", 1, 1, 1.0, spec, status=status, record={"vm": {"id": str(n)}}
            )
            for n in range(count)
        ]
        store = open_store(path)
        begun = time.perf_counter()
        await store.write([PutObject(obj, 0) for obj in objects])
        wrote = time.perf_counter() - begun
        await store.aclose()
        store = open_store(path)
        begun = time.perf_counter()
        image = await store.load()
        took = time.perf_counter() - begun
        assert len(image.objects) == count
        await store.aclose()
        return wrote, took

    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(run(Path(directory) / "store.db"))


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="few and short runs: a smoke test, not a measurement")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of each (default 5)")
    arguments = parser.parse_args()
    each, runs = (40, 3) if arguments.quick else (400, max(arguments.runs, 1))

    shared: list[float] = []
    rates = interleave({"floor: sqlite3 alone": lambda: floor(each), "store": lambda: ours(each, shared)}, runs)
    ratios = [mine / its for mine, its in zip(rates["store"], rates["floor: sqlite3 alone"], strict=True)]
    sync = fdatasync_seconds()
    rows = [(name, *(getattr(Spread.of(values), part) for part in ("median", "low", "high"))) for name, values in rates.items()]
    table(f"Durable intents a second, {WRITERS} writers, {each} each, {runs} runs", ("", "median", "min", "max"), rows)
    print(f"\nfdatasync: {sync * 1e3:.3f} ms, so {1 / sync:,.0f}/s would be the limit without sharing commits")

    loads = [cold_load(OBJECTS) for _ in range(1 if arguments.quick else 3)]
    spreads = [("put in one batch", Spread.of([put for put, _ in loads])), ("load", Spread.of([load for _, load in loads]))]
    rows = [(name, spread.median, spread.low, spread.high) for name, spread in spreads]
    table(f"{OBJECTS:,} objects, seconds", ("", "median", "min", "max"), rows)
    return judge(
        [
            Goal("P12 intents ÷ commits", Spread.of(shared).median, 10, WRITERS),
            Goal("P12 intents/s ÷ floor", Spread.of(ratios).median, 0.3, 0.6),
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
