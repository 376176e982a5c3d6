"""A whole set of VMs that were made by hand is taken over by a tree and a lieutenant; two declarations want the same one, one is of another
installation, and one beside them is nobody's business. Deleting the declarations deletes none of them."""

from __future__ import annotations

import asyncio

from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import VmState
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, treated_well
from tests.world import Machine

TREE, ALONE = Key("VMTree", "default", "found"), Key("Lieutenant", "default", "alone")
LATE, THEIRS = Key("Lieutenant", "default", "late"), Key("Lieutenant", "default", "theirs")
TASK = Key("Task", "default", "work")
BY_HAND = {"made-by": "hand"}
CLAIM = {"fleet": "default", "installation": "installation-2", "kind": "Lieutenant", "namespace": "default", "name": "old", "uid": "x"}
STAYS = ("fleet.vers.sh/epoch", "fleet.vers.sh/released-by")
"""The next owner's epoch is higher, and it is told whose the machine was."""


def by_hand(run: Run) -> Machine:
    machine = run.world.make(BY_HAND)
    machine.state = VmState.RUNNING
    return machine


def takes(machine: Machine) -> dict[str, object]:
    return {"profileRef": {"name": "lightweight"}, "adopt": {"vmId": machine.vm_id}}


async def story(run: Run) -> None:
    base, lead, alone, _ = (by_hand(run) for _ in range(4))
    foreign = by_hand(run)
    foreign.labels.update({f"fleet.vers.sh/{name}": value for name, value in {**CLAIM, "epoch": "7", "vm-id": foreign.vm_id}.items()})
    await run.declare(
        declared(
            TREE,
            nodes=[
                {"name": "base", "category": "Infra", **takes(base)},
                {"name": "lead", "category": "Lieutenant", "parent": "base", **takes(lead)},
            ],
            limits={"maxVMs": 2},
            deletionPolicy="Orphan",
        ),
        declared(ALONE, role="Go on", deletionPolicy="Orphan", **takes(alone)),
        declared(TASK, lieutenantRef={"name": "found-lead"}, prompt="a piece of work"),
    )
    await run.until(lambda: run.phase(TASK) == "Succeeded", "the work is done")
    await run.until(lambda: run.condition(TREE, "Ready") == run.condition(ALONE, "Ready") == "True", "all are taken over")
    await run.declare(
        declared(LATE, role="Too late", **takes(base)),
        declared(THEIRS, role="Of another installation", **takes(foreign)),
    )
    await run.until(lambda: run.condition(LATE, "Stalled") == run.condition(THEIRS, "Stalled") == "True", "both are refused")
    owned = [run.engine.table.owner_of(machine.vm_id) for machine in (base, lead, alone)]
    if len(set(owned)) != 3 or None in owned:
        run.world.violations.append(f"three machines belong to {owned}")
    await leave(run, LATE, THEIRS, TREE, ALONE)
    await run.alive()
    await asyncio.sleep(60)


def judge(run: Run) -> None:
    treated_well(run)
    world, where = run.world, run.describe()
    *adopted, beside, foreign = world.machines.values()
    assert "vers.create_vm" not in run.life.names, where
    assert world.deletes == [], where
    for machine in adopted:
        left = {name: value for name, value in machine.labels.items() if value and name not in STAYS}
        assert left == BY_HAND, f"{machine.labels}; {where}"
    assert beside.labels == BY_HAND, where
    assert not beside.installed, where
    claim = {f"fleet.vers.sh/{name}": value for name, value in {**CLAIM, "epoch": "7", "vm-id": foreign.vm_id}.items()}
    assert foreign.labels == {**BY_HAND, **claim}, where
    assert not foreign.installed, where
    assert delivered(run, "work") == 1, where


SCENARIO = Scenario("adopted-set", story, judge, points=300)
