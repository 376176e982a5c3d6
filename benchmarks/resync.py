"""P2, P3, P6: what a fleet that rests costs. `python -m benchmarks.resync [--quick]`

A converged fleet is left alone for some resyncs, by the controller's own clockwork. Counted are the platform's calls and the store's
writes (a resync is one list, no call for a single machine, and no write, whatever the size); measured is the CPU of the whole process
for one resync. Floor, in the same process: decoding the very same list with orjson and walking through it once, again and again (the
caches are warm, so this is the strict one, and the one that counts). Beside it the same at the pace of resyncs, when caches are cold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from benchmarks.common import Goal, judge, table
from benchmarks.converge import SLOPE, slope
from benchmarks.fleet import Platform, controller, converge, declare, machine, platform, ready
from reconciler.app import long_lived
from reconciler.engine.loop import Engine

RESYNCS = 5
RESYNC_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One fleet at rest. `cpu`, `floor`, `paced`: seconds a resync; `lists`: an interval; the other counts: a resync."""

    count: int
    cpu: float
    floor: float
    paced: float
    body: int
    lists: float
    gets: float
    changes: float
    writes: float


def body_of(at: Platform) -> bytes:
    """The list, as the platform sends it."""
    request = urllib.request.Request(f"{at.url}/api/v1/vms", headers={"Authorization": f"Bearer {at.api_key}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        body: bytes = answer.read()
    return body


def walk(body: bytes) -> dict[str, tuple[str, dict[str, str]]]:
    """The least that anybody has to do with a list: decode it, and look at every machine in it."""
    rows = orjson.loads(body)
    return {row["vm_id"]: (row["state"], row["labels"]) for row in rows}


def cpu_of(act: Callable[[], object], pause: float = 0.0, times: int = 7) -> float:
    """Median CPU seconds, with pauses between."""
    took = []
    for _ in range(times):
        time.sleep(pause)
        begun = time.process_time()
        act()
        took.append(time.process_time() - begun)
    return statistics.median(took)


async def lists(engine: Engine, more: int) -> None:
    """Until the controller has asked for so many more lists, and digested them."""
    wanted = engine.effects.calls["vers.list_vms"] + more
    while engine.effects.calls["vers.list_vms"] < wanted or not engine.queue.idle():  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(0.05)


async def measure(at: Platform, count: int, directory: Path, resync_seconds: float = RESYNC_SECONDS) -> Sample:
    """A fleet of `count`, converged, then `RESYNCS` resyncs. Raises `AssertionError` when it did not converge."""
    async with controller(at, directory, resync_seconds) as engine:
        await declare(engine, count)
        await converge(engine)
        assert ready(engine) == count, f"{ready(engine)} of {count} are Ready"
        await lists(engine, 2)  # what was still on its way is over
        calls, cpu, begun = dict(engine.effects.calls), time.process_time(), time.perf_counter()
        await lists(engine, RESYNCS)
        cpu = time.process_time() - cpu
        passed = (time.perf_counter() - begun) / resync_seconds
        more = {name: number - calls.get(name, 0) for name, number in engine.effects.calls.items()}
    body = await asyncio.to_thread(body_of, at)
    made = more["vers.list_vms"]
    changing = ("vers.create_vm", "vers.delete_vm", "vers.suspend_vm", "vers.resume_vm", "vers.set_labels", "vers.commit")
    return Sample(
        count=count,
        cpu=cpu / made,
        floor=await asyncio.to_thread(cpu_of, lambda: walk(body)),
        paced=await asyncio.to_thread(cpu_of, lambda: walk(body), resync_seconds),
        body=len(body),
        lists=made / max(passed, RESYNCS),  # fewer than one an interval when this process is kept waiting
        gets=sum(more.get(name, 0) for name in ("vers.get_vm", "vers.get_metadata")) / made,
        changes=sum(more.get(name, 0) for name in changing) / made,
        writes=more.get("store.write", 0) / made,
    )


def apart(count: int) -> Sample:
    """One sample, in a process of its own: CPU is of nothing else."""
    command = [sys.executable, "-m", "benchmarks.resync", "--one", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, stdin=subprocess.DEVNULL)
    return Sample(**json.loads(done.stdout))


def one(count: int) -> Sample:
    """One sample, with a platform and a directory of its own."""
    long_lived()  # as the program begins
    with platform(0.0) as at, tempfile.TemporaryDirectory() as directory:
        return asyncio.run(measure(at, count, Path(directory)))


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="small fleets: a smoke test, not a measurement")
    parser.add_argument("--one", metavar="COUNT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(asdict(one(int(arguments.one)))))
        return 0

    print(machine())
    samples = [apart(count) for count in ((20, 100) if arguments.quick else (100, 1_000, 10_000))]
    rows = [
        (s.count, s.body, s.lists, s.gets, s.changes, s.writes, s.floor * 1e3, s.paced * 1e3, s.cpu * 1e3, s.cpu / s.floor) for s in samples
    ]
    head = ("N", "bytes", "lists an interval", "GETs", "changes", "writes", "floor ms CPU", "at pace", "ours ms CPU", "÷ floor")
    table("One resync of a fleet at rest", head, rows)
    largest = samples[-1]
    return judge(
        [
            Goal("P2 lists an interval", max(s.lists for s in samples), 1.0, 1.0, at_least=False),
            Goal("P2 calls for single machines", max(s.gets for s in samples), 0.0, 0.0, at_least=False),
            Goal("P3 changes on the platform", max(s.changes for s in samples), 0.0, 0.0, at_least=False),
            Goal("P3 writes to the store", max(s.writes for s in samples), 0.0, 0.0, at_least=False),
            *(
                [
                    Goal(f"P3 CPU ÷ floor, N = {largest.count:,}", largest.cpu / largest.floor, 4.0, 2.0, at_least=False),
                    Goal("P6 slope of CPU", slope([(float(s.count), s.cpu) for s in samples]), SLOPE, 1.0, at_least=False),
                ]
                if not arguments.quick
                else []
            ),
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
