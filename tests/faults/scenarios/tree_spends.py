"""The pool of a tree is used up in the middle of turns: all of its agents rest, are told that they may go on when it is raised, and do."""

from __future__ import annotations

from dataclasses import replace

from reconciler.api.budget import Budget
from reconciler.core.keys import Key
from reconciler.engine.state.declared import Declared
from reconciler.engine.state.ledgers import FLEET
from tests.faults.harness import Run
from tests.faults.play import SETTINGS, Scenario, declared, left_nothing, treated_well
from tests.faults.treeworld import TREE
from tests.world import World

NAMES = ("one", "two")
TASKS = {name: Key("Task", "default", name) for name in NAMES}
ALWAYS = 3_024_000
FLEET_BUDGET = Budget.model_validate({"maxTokens": 1_000_000, "windowSeconds": ALWAYS})
LITTLE, MUCH = 60, 100_000


def tree(tokens: int) -> Declared:
    limits = {"steerLandSeconds": 5}
    nodes = [
        {"name": name, "category": "Lieutenant", "profileRef": {"name": "lightweight"}, "lieutenant": {"role": name, "limits": limits}}
        for name in NAMES
    ]
    return declared(TREE, nodes=nodes, budget={"maxTokens": tokens, "windowSeconds": ALWAYS})


def state(run: Run) -> str:
    """What the tree says of its pool."""
    item = run.engine.table.get(TREE)
    return str(getattr(item.record, "budget", "")) if item is not None else ""


def counted(run: Run) -> int:
    return run.engine.gatherer.budgets.ledgers.spent(FLEET, 0.0).tokens


async def story(run: Run) -> None:
    world = run.world
    await run.declare(tree(LITTLE))
    await run.until(lambda: run.condition(TREE, "Ready") == "True", "the tree stands")
    world.calls, world.call_seconds = [("bash", {"command": "make"})] * 50, 5.0
    await run.declare(*(declared(TASKS[name], lieutenantRef={"name": f"prod-{name}"}, prompt=f"piece {name}") for name in NAMES))
    await run.until(lambda: state(run) == "Exceeded", "its pool is used up")
    rests = [Key("Lieutenant", "default", f"prod-{name}") for name in NAMES]
    await run.until(lambda: all(run.condition(key, "Suspended") == "True" for key in rests), "all of them rest")
    await run.until(lambda: all(run.phase(key) == "Pending" for key in TASKS.values()), "their work waits")
    world.calls = []
    await run.declare(tree(MUCH))
    await run.until(lambda: all(run.phase(key) == "Succeeded" for key in TASKS.values()), "it goes on by itself")
    await run.until(lambda: state(run) == "Within", "which is told")
    await run.until(lambda: counted(run) == world.billed, "every answer is in the books")
    await run.delete(TREE)
    await run.until(lambda: run.phase(TREE) == "(gone)", "it is gone")


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=2)


SCENARIO = Scenario("tree-spends", story, judge, points=890, settings=replace(SETTINGS, budget=FLEET_BUDGET), world=World)
