"""A branch of a tree is suspended and resumed, then the whole; it is deleted in its sleep."""

from __future__ import annotations

from tests.faults.harness import Run
from tests.faults.play import Scenario, leave, left_nothing, treated_well
from tests.faults.treeworld import TREE, TreeWorld, node, stands, states, tree, world_of
from tests.world import FOREIGN

LIMITS = {"maxVMs": 3, "maxConcurrentCreates": 1}
NAMES = ("root", "lead", "leaf")


def world() -> TreeWorld:
    return TreeWorld({"lead": ("root",), "leaf": ("lead",)}, most=3, most_booting=1)


async def story(run: Run) -> None:
    world_of(run).make({}, owner=FOREIGN)
    root, lead, leaf = node("root", category="Infra"), node("lead", "root", "Lieutenant"), node("leaf", "lead")
    await run.declare(tree(root, lead, leaf, limits=LIMITS))
    await stands(run, *NAMES)
    await run.declare(tree(root, {**lead, "mode": "Suspended"}, leaf, limits=LIMITS))
    await stands(run, *NAMES)
    check(run, {"root": "running", "lead": "suspended", "leaf": "suspended"})
    await run.declare(tree(root, lead, leaf, limits=LIMITS))
    await stands(run, *NAMES)
    check(run, dict.fromkeys(NAMES, "running"))
    await run.declare(tree(root, lead, leaf, limits=LIMITS, mode="Suspended"))
    await stands(run, *NAMES)
    await leave(run, TREE)


def check(run: Run, wanted: dict[str, str]) -> None:
    """What the tree says of itself is so; what a dead controller sent may still change it, and is put right."""
    if states(run) != wanted and not run.life.stray:
        run.world.violations.append(f"the tree says that it stands, and its machines are {states(run)}")


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=3)


SCENARIO = Scenario("tree-sleeps", story, judge, points=200, world=world)
