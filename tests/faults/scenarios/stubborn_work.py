"""Work that does not go by itself: a steer that must interrupt, a turn that stalls, a result that is forgotten and asked for
again."""

from __future__ import annotations

import asyncio

from reconciler.core.keys import Key
from reconciler.engine.state.declared import Declared
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, left_nothing, treated_well

LT = Key("Lieutenant", "default", "api")
ONE, TWO, THREE, FOUR, STEER = (Key("Task", "default", name) for name in ("one", "two", "three", "four", "steer"))
ESCALATION = ["Steer", "Abort", "RestartSession"]
LONG, SHORT = 36_000.0, 4.0


def task(key: Key, **spec: object) -> Declared:
    return declared(key, lieutenantRef={"name": "api"}, prompt=f"piece {key.name}", **spec)


async def story(run: Run) -> None:
    world = run.world
    limits = {"taskTimeoutSeconds": 0, "noProgressSeconds": 0, "firstArtifactSeconds": 3600, "maxTurns": 50}
    world.work_seconds = LONG
    await run.declare(declared(LT, role="Keep the API", profileRef={"name": "lightweight"}, limits=limits), task(ONE))
    await run.until(lambda: run.phase(ONE) == "Running", "the first task runs")
    await run.declare(task(STEER, delivery="Steer", target={"name": "one"}, landSeconds=20, escalation=ESCALATION))
    await run.until(lambda: run.phase(STEER) != "Pending", "it is on its way")
    world.work_seconds = SHORT
    await run.until(lambda: run.phase(STEER) in ("Succeeded", "Expired"), "the steer has a result")
    if run.phase(STEER) == "Expired":
        world.violations.append("the steer expired although it could interrupt")
    await run.until(lambda: run.phase(ONE) == "Succeeded", "the first task is done")
    world.work_seconds = LONG
    await run.declare(task(TWO, noProgressSeconds=30, escalation=ESCALATION))
    await run.until(lambda: run.phase(TWO) == "Running", "the second task runs, and stalls")
    await asyncio.sleep(10)
    world.work_seconds = SHORT
    await run.until(lambda: run.phase(TWO) in ("Succeeded", "TimedOut"), "the second task has a result")
    await run.declare(task(THREE, ttlSecondsAfterFinished=5))
    await run.until(lambda: run.phase(THREE) == "(gone)", "the third is done and forgotten")
    await run.declare(task(FOUR, after=[{"name": "three"}]), task(THREE, ttlSecondsAfterFinished=5))
    await run.until(lambda: run.phase(FOUR) == run.phase(THREE) == "Succeeded", "what came after it follows")
    await run.delete(LT)
    await run.until(lambda: run.phase(LT) == "(gone)", "it is gone")


def judge(run: Run) -> None:
    treated_well(run)
    where = run.describe()
    left_nothing(run, made=1)
    for key in (ONE, TWO, THREE, FOUR, STEER):
        assert delivered(run, key.name) == 1, f"{key.name} was delivered {delivered(run, key.name)} times; {where}"
    assert run.phase(TWO) == "Succeeded", where


SCENARIO = Scenario("stubborn-work", story, judge, points=500)
