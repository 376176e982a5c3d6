"""A tree grows from its root to its limit, then one further when the limit is raised, and is deleted as a whole."""

from __future__ import annotations

from reconciler.core.keys import Key
from tests.faults.harness import Run
from tests.faults.play import Scenario, delivered, leave, left_nothing, treated_well
from tests.faults.play import declared as document
from tests.faults.treeworld import TREE, TreeWorld, node, stands, states, tree, world_of
from tests.world import FOREIGN

NODES = (node("root", category="Infra"), node("lead", "root", "Lieutenant"), node("hand", "lead", replicas=2))
TASK = Key("Task", "default", "work")


def world() -> TreeWorld:
    return TreeWorld({"lead": ("root",), "hand-0": ("lead",), "hand-1": ("lead",)}, most=3, most_booting=1)


async def story(run: Run) -> None:
    there = world_of(run)
    there.make({}, owner=FOREIGN)
    await run.declare(tree(*NODES, limits={"maxVMs": 3, "maxConcurrentCreates": 1}))
    await run.until(lambda: len(states(run)) == 3 and set(states(run).values()) == {"running"}, "it grows to its limit")
    await run.declare(document(TASK, lieutenantRef={"name": "prod-lead"}, prompt="a piece of work"))
    await run.until(lambda: run.phase(TASK) == "Succeeded", "its lieutenant works")
    there.most = 4
    await run.declare(tree(*NODES, limits={"maxVMs": 4, "maxConcurrentCreates": 1}))
    await stands(run, "root", "lead", "hand-0", "hand-1")
    await leave(run, TREE)


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=4)
    assert delivered(run, "work") == 1, run.describe()


SCENARIO = Scenario("tree-grows", story, judge, points=300, world=world)
