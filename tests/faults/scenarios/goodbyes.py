"""Three lieutenants at work are deleted, each by another policy: snapshotted first, retained, let go of."""

from __future__ import annotations

from reconciler.core.keys import Key
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, treated_well
from tests.world import FOREIGN

POLICIES = {"snap": "Snapshot", "kept": "Retain", "freed": "Orphan"}
LIEUTENANTS = {name: Key("Lieutenant", "default", name) for name in POLICIES}
TASK = Key("Task", "default", "work")


async def story(run: Run) -> None:
    run.world.make({}, owner=FOREIGN)
    for name, key in LIEUTENANTS.items():
        await run.declare(declared(key, role="Keep it", profileRef={"name": "lightweight"}, deletionPolicy=POLICIES[name]))
    await run.declare(declared(TASK, lieutenantRef={"name": "snap"}, prompt="a piece of work"))
    await run.until(lambda: all(run.condition(key, "Available") == "True" for key in LIEUTENANTS.values()), "all are there")
    await run.until(lambda: run.phase(TASK) == "Succeeded", "the work is done")
    await leave(run, *LIEUTENANTS.values())


def judge(run: Run) -> None:
    treated_well(run)
    world, where = run.world, run.describe()
    assert world.created == 3, f"{world.created} VMs were made; {where}"
    assert delivered(run, "work") == 1, where
    assert len(world.commits) == 1, f"{len(world.commits)} snapshots; {where}"
    assert len(world.deletes) == 1, f"deleted {world.deletes}; {where}"
    mine = "fleet.vers.sh/"
    claims = [{n: v for n, v in m.labels.items() if n.startswith(mine) and v and n != mine + "epoch"} for m in world.alive()]
    assert len(claims) == 2, f"{len(claims)} are left; {where}"
    kept, freed = sorted(claims, key=len, reverse=True)
    assert kept["fleet.vers.sh/name"] == "kept", where
    assert set(freed) == {"fleet.vers.sh/released-by"}, f"let go of, and still claimed: {freed}; {where}"


SCENARIO = Scenario("goodbyes", story, judge, points=490)
