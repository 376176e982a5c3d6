"""Budgets that run out in the middle of turns and are raised, agents that rest and are woken: every answer is in the books once."""

from __future__ import annotations

from dataclasses import replace

from reconciler.api.budget import Budget
from reconciler.core.keys import Key
from reconciler.engine.state.ledgers import FLEET
from tests.faults.harness import Run
from tests.faults.play import SETTINGS, Scenario, declared, delivered, left_nothing, treated_well
from tests.world import World

LT, WEB = Key("Lieutenant", "default", "api"), Key("Lieutenant", "default", "web")
ONE, TWO, THREE, FOUR = (Key("Task", "default", name) for name in ("one", "two", "three", "four"))
ALWAYS = 3_024_000
FLEET_BUDGET = Budget.model_validate({"maxTokens": 100_000, "windowSeconds": ALWAYS, "maxMachineHours": 1000})


def agent(key: Key, tokens: int) -> object:
    budget = {"maxTokens": tokens, "windowSeconds": ALWAYS}
    spec = {"role": "Keep it", "profileRef": {"name": "lightweight"}, "budget": budget, "limits": {"steerLandSeconds": 5}}
    return declared(key, **spec, idle={"suspendAfterSeconds": 60})


def task(key: Key, to: str, **spec: object) -> object:
    return declared(key, lieutenantRef={"name": to}, prompt=f"piece {key.name}", **spec)


async def story(run: Run) -> None:
    world = run.world
    await run.declare(agent(LT, 60), agent(WEB, 1000))  # type: ignore[arg-type]
    world.calls, world.call_seconds = [("bash", {"command": "make"})] * 50, 5.0
    await run.declare(task(ONE, "api"))  # type: ignore[arg-type]
    await run.until(lambda: run.condition(LT, "Suspended") == "True" and run.phase(ONE) == "Pending", "its budget is used up")
    world.calls = []
    await run.declare(task(TWO, "web", budget={"maxTokens": 500}))  # type: ignore[arg-type]
    await run.until(lambda: run.phase(TWO) == "Succeeded", "the other one works on")
    await run.declare(agent(LT, 100_000))  # type: ignore[arg-type]
    await run.until(lambda: run.phase(ONE) == "Succeeded", "it goes on by itself")
    await run.until(lambda: run.condition(WEB, "Suspended") == "True", "one without work rests")
    await run.declare(task(THREE, "web"))  # type: ignore[arg-type]
    await run.until(lambda: run.phase(THREE) == "Succeeded", "and is woken")
    world.calls = [("bash", {"command": "make"})] * 50
    await run.declare(task(FOUR, "web", budget={"maxTokens": 60}))  # type: ignore[arg-type]
    await run.until(lambda: run.phase(FOUR) == "Failed", "a task with too small a budget fails")
    await run.until(lambda: counted(run) == world.billed, "every answer is in the books")
    await run.delete(LT)
    await run.delete(WEB)
    await run.until(lambda: run.phase(LT) == run.phase(WEB) == "(gone)", "they are gone")


def counted(run: Run) -> int:
    return run.engine.gatherer.budgets.ledgers.spent(FLEET, 0.0).tokens


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=2)
    assert delivered(run, "two") == delivered(run, "three") == 1, run.describe()


SCENARIO = Scenario("spending", story, judge, points=300, settings=replace(SETTINGS, budget=FLEET_BUDGET), world=World)
