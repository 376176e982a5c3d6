"""A tree of machines without an agent: a profile that does not work costs none, one that works replaces each, one at a time, after a commit
that is restored for a look; a live copy is made of one; then the tree goes."""

from __future__ import annotations

from reconciler.core.keys import Key, machine_of_node
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, leave, never_more_than, treated_well
from tests.faults.scenarios.replacement import MADE, Crowded, profile
from tests.faults.treeworld import TREE
from tests.world import FOREIGN

PROFILE = Key("BootProfile", "default", "own")
PLACES = ("db", "cache")


def node(name: str, **more: object) -> dict[str, object]:
    own: dict[str, object] = {"profileRef": {"name": "own"}, "update": {"onProfileChange": "Recreate"}}
    return {"name": name, "category": "Resource", **own, **more}


def machine_of(run: Run, name: str) -> str:
    item = run.engine.table.lieutenant(machine_of_node(TREE, name))
    return item.record.slot.vm_id if item is not None else ""


def rests(run: Run) -> bool:
    """Every machine is as declared, and there is none beside them."""
    items = [item for key in run.engine.table.all_keys() if key.kind == "Machine" and (item := run.engine.table.lieutenant(key))]
    return run.condition(TREE, "Ready") == "True" and all(len(item.record.slots()) == 1 for item in items)


def rollout(run: Run) -> str:
    item = run.engine.table.get(TREE)
    told = item.obj.status.get("rollout") if item is not None else None
    return str(told.get("state")) if isinstance(told, dict) else ""


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    await profile(run, "one")
    snapshots = {"beforeMutate": True, "verify": "All", "keep": 2}
    await run.declare(declared(TREE, nodes=[node(name) for name in PLACES], snapshots=snapshots))
    await run.until(lambda: rests(run) and len(world.alive()) == len(PLACES), "the tree stands")
    before = {name: machine_of(run, name) for name in PLACES}
    for vm_id in before.values():
        world.machines[vm_id].files[MADE] = b"by hand"
    await profile(run, "two", "false")
    await run.until(lambda: rollout(run) == "Stopped" and len(world.alive()) == len(PLACES), "what does not work is given up")
    if {name: machine_of(run, name) for name in PLACES} != before:
        world.violations.append("a profile that does not work cost a machine that did")
    await profile(run, "three")
    await run.until(lambda: not rollout(run) and rests(run) and len(world.alive()) == len(PLACES), "what works has taken their places")
    for name, vm_id in before.items():
        now = world.machines[machine_of(run, name)]
        if now.vm_id == vm_id or now.files.get(MADE) != b"by hand":
            world.violations.append(f"{name} was not replaced with what was on it")
    copy: dict[str, object] = {"name": "copy", "category": "Infra", "parent": "db", "from": "Parent"}
    await run.declare(declared(TREE, nodes=[*(node(name) for name in PLACES), copy], snapshots=snapshots))
    await run.until(lambda: bool(machine_of(run, "copy")) and rests(run), "a live copy is made")
    if world.machines[machine_of(run, "copy")].branched_from != machine_of(run, "db"):
        world.violations.append("the copy is none of the node above it")
    await leave(run, TREE, PROFILE)


def judge(run: Run) -> None:
    treated_well(run)
    assert isinstance(run.world, Crowded)
    never_more_than(run, MOST, run.world.most)


MOST = 2 + 1 + 2
"""Those that work, one that is to replace one of them, and one of each that is looked at."""

SCENARIO = Scenario("nodes_replaced", story, judge, points=400, world=Crowded)
