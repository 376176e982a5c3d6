"""P1, P6: a fleet from nothing. `python -m benchmarks.converge [--quick] [--runs N]`

Time from the first declaration until every lieutenant is Ready, over the time that the platform's calls alone would take: necessary
calls × latency of one ÷ calls at once. Necessary are two calls a lieutenant (make the machine, mark it as ours) and one list. The latency
is measured in the same run, one call after another. `raw` is the same two calls for as many machines with aiohttp and nothing else: what
this machine, which also runs the platform, can do at best. Each sample runs in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

from benchmarks.common import Goal, Spread, judge, table
from benchmarks.fleet import CONCURRENCY, Platform, controller, converge, declare, machine, platform, ready, resident_bytes
from reconciler.app import long_lived

CALLS_EACH = 2
TARGETS = {0.02: (1.30, 1.20), 0.1: (1.10, 1.06)}
SLOPE = 1.05
HEAD = (
    *("N", "latency", "runs", "floor s", "raw s", "ours s", "÷ floor", "min", "max"),
    *("÷ raw", "CPU s", "KB each", "lists", "calls each", "at once"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One fleet. Seconds, bytes of memory that the fleet added, and calls the platform counted."""

    count: int
    latency: float
    seconds: float
    declaring: float
    cpu: float
    raw: float
    memory: int
    calls: int
    creates: int
    lists: int
    most_at_once: int

    @property
    def floor(self) -> float:
        """Seconds that the necessary calls take when nothing else takes any."""
        return (CALLS_EACH * self.count + 1) * self.latency / CONCURRENCY


async def latency_of(at: Platform, times: int) -> float:
    """Median seconds of one call, one after another."""
    took = []
    async with _session(at) as session:
        for _ in range(times):
            begun = time.perf_counter()
            async with session.get(f"{at.url}/api/v1/vms") as answer:
                await answer.read()
            took.append(time.perf_counter() - begun)
    return statistics.median(took)


async def raw(at: Platform, count: int) -> float:
    """Seconds for the same calls without any of our code; the machines are deleted again."""
    made: list[str] = []
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        labels = {f"label-{n}": "x" * 30 for n in range(8)}
        async with slots:
            body = {"vm_config": {"image_name": "default", "labels": labels}}
            async with session.post(f"{at.url}/api/v1/vm/new_root?wait_boot=false", json=body) as answer:
                vm_id = str((await answer.json())["vm_id"])
        made.append(vm_id)
        async with slots, session.patch(f"{at.url}/api/v1/vm/{vm_id}/label", json={"labels": labels}) as answer:
            await answer.read()

    async def remove(session: aiohttp.ClientSession, vm_id: str) -> None:
        async with slots, session.delete(f"{at.url}/api/v1/vm/{vm_id}") as answer:
            await answer.read()

    async with _session(at) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(one(session, number) for number in range(count)))
        took = time.perf_counter() - begun
        await asyncio.gather(*(remove(session, vm_id) for vm_id in made))
    return took


def _session(at: Platform) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONCURRENCY), headers={"Authorization": f"Bearer {at.api_key}"}, trust_env=False
    )


async def measure(at: Platform, count: int, directory: Path, calls_for_latency: int = 200) -> Sample:
    """One fleet from nothing to Ready. Raises `AssertionError` when it did not get there or made a machine too many."""
    latency = await latency_of(at, calls_for_latency)
    bare = await raw(at, count)
    before = await asyncio.to_thread(at.state)
    async with controller(at, directory) as engine:
        memory, cpu, begun = resident_bytes(), time.process_time(), time.perf_counter()
        await declare(engine, count)
        declaring = time.perf_counter() - begun
        await converge(engine)
        seconds, cpu, memory = time.perf_counter() - begun, time.process_time() - cpu, resident_bytes() - memory
        assert ready(engine) == count, f"{ready(engine)} of {count} are Ready"
    after = await asyncio.to_thread(at.state)
    calls = {name: number - _counts(before).get(name, 0) for name, number in _counts(after).items()}
    assert calls.get("new_root") == count, f"{calls.get('new_root')} machines made for {count} lieutenants"
    most = after["max_in_flight"]
    assert isinstance(most, int)
    return Sample(
        count, latency, seconds, declaring, cpu, bare, memory, sum(calls.values()), calls["new_root"], calls.get("list_vms", 0), most
    )  # fmt: skip


