"""A VM that was made by hand is taken over, used, and let go of; the one beside it is nobody's business."""

from __future__ import annotations

from reconciler.core.keys import Key
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, treated_well

LT, TASK = Key("Lieutenant", "default", "found"), Key("Task", "default", "work")
BY_HAND, BESIDE = {"made-by": "hand"}, {"made-by": "somebody else", "fleet.vers.sh/name": "found"}


async def story(run: Run) -> None:
    there, _ = run.world.make(BY_HAND), run.world.make(BESIDE)
    await run.declare(
        declared(LT, role="Go on", profileRef={"name": "lightweight"}, adopt={"vmId": there.vm_id}, deletionPolicy="Orphan"),
        declared(TASK, lieutenantRef={"name": "found"}, prompt="a piece of work"),
    )
    await run.until(lambda: run.phase(TASK) == "Succeeded", "the work is done")
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    world, where = run.world, run.describe()
    there, beside = world.machines.values()
    assert "vers.create_vm" not in run.life.names, where
    assert world.deletes == [], where
    stays = ("fleet.vers.sh/epoch", "fleet.vers.sh/released-by")  # the next owner's epoch is higher, and it is told whose the machine was
    left = {name: value for name, value in there.labels.items() if value and name not in stays}
    assert left == BY_HAND, f"{there.labels}; {where}"
    unreachable = run.life.fault is not None and run.life.fault.name == "guest.remove_claim"  # told, not waited for: the labels decide
    assert there.claim is None or unreachable, f"a claim is left in the guest; {where}"
    assert beside.labels == BESIDE, where
    assert not beside.installed, where
    assert delivered(run, "work") == 1, where


SCENARIO = Scenario("adopted", story, judge, points=150)
