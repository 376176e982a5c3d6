"""A conversation that is shortened in the middle of a turn, twice, and while nothing is to be done: what its agent was told at its
beginning is said again once each time, whatever happens to whoever says it."""

from __future__ import annotations

from reconciler.core.keys import Key
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well

LT = Key("Lieutenant", "default", "api")
ONE, TWO, THREE = (Key("Task", "default", name) for name in ("one", "two", "three"))


def heard(run: Run) -> list[str]:
    """The shortenings after which it was said again, one entry for each time that it reached the agent."""
    said = (text.partition("[reminder ")[2].partition("]")[0] for _, text in run.world.prompts)
    return [compaction for compaction in said if compaction]


def shorten(run: Run) -> str:
    item = run.engine.table.lieutenant(LT)
    assert item is not None
    return run.world.compact(run.world.machines[item.record.slot.vm_id])


async def ask(run: Run, task: Key) -> None:
    await run.declare(declared(task, lieutenantRef={"name": "api"}, prompt=f"piece {task.name}"))


async def story(run: Run) -> None:
    world = run.world
    await run.declare(declared(LT, role="Keep it", profileRef={"name": "lightweight"}, limits={"steerLandSeconds": 5}))
    await run.until(lambda: run.condition(LT, "Available") == "True", "it is ready")
    world.calls, world.call_seconds = [("bash", {"command": "make"})] * 40, 5.0
    await ask(run, ONE)
    await run.until(lambda: run.phase(ONE) == "Running", "a turn is on")
    for _ in range(2):
        compaction = shorten(run)
        await run.until(lambda wanted=compaction: wanted in heard(run), "it was told again")  # type: ignore[misc]
    await run.until(lambda: run.phase(ONE) == "Succeeded", "the turn is over")
    world.calls = []
    compaction = shorten(run)
    for task in (TWO, THREE):
        await ask(run, task)
        await run.until(lambda wanted=task: run.phase(wanted) == "Succeeded", f"{task.name} is done")  # type: ignore[misc]
    assert compaction in heard(run)
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=1)
    told = heard(run)
    assert len(told) == len(set(told)) == 3, f"told after {told}; {run.describe()}"
    assert delivered(run, "two") == delivered(run, "three") == 1, run.describe()


SCENARIO = Scenario("shortened", story, judge, points=150)
