"""A fleet of at most three machines, a tree of which one agent at a time may work: one lieutenant more waits for room until another one is
deleted, and of two tasks one waits for the other. The world counts machines and turns itself, at every instant."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.keys import Key
from tests.faults.boundedworld import BoundedWorld
from tests.faults.harness import Run
from tests.faults.play import SETTINGS, Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.faults.scenarios.provider_away import reason
from tests.faults.treeworld import TREE, node, tree
from tests.world import FOREIGN

MOST, AT_WORK = 3, 1
ONE, TWO = (Key("Lieutenant", "default", name) for name in ("one", "two"))
AGENTS = ("lead", "hand")
TASKS = {name: Key("Task", "default", f"for-{name}") for name in AGENTS}


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    await run.declare(
        tree(*(node(name, category="Lieutenant") for name in AGENTS), limits={"maxWorking": AT_WORK, "maxConcurrentCreates": 2}),
        declared(ONE, role="One", profileRef={"name": "lightweight"}),
    )
    await run.until(lambda: run.condition(TREE, "Ready") == run.condition(ONE, "Available") == "True", "three machines stand")
    await run.declare(declared(TWO, role="Two", profileRef={"name": "lightweight"}))
    await run.until(lambda: reason(run, TWO, "Ready") == "Capacity", "there is no room for another one")
    await run.declare(*(declared(task, lieutenantRef={"name": f"prod-{name}"}, prompt=f"piece {name}") for name, task in TASKS.items()))
    await run.until(lambda: all(run.phase(task) == "Succeeded" for task in TASKS.values()), "both tasks are done")
    await run.delete(ONE)
    await run.until(lambda: run.condition(TWO, "Available") == "True", "it has room now")
    await leave(run, TREE, TWO)


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=4)
    for task in TASKS.values():
        assert delivered(run, task.name) == 1, f"{task.name} was delivered {delivered(run, task.name)} times; {run.describe()}"


SCENARIO = Scenario(
    "within-limits",
    story,
    judge,
    points=500,
    settings=replace(SETTINGS, max_vms=MOST),
    world=lambda: BoundedWorld(MOST, most_booting=None, most_working=AT_WORK),
)
