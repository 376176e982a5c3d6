"""Two lieutenants restored from one commit, beside machines that others restored from it earlier and elsewhere."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import VmState
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.world import FOREIGN

COMMIT = "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c11"
PROFILE = Key("BootProfile", "default", "restored")
API, WEB = (Key("Lieutenant", "default", name) for name in ("api", "web"))
ONE, TWO = (Key("Task", "default", name) for name in ("one", "two"))


async def story(run: Run) -> None:
    world = run.world
    for machine in (world.make({}, parent=COMMIT), world.make({}, parent=COMMIT, owner=FOREIGN)):
        machine.state = VmState.RUNNING
    await run.until(lambda: run.engine.fleet.latest is not None, "they have been seen")
    await run.declare(
        declared(PROFILE, source={"commitId": COMMIT}, steps=[{"name": "tools", "run": "make tools"}]),
        declared(API, role="Keep the API", profileRef={"name": "restored"}),
        declared(WEB, role="Keep the site", profileRef={"name": "restored"}),
        declared(ONE, lieutenantRef={"name": "api"}, prompt="first piece"),
        declared(TWO, lieutenantRef={"name": "web"}, prompt="second piece"),
    )
    await run.until(lambda: run.phase(ONE) == "Succeeded" and run.phase(TWO) == "Succeeded", "both tasks are done")
    await leave(run, API, WEB)


def judge(run: Run) -> None:
    treated_well(run)
    theirs, foreign = list(run.world.machines.values())[:2]
    assert not theirs.deleted, f"somebody else's VM was deleted; {run.describe()}"
    assert theirs.labels == foreign.labels == {}, f"somebody else's VM was claimed; {run.describe()}"
    theirs.deleted = True  # by whoever made it
    left_nothing(run, made=3)
    for task in ("one", "two"):
        assert delivered(run, task) == 1, f"{task} was delivered {delivered(run, task)} times; {run.describe()}"


SCENARIO = Scenario("restored", story, judge, points=500)
