"""P9, P1 with trees: hierarchies. `python -m benchmarks.trees [--quick]`

A tree of five levels is suspended, leaves first, and resumed, roots first. Its floor is one call to the platform for each level, as if any
number could be under way at once: latency of one call × levels; `bounded` adds what the calls of all nodes take at so many at once as the
client allows. The latency is measured in the same run. That trees grow from nothing is P1: its floor is what P1 counts as necessary (two
calls a machine, one list) at so many at once, and three calls for each level one after another: a machine is made, marked, and seen in a
list before those below it begin. N = 1,000 are two trees. The query is `tree` over 2,000 nodes (every branch with what its status says) and
the rows of `get vmtree`, in milliseconds, beside what it takes to decode the same objects and walk through them, and what was measured of
the system that this one replaces. Each sample runs in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from benchmarks.common import Goal, Spread, judge, table
from benchmarks.converge import CALLS_EACH, latency_of
from benchmarks.fleet import CONCURRENCY, Platform, controller, machine, platform
from reconciler.app import long_lived
from reconciler.core.keys import Json, Key
from reconciler.engine.loop import Engine
from reconciler.engine.ports import StoredObject
from reconciler.engine.state.declared import Declared
from reconciler.views.documents import document, tables
from reconciler.views.tree import Forest

TREE = Key("VMTree", "default", "prod")
DEPTH = 5
LATENCY = 0.02
TARGET = 1.3
MOST = 500
"""Nodes that one tree may have."""

REPLACED = {"tree": (67.0, 25.0), "list": (18.0, 6.0)}
"""Milliseconds that the system which this one replaces takes for a query of the tree and for a list of it: the slowest, the quickest."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One tree: seconds until it stood, until it slept, until it ran again; the latency of one call, and the CPU of both moves."""

    count: int
    latency: float
    grown: float
    suspended: float
    resumed: float
    cpu: float

    @property
    def floor(self) -> float:
        """With any number of calls under way at once."""
        return self.latency * DEPTH

    @property
    def bounded(self) -> float:
        """With as many as the client has."""
        return self.floor + self.count * self.latency / CONCURRENCY

    @property
    def growing(self) -> float:
        """From nothing."""
        return 3 * self.floor + (CALLS_EACH * self.count + 1) * self.latency / CONCURRENCY


def nodes(count: int) -> Json:
    """So many nodes on five levels: agents below, machines without one above."""
    wide = count // DEPTH
    made: list[Json] = []
    for number in range(count):
        level, place = divmod(number, wide)
        one: Json = {"name": f"n{number}", "category": "Agent" if level == DEPTH - 1 else "Infra", "profileRef": {"name": "lightweight"}}
        made.append({**one, "parent": f"n{number - wide + (place // 2 - place)}"} if level else one)
    return {"nodes": list(made), "limits": {"maxConcurrentCreates": 50}}


async def declare(engine: Engine, count: int, mode: str) -> float:
    """Declare so many nodes and wait until all of them stand; the seconds that took."""
    begun = time.perf_counter()
    trees = {Key("VMTree", "default", f"prod-{first}"): min(MOST, count - first) for first in range(0, count, MOST)}
    for tree, size in trees.items():
        await engine.declarations.apply(Declared(tree, {**nodes(size), "mode": mode}, {}, {}, "api"))
    while not all(stands(engine, tree, mode) for tree in trees):  # noqa: ASYNC110  # nothing tells of it; looking is cheap
        await asyncio.sleep(0.005)
    return time.perf_counter() - begun


def stands(engine: Engine, tree: Key, mode: str) -> bool:
    item = engine.table.get(tree)
    status: Json = item.obj.status if item is not None else {}
    current = item is not None and status.get("observedGeneration") == item.obj.generation
    return current and status.get("phase") == ("Ready" if mode == "Running" else "Suspended")


async def measure(at: Platform, count: int, directory: Path) -> Sample:
    """One tree through its life. Raises `AssertionError` when the platform saw another number of machines."""
    latency = await latency_of(at, 100)
    async with controller(at, directory) as engine:
        grown = await declare(engine, count, "Running")
        cpu = time.process_time()
        suspended = await declare(engine, count, "Suspended")
        resumed = await declare(engine, count, "Running")
        cpu = time.process_time() - cpu
    counts = (await asyncio.to_thread(at.state))["counts"]
    assert isinstance(counts, dict)
    assert counts.get("new_root") == count, counts
    return Sample(count, latency, grown, suspended, resumed, cpu)


