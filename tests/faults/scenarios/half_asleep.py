"""A machine takes its time to fall asleep: a task that comes in the middle of it wakes it and is delivered once. Then a worker that is to
go when it is done goes by itself, and what comes before it goes is done first."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.engine.state.declared import Declared
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, left_nothing, treated_well
from tests.world import FOREIGN, World

LT = Key("Lieutenant", "default", "api")
ONE, TWO, THREE, FOUR = (Key("Task", "default", name) for name in ("one", "two", "three", "four"))


def world() -> World:
    made = World()
    made.suspend_seconds = 1.5
    return made


def lieutenant(**idle: object) -> Declared:
    return declared(LT, role="Keep the API", profileRef={"name": "lightweight"}, idle=idle)


def task(key: Key) -> Declared:
    return declared(key, lieutenantRef={"name": LT.name}, prompt=f"piece {key.name}")


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    await run.declare(lieutenant(suspendAfterSeconds=60), task(ONE))
    await run.until(lambda: run.phase(ONE) == "Succeeded", "the first is done")
    await run.until(lambda: bool(world.suspending), "its machine is being suspended")
    world.suspending.clear()
    await run.declare(task(TWO))
    await run.until(lambda: run.phase(TWO) == "Succeeded", "what came meanwhile woke it")
    await run.declare(lieutenant(postTask="Suspend"))
    await run.until(lambda: bool(world.suspending) or run.condition(LT, "Suspended") == "True", "it goes to sleep at once")
    await run.declare(task(THREE))
    await run.until(lambda: run.phase(THREE) == "Succeeded", "and is woken again")
    await run.declare(task(FOUR), lieutenant(postTask="Delete"))
    await run.until(lambda: run.phase(LT) == "(gone)", "it goes when it is done")


def judge(run: Run) -> None:
    treated_well(run)
    where = run.describe()
    left_nothing(run, made=1)
    for key in (ONE, TWO, THREE, FOUR):
        assert run.phase(key) == "Succeeded", f"{key.name} is {run.phase(key)}; {where}"
        assert delivered(run, key.name) == 1, f"{key.name} was delivered {delivered(run, key.name)} times; {where}"


SCENARIO = Scenario("half-asleep", story, judge, points=640, world=world)
