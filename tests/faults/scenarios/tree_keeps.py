"""A node of a tree is removed with the one below it, which is kept one level up, declared again and removed alone."""

from __future__ import annotations

from tests.faults.harness import Run
from tests.faults.play import Scenario, leave, left_nothing, treated_well
from tests.faults.treeworld import TREE, TreeWorld, node, stands, states, tree, world_of
from tests.world import FOREIGN

ROOT, SIDE, LEAF = node("root", category="Infra"), node("side", "root"), node("leaf", "side")
REPARENT = {"onNodeRemoved": "Reparent"}


def world() -> TreeWorld:
    return TreeWorld({"side": ("root",), "leaf": ("side",)}, most=3, most_booting=2)


async def story(run: Run) -> None:
    there = world_of(run)
    there.make({}, owner=FOREIGN)
    await run.declare(tree(ROOT, SIDE, LEAF, policy=REPARENT))
    await stands(run, "root", "side", "leaf")
    there.above = {"side": ("root",), "leaf": ("root",)}
    await run.declare(tree(ROOT, policy=REPARENT))
    await stands(run, "root", "leaf")
    await run.declare(tree(ROOT, {**LEAF, "parent": "root"}, policy=REPARENT))
    await stands(run, "root", "leaf")
    if set(states(run)) != {"root", "leaf"}:
        run.world.violations.append(f"kept and declared again, and there are {states(run)}")
    await run.declare(tree(ROOT, policy=REPARENT))
    await stands(run, "root")
    await leave(run, TREE)


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=3)


SCENARIO = Scenario("tree-keeps", story, judge, points=150, world=world)