def one(count: int) -> Sample:
    """One sample, with a platform and a directory of its own."""
    long_lived()  # as the program begins
    with platform(LATENCY) as at, tempfile.TemporaryDirectory() as directory:
        return asyncio.run(measure(at, count, Path(directory)))


def apart(count: int) -> Sample:
    """One sample, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.trees", "--one", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, stdin=subprocess.DEVNULL)
    return Sample(**json.loads(done.stdout))


def objects(count: int) -> Iterator[StoredObject]:
    """Trees of 500 nodes and less, with what they declare, so many nodes together."""
    condition: Json = {"type": "Ready", "status": "True", "reason": "Running", "message": "It runs as declared."}
    status: Json = {"observedGeneration": 1, "phase": "Idle", "conditions": [condition], "vm": {"id": "vm", "state": "running"}}
    plain = StoredObject(TREE, "uid", 1, 1, 0.0, {})
    for first in range(0, count, 500):
        size, name = min(500, count - first), f"tree-{first}"
        spec = nodes(size)
        yield replace(plain, key=Key("VMTree", "default", name), spec=spec, status=status)
        for number in range(size):
            kind = "Lieutenant" if number >= size - size // DEPTH else "Machine"
            key = Key(kind, "default", f"{name}-n{number}" if kind == "Lieutenant" else f"{name}/n{number}")
            labels = {"fleet.vers.sh/tree": name, "fleet.vers.sh/node": f"n{number}"}
            yield replace(plain, key=key, spec={"profileRef": {"name": "lightweight"}}, status=status, labels=labels)


def took(act: Callable[[], object], times: int) -> Spread:
    """Milliseconds."""
    samples = []
    for _ in range(times):
        begun = time.perf_counter()
        act()
        samples.append((time.perf_counter() - begun) * 1e3)
    return Spread.of(samples)


def walked(value: object) -> int:
    """How many values are in it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(walked, inner))


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="one small tree: a smoke test, not a measurement")
    parser.add_argument("--one", type=int, metavar="COUNT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(asdict(one(arguments.one))))
        return 0
    print(machine())
    grown_head = ("N", "floor s", "grown s", "÷ floor")
    head = ("N", "floor s", "bounded s", "suspended s", "÷ floor", "÷ bounded", "resumed s", "÷ floor", "÷ bounded", "CPU s")
    grown, rows, goals = [], [], []
    for count in (10,) if arguments.quick else (50, 500, 1_000):
        s = apart(count)
        grown.append((s.count, s.growing, s.grown, s.grown / s.growing))
        goals.append(Goal(f"P1 grown ÷ floor, N = {count:,}", s.grown / s.growing, TARGET, 1.2, at_least=False))
        if count > MOST:
            continue
        moves = [(took, took / s.floor, took / s.bounded) for took in (s.suspended, s.resumed)]
        of = zip(("suspended", "resumed"), moves, strict=True)
        goals += [Goal(f"P9 {move} ÷ bounded, N = {count:,}", ratio, TARGET, 1.0, at_least=False) for move, (_, _, ratio) in of]
        rows.append((s.count, s.floor, s.bounded, *moves[0], *moves[1], s.cpu))
    table(f"P1 with trees: from nothing, {DEPTH} levels, at most {CONCURRENCY} calls at once", grown_head, grown)
    table(f"P9: a tree of {DEPTH} levels, suspended and resumed", head, rows)
    sizes = (50, 200) if arguments.quick else (500, 2_000)
    queries = []
    for size in sizes:
        stored = list(objects(size))
        trees = [obj for obj in stored if obj.key.kind == "VMTree"]
        text = orjson.dumps([{"spec": obj.spec, "status": obj.status} for obj in stored])
        floor = took(lambda text=text: walked(orjson.loads(text)), 5)  # type: ignore[misc]
        whole = took(lambda stored=stored: Forest(stored).whole(), 5)  # type: ignore[misc]
        rows_of = took(lambda trees=trees: tables([document(obj) for obj in trees], False, False, 0.0), 5)  # type: ignore[misc]
        queries.append((size, floor.median, whole.median, whole.low, whole.high, whole.median / floor.median, rows_of.median))
    table("A query of trees, milliseconds", ("nodes", "decoded and walked", "tree", "min", "max", "÷", "get vmtree"), queries)
    for name, took_ms in (("tree", queries[-1][2]), ("list", queries[-1][6])):
        slowest, quickest = REPLACED[name]
        goals.append(Goal(f"{name} over {sizes[-1]:,} nodes, ms, beside the system replaced", took_ms, slowest, quickest, at_least=False))
    return judge(goals) if not arguments.quick else 0


if __name__ == "__main__":
    raise SystemExit(main())
