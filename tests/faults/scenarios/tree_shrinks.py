"""A tree without agents loses a replica and, with what stands below it, a node; a person takes another branch down, of which a node is
protected; then it is deleted as a whole."""

from __future__ import annotations

from reconciler.api.annotations import PREFIX
from reconciler.core.keys import Json
from reconciler.serve.commands import without_node
from tests.faults.harness import Run
from tests.faults.play import Scenario, leave, left_nothing, treated_well
from tests.faults.treeworld import TREE, TreeWorld, node, stands, tree, world_of
from tests.world import FOREIGN

ROOT, SIDE, LEAF = node("root", category="Infra"), node("side", "root"), node("leaf", "side")
BRANCH = ("branch", "twig")
LIMITS = {"maxVMs": 5, "maxConcurrentCreates": 2}


def world() -> TreeWorld:
    above = {"side": ("root",), "leaf": ("side",), "hand-0": ("root",), "hand-1": ("root",)}
    return TreeWorld({**above, "branch": ("root",), "twig": ("branch",)}, most=5, most_booting=2)


async def story(run: Run) -> None:
    there = world_of(run)
    there.make({}, owner=FOREIGN)
    await run.declare(tree(ROOT, SIDE, LEAF, node("hand", "root", replicas=2), limits=LIMITS))
    await stands(run, "root", "side", "leaf", "hand-0", "hand-1")
    await run.declare(tree(ROOT, node("hand", "root", replicas=1), limits=LIMITS, policy={"onNodeRemoved": "Cascade"}))
    await stands(run, "root", "hand-0")
    branch, twig = node("branch", "root"), node("twig", "branch", protected=True)
    await run.declare(tree(ROOT, node("hand", "root", replicas=1), branch, twig, limits=LIMITS))
    await stands(run, "root", "hand-0", *BRANCH)
    await run.retrying(lambda: take_out(run))
    await stands(run, "root", "hand-0")
    await leave(run, TREE)


async def take_out(run: Run) -> None:
    """As `reconciler delete vmtree/prod --node branch --confirm` asks for it, unless that was taken already."""
    item = run.engine.table.get(TREE)
    if item is None or "branch" not in str(item.obj.spec):
        return
    asked: Json = {"node": "branch", "nodes": [*BRANCH], "verbs": {"delete-confirmed": "once"}}
    await run.engine.declarations.patch_spec(TREE, lambda obj: without_node(obj, asked), None, {f"{PREFIX}delete-confirmed": "once"})


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=7)


SCENARIO = Scenario("tree-shrinks", story, judge, points=260, world=world)
