"""Three lieutenants, on a VM, on this host and on a VM that was there before: work, sleep, wake, work, the end."""

from __future__ import annotations

from reconciler.core.keys import Json, Key
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.faults.scenarios.outage_and_return import ALLOWED
from tests.world import FOREIGN

LIEUTENANTS = {name: Key("Lieutenant", "default", name) for name in ("api", "scribe", "found")}


async def everybody(run: Run, mode: str) -> None:
    there = next(iter(run.world.machines))
    homes: dict[str, Json] = {"api": {}, "scribe": {"placement": {"type": "Local"}}, "found": {"adopt": {"vmId": there}}}
    for name, more in homes.items():
        await run.declare(declared(LIEUTENANTS[name], role="Keep it", mode=mode, profileRef={"name": "lightweight"}, **more))


async def work(run: Run, number: int) -> None:
    tasks = [Key("Task", "default", f"{name}-{number}") for name in LIEUTENANTS]
    for name, key in zip(LIEUTENANTS, tasks, strict=True):
        await run.declare(declared(key, lieutenantRef={"name": name}, prompt="a piece of work"))
    await run.until(lambda: all(run.phase(key) == "Succeeded" for key in tasks), f"round {number} is done")


async def story(run: Run) -> None:
    run.world.make({"made-by": "hand"})
    run.world.make({}, owner=FOREIGN)
    await everybody(run, "Running")
    await work(run, 1)
    await everybody(run, "Suspended")
    asleep = [(key, kind) for key in LIEUTENANTS.values() for kind in ("Suspended", "Ready")]
    await run.until(lambda: all(run.condition(key, kind) == "True" for key, kind in asleep), "all sleep")
    if [m.state.value for m in run.world.alive()] != ["suspended", "suspended"] or any(h.pi for h in run.world.homes.values()):
        run.world.violations.append("declared suspended, and something runs")
    await everybody(run, "Running")
    await work(run, 2)
    await leave(run, *LIEUTENANTS.values())


def judge(run: Run) -> None:
    treated_well(run)
    world, where = run.world, run.describe()
    left_nothing(run, made=2)  # and one of them by hand
    left = [place for place, home in world.homes.items() if home.installed or home.pi or home.sessions]
    assert left == [], f"left on this host: {left}; {where}"
    for task in (f"{name}-{number}" for name in LIEUTENANTS for number in (1, 2)):
        assert delivered(run, task) == 1, f"{task} was delivered {delivered(run, task)} times; {where}"


SCENARIO = Scenario("three-homes", story, judge, points=800, settings=ALLOWED)
