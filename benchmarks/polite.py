"""P10: politeness. `python -m benchmarks.polite [--quick] [--runs N]`

How many calls a fleet from nothing takes, over the necessary ones: two a machine (make it, mark it as ours) and one list for each resync
that goes by. Once on a platform that is well, and once where one call in twenty is refused, with 429 (`Retry-After: 1`) and 503 by turns,
so that refused creates and refused marks are both among them. Never more calls may be under way than the client is allowed, no machine may
be made twice (a create is never repeated blind), and what 429 asks for is waited. These are counts, and hold at any load; the seconds are
told beside them. Each sample runs in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.common import Goal, judge, table
from benchmarks.converge import CALLS_EACH
from benchmarks.fleet import CONCURRENCY, SETTINGS, Platform, controller, converge, declare, machine, platform, ready
from reconciler.app import long_lived

LATENCY = 0.02
SETTLE = 5.0
"""Seconds in which the outcome of a create in doubt may still show here; a minute by default, in which nothing is called but lists."""

ONE_IN = 20
RETRY_AFTER = 1.0
QUIET, TROUBLED = "quiet", "5 % refused"
TARGETS = {QUIET: 1.05, TROUBLED: 1.2}


@dataclass(frozen=True, slots=True)
class Sample:
    """One fleet. `calls`: answered by the platform; `lists` are among them. `refused`: those that were answered with 429 or 503;
    `asked`: answers with 429 after which the client itself tried again, `waited`: pauses of at least what they asked for."""

    count: int
    seconds: float
    calls: int
    lists: int
    creates: int
    made: int
    refused: int
    asked: int
    waited: int
    most_at_once: int

    @property
    def necessary(self) -> float:
        return CALLS_EACH * self.count + 1 + self.seconds / SETTINGS.resync_seconds

    @property
    def ratio(self) -> float:
        return self.calls / self.necessary


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value


def refusals(count: int) -> tuple[str, ...]:
    """Of so many calls one in twenty, 429 and 503 by turns."""
    struck = range(ONE_IN, count + 1, ONE_IN)
    return tuple(f"*:{number}:before:{('429', '503')[turn % 2]}" for turn, number in enumerate(struck))


async def measure(at: Platform, count: int, directory: Path, settle: float = SETTLE) -> Sample:
    """One fleet from nothing to Ready. Raises `AssertionError` when it did not get there, or made a machine too many."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(seconds)

    before = at.state()
    async with controller(at, directory, settle_seconds=settle, sleep=sleep) as engine:
        begun = time.perf_counter()
        await declare(engine, count)
        while ready(engine) < count:
            await converge(engine)
            await asyncio.sleep(0.05)
        seconds = time.perf_counter() - begun
        answered = dict(engine.tools.vers.answered())
    state = await asyncio.to_thread(at.state)
    counts, earlier = state["counts"], before["counts"]
    assert isinstance(counts, dict)
    assert isinstance(earlier, dict)
    calls = {name: _whole(counts[name]) - _whole(earlier.get(name, 0)) for name in counts}
    vms, most = state["vms"], state["max_in_flight"]
    assert isinstance(vms, list | dict)
    assert isinstance(most, int)
    assert len(vms) == count, f"{len(vms)} machines for {count} lieutenants"
    refused = sum(number for (_, status), number in answered.items() if status in ("429", "503"))
    asked = sum(number for (method, status), number in answered.items() if status == "429" and method != "POST")
    waited = sum(pause >= RETRY_AFTER for pause in pauses)
    return Sample(
        count, seconds, sum(calls.values()), calls.get("list_vms", 0), calls.get("new_root", 0), len(vms), refused, asked, waited, most
    )  # fmt: skip


def one(case: str, count: int) -> Sample:
    """One sample, with a platform and a directory of its own."""
    long_lived()  # as the program begins
    faults = refusals(CALLS_EACH * count) if case == TROUBLED else ()
    with platform(LATENCY, faults) as at, tempfile.TemporaryDirectory() as directory:
        return asyncio.run(measure(at, count, Path(directory)))


def apart(case: str, count: int) -> Sample:
    """One sample, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.polite", "--one", case, str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, stdin=subprocess.DEVNULL)
    return Sample(**json.loads(done.stdout))


def row(case: str, taken: Sequence[Sample]) -> tuple[object, ...]:
    """One line of the table: the sample with the most calls."""
    s = max(taken, key=lambda one: one.ratio)
    counts = (s.calls, s.ratio, s.lists, s.creates, s.made, s.refused, s.asked, s.waited, s.most_at_once)
    return case, s.count, len(taken), s.seconds, s.necessary, *counts


HEAD = ("", "N", "runs", "seconds", "necessary", "calls", "ratio", "lists", "creates", "machines", "refused", "429", "waited", "at once")


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a small fleet, once: a smoke test, not a measurement")
    parser.add_argument("--runs", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--count", type=int, default=500, help="lieutenants (default 500)")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "COUNT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(asdict(one(arguments.one[0], int(arguments.one[1])))))
        return 0
    print(machine())
    count, runs = (40, 1) if arguments.quick else (arguments.count, arguments.runs)
    samples: dict[str, list[Sample]] = {case: [] for case in TARGETS}
    for _ in range(runs):
        for case, taken in samples.items():
            taken.append(apart(case, count))
    table(f"P10: calls of a fleet from nothing, at most {CONCURRENCY} at once", HEAD, [row(case, taken) for case, taken in samples.items()])
    goals: list[Goal] = []
    for case, taken in samples.items():
        most = max(s.most_at_once for s in taken)
        goals.append(Goal(f"P10 calls ÷ necessary, {case}", max(s.ratio for s in taken), TARGETS[case], 1.0, at_least=False))
        goals.append(Goal(f"P10 calls at once, {case}", most, CONCURRENCY, CONCURRENCY, at_least=False))
    troubled = samples[TROUBLED]
    goals.append(
        Goal("P10 pauses ÷ 429 answers", min(s.waited / max(1, s.asked) for s in troubled), min(1, min(s.asked for s in troubled)), 1.0)
    )
    return judge(goals) if not arguments.quick else 0


if __name__ == "__main__":
    raise SystemExit(main())
