"""How long it takes until an agent is ready: from a profile as it is, from its baked commit, and from a machine that is kept ready.
`python -m benchmarks.warm [--quick] [--runs N]`

The platform is simulated, its machines, pi and what is done on them are real. A machine from a commit takes as long as it was measured
upstream (10 s), a step of the profile and a new machine's boot as long as is said here; the floor of each way is the sum of those. What is
left is ours: claim, installation, checks, and the start of pi.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time

from benchmarks.common import Goal, Spread, judge, table
from benchmarks.fleet import machine
from reconciler.app import long_lived
from reconciler.cli.demo.stage import Stage, stage
from reconciler.cli.demo.telling import Telling
from reconciler.core.keys import Key
from reconciler.vers.simulator.knobs import turn
from reconciler.views.documents import is_true, text_at

BOOT, BRANCH, STEP = 2.0, 10.0, 8.0
"""Seconds: a new machine's boot; a machine from a commit; what the profile's step takes."""

PROFILE = """
apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {{name: {name}}}
spec:
  extends: {{name: lightweight}}
  steps:
  - {{name: tools, run: "sleep {step}"}}
  bake: {{enabled: {baked}, warm: {warm}}}
  agent:
    model: {{provider: scripted, id: scripted}}
    providers:
    - {{name: scripted, baseUrl: "{url}", api: openai-completions}}
"""
LIEUTENANT = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {{name: {name}}}
spec: {{role: Keep it, profileRef: {{name: {profile}}}}}
"""
WAYS = {"unbaked": ("false", 0, BOOT + STEP), "baked": ("true", 0, BRANCH), "kept ready": ("true", 1, 0.0)}
"""Name → whether it is baked, how many are kept ready, and the floor."""


async def ready(at: Stage, profile: str, name: str) -> float:
    """Seconds from the declaration of a lieutenant until it takes work."""
    key, begun = Key("Lieutenant", "default", name), time.perf_counter()
    await at.apply(LIEUTENANT.format(name=name, profile=profile))
    await at.until(name, lambda: (obj := at.object(key)) is not None and is_true(obj.status, "Available"), 300.0)
    return time.perf_counter() - begun


async def measure(runs: int) -> dict[str, list[float]]:
    """Every way in turn, so many times."""
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    with Telling(live=False, quiet=True) as telling:
        async with stage(os.environ, list, telling) as at:
            world = at.simulator.world
            world.knobs = turn(world.knobs, [f"boot_s={BOOT}", f"branch_s={BRANCH}"])
            for way, (baked, warm, _) in WAYS.items():
                name = way.replace(" ", "-")
                await at.apply(PROFILE.format(name=name, step=STEP, baked=baked, warm=warm, url=at.model.url))
            for way, (baked, warm, _) in WAYS.items():
                name = way.replace(" ", "-")
                await at.apply(LIEUTENANT.format(name=f"{name}-first", profile=name))
                await at.until(f"{way} is set up", lambda name=name, baked=baked, warm=warm: set_up(at, name, baked, warm), 300.0)  # type: ignore[misc]
            for run in range(runs):
                for way in WAYS:
                    name = way.replace(" ", "-")
                    took[way].append(await ready(at, name, f"{name}-{run}"))
                await at.until("one is kept ready again", lambda: set_up(at, "kept-ready", "true", 1), 300.0)
    return took


def set_up(at: Stage, name: str, baked: str, warm: int) -> bool:
    """What this way needs is there."""
    profile, first = at.object(Key("BootProfile", "default", name)), at.object(Key("Lieutenant", "default", f"{name}-first"))
    if profile is None or first is None or not is_true(first.status, "Available"):
        return False
    told = text_at(profile.status, ".bake.state"), text_at(profile.status, ".bake.warm") or "0"
    return baked == "false" or told == ("Baked", str(warm))


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="one run: a smoke test, not a measurement")
    parser.add_argument("--runs", type=int, default=3, help="interleaved runs of each (default 3)")
    arguments = parser.parse_args()
    runs = 1 if arguments.quick else max(arguments.runs, 1)
    long_lived()
    print(machine())
    took = {way: Spread.of(values) for way, values in asyncio.run(measure(runs)).items()}
    bare = took["unbaked"].median
    rows = [(way, runs, WAYS[way][2], one.median, one.low, one.high, one.median / bare) for way, one in took.items()]
    table(
        "Seconds from the declaration of an agent until it takes work", ("", "runs", "floor s", "median", "min", "max", "÷ unbaked"), rows
    )
    goals = [Goal("kept ready ÷ baked", took["kept ready"].median / took["baked"].median, 0.5, 0.3, at_least=False)]
    return judge(goals) if not arguments.quick else 0


if __name__ == "__main__":
    raise SystemExit(main())
