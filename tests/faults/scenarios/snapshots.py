"""A lieutenant whose machine is committed as scheduled, looked at once, and of whose snapshots two are kept; beside somebody else's."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import Commit
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, treated_well
from tests.world import FOREIGN

LT = Key("Lieutenant", "default", "api")
ONE, TWO = (Key("Task", "default", name) for name in ("one", "two"))
THEIRS = "00000000-0000-4000-9000-00000000beef"
KEEP = 2


def kept(run: Run) -> list[str]:
    item = run.engine.table.lieutenant(LT)
    return [commit.commit_id for commit in item.record.slot.commits] if item is not None else []


async def story(run: Run) -> None:
    world = run.world
    machine = world.make({}, owner=FOREIGN)
    world.commits[THEIRS] = Commit(THEIRS, "somebody's", world.now(), machine.vm_id)
    world.foreign_commits.add(THEIRS)
    snapshots = {"schedule": "*/10 * * * *", "keep": KEEP}
    await run.declare(declared(LT, role="Keep the API", profileRef={"name": "lightweight"}, snapshots=snapshots))
    await run.declare(declared(ONE, lieutenantRef={"name": "api"}, prompt="first piece"))
    await run.until(lambda: run.phase(ONE) == "Succeeded", "the first piece is done")
    await run.until(lambda: world.commits_made >= 3 and len(kept(run)) == KEEP, "three were taken, and two are kept")
    await run.declare(declared(TWO, lieutenantRef={"name": "api"}, prompt="second piece"))
    await run.until(lambda: run.phase(TWO) == "Succeeded", "the second piece is done")
    await run.until(lambda: len(kept(run)) == KEEP and world.created >= 3 and len(world.alive()) == 1, "two snapshots were looked at")
    assert set(kept(run)) <= world.commits.keys(), f"what is kept is not there; {run.describe()}"
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    world, where = run.world, run.describe()
    assert 3 <= world.created <= 4, f"{world.created} VMs were made: its own, and one for each look; {where}"
    assert world.alive() == [], f"leaked {[m.vm_id for m in world.alive()]}; {where}"
    assert THEIRS in world.commits, f"somebody else's commit was removed; {where}"
    lied = run.life.fault is not None and "hostile" in run.life.fault.kind
    left = len(world.commits) - 1
    assert left <= KEEP + lied, f"{left} commits are left; {where}"
    for task in ("one", "two"):
        assert delivered(run, task) == 1, f"{task} was delivered {delivered(run, task)} times; {where}"


SCENARIO = Scenario("snapshots", story, judge, points=300)
