"""A tree of three machines in a cluster, one of them a lieutenant's: it grows by one, and goes, leaves first."""

from __future__ import annotations

from tests.faults.harness import Run
from tests.faults.play import Scenario, leave, left_nothing, treated_well
from tests.faults.treeworld import TREE, TreeWorld, node, stands, states, tree, world_of
from tests.world import FOREIGN

LIMITS = {"maxVMs": 3, "maxConcurrentCreates": 1}
ROOT, LEAD, LEAF = node("root", category="Infra"), node("lead", "root", "Lieutenant"), node("leaf", "lead")


def world() -> TreeWorld:
    return TreeWorld({"lead": ("root",), "leaf": ("lead",)}, most=3, most_booting=1)


async def story(run: Run) -> None:
    world_of(run).make({}, owner=FOREIGN)
    await run.declare(tree(ROOT, LEAD, limits=LIMITS))
    await stands(run, "root", "lead")
    await run.declare(tree(ROOT, LEAD, LEAF, limits=LIMITS))
    await stands(run, "root", "lead", "leaf")
    if states(run) != dict.fromkeys(("root", "lead", "leaf"), "running"):
        run.world.violations.append(f"the tree says that it stands, and its machines are {states(run)}")
    await leave(run, TREE)


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=3)


SCENARIO = Scenario("small-tree", story, judge, points=0, world=world)
"""How many points it has is said where it is struck, in a cluster."""
