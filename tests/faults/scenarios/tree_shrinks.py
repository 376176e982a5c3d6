"""A tree without agents loses a replica and, with what stands below it, a node; then it is deleted as a whole."""

from __future__ import annotations

from tests.faults.harness import Run
from tests.faults.play import Scenario, leave, left_nothing, treated_well
from tests.faults.treeworld import TREE, TreeWorld, node, stands, tree, world_of
from tests.world import FOREIGN

ROOT, SIDE, LEAF = node("root", category="Infra"), node("side", "root"), node("leaf", "side")
LIMITS = {"maxVMs": 5, "maxConcurrentCreates": 2}


def world() -> TreeWorld:
    above = {"side": ("root",), "leaf": ("side",), "hand-0": ("root",), "hand-1": ("root",)}
    return TreeWorld(above, most=5, most_booting=2)


async def story(run: Run) -> None:
    there = world_of(run)
    there.make({}, owner=FOREIGN)
    await run.declare(tree(ROOT, SIDE, LEAF, node("hand", "root", replicas=2), limits=LIMITS))
    await stands(run, "root", "side", "leaf", "hand-0", "hand-1")
    await run.declare(tree(ROOT, node("hand", "root", replicas=1), limits=LIMITS, policy={"onNodeRemoved": "Cascade"}))
    await stands(run, "root", "hand-0")
    await leave(run, TREE)


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=5)


SCENARIO = Scenario("tree-shrinks", story, judge, points=200, world=world)