def _counts(state: Mapping[str, object]) -> dict[str, int]:
    counts = state["counts"]
    assert isinstance(counts, dict)
    return {str(name): int(number) for name, number in counts.items()}


def one(count: int, latency: float) -> Sample:
    """One sample, with a platform and a directory of its own."""
    long_lived()  # as the program begins
    with platform(latency) as at, tempfile.TemporaryDirectory() as directory:
        return asyncio.run(measure(at, count, Path(directory)))


def apart(count: int, latency: float) -> Sample:
    """One sample, in a process of its own: memory and CPU are of nothing else."""
    command = [sys.executable, "-m", "benchmarks.converge", "--one", str(count), str(latency)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, stdin=subprocess.DEVNULL)
    return Sample(**json.loads(done.stdout))


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Exponent b of the best y = a·x^b."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    return statistics.linear_regression(xs, ys).slope


def median(taken: Sequence[Sample], value: Callable[[Sample], float]) -> float:
    return Spread.of([value(sample) for sample in taken]).median


def row(taken: Sequence[Sample]) -> tuple[object, ...]:
    """One line of the table: the run of median time, and the spread of the ratio."""
    s = sorted(taken, key=lambda one: one.seconds)[len(taken) // 2]
    ratio = Spread.of([one.seconds / one.floor for one in taken])
    times = (s.floor, s.raw, s.seconds, ratio.median, ratio.low, ratio.high, s.seconds / s.raw, s.cpu)
    return s.count, f"{s.latency * 1e3:.0f} ms", len(taken), *times, s.memory / s.count / 1024, s.lists, s.calls / s.count, s.most_at_once


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="small fleets, once: a smoke test, not a measurement")
    parser.add_argument("--runs", type=int, default=5, help="runs of each size up to 1,000 (default 5)")
    parser.add_argument("--one", nargs=2, metavar=("COUNT", "LATENCY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(asdict(one(int(arguments.one[0]), float(arguments.one[1])))))
        return 0

    print(machine())
    sizes = (20, 100) if arguments.quick else (100, 1_000, 10_000)
    latencies = (0.02,) if arguments.quick else tuple(TARGETS)
    plan = [(count, latency) for count in sizes for latency in latencies]
    samples: dict[tuple[int, float], list[Sample]] = {case: [] for case in plan}
    for turn in range(1 if arguments.quick else arguments.runs):
        for count, latency in plan:
            if turn == 0 or count <= 1_000:
                samples[count, latency].append(apart(count, latency))

    table(f"A fleet from nothing to Ready, at most {CONCURRENCY} calls at once", HEAD, [row(taken) for taken in samples.values()])
    goals = [
        Goal(f"P1 N = 1,000, {latency * 1e3:g} ms", median(taken, lambda s: s.seconds / s.floor), *TARGETS[latency], at_least=False)
        for (count, latency), taken in samples.items()
        if count == 1_000
    ]
    line = {count: taken for (count, latency), taken in samples.items() if latency == latencies[0]}
    of: dict[str, Callable[[Sample], float]] = {"time": lambda s: s.seconds, "CPU": lambda s: s.cpu, "memory": lambda s: max(1, s.memory)}
    for what, value in of.items():
        points = [(float(count), median(taken, value)) for count, taken in line.items()]
        goals.append(Goal(f"P6 slope of {what}, {sizes[0]:,} to {sizes[-1]:,}", slope(points), SLOPE, 1.0, at_least=False))
    return judge(goals) if not arguments.quick else 0


if __name__ == "__main__":
    raise SystemExit(main())
