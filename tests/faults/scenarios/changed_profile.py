"""A profile with steps, an organ and a check; a task; then the profile changes, and the machine is replaced under the conversation."""

from __future__ import annotations

import asyncio

from reconciler.core.keys import Key
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, treated_well
from tests.world import FOREIGN

LT = Key("Lieutenant", "default", "api")
PROFILE = Key("BootProfile", "default", "own")
ONE, TWO = (Key("Task", "default", name) for name in ("one", "two"))


async def profile(run: Run, script: str) -> None:
    await run.declare(
        declared(
            PROFILE,
            source={"image": "default"},
            organs=["store"],
            steps=[{"name": "tools", "run": script, "retries": 2}],
            verify=[{"name": "there", "command": ["true"]}],
        )
    )


def outdated(run: Run) -> bool:
    item = run.engine.table.lieutenant(LT)
    boot = item.obj.status.get("boot") if item is not None else None
    return not isinstance(boot, dict) or boot.get("outdated") is not False


async def story(run: Run) -> None:
    run.world.make({}, owner=FOREIGN)
    await profile(run, "one")
    await run.declare(
        declared(LT, role="Keep the API", profileRef={"name": "own"}, update={"onProfileChange": "Recreate"}),
        declared(ONE, lieutenantRef={"name": "api"}, prompt="first piece"),
    )
    await run.until(lambda: run.phase(ONE) == "Running", "the first task runs")
    await profile(run, "two")
    await run.until(lambda: run.phase(ONE) == "Succeeded", "it is done, whatever became of its machine")
    await run.until(lambda: len(run.world.deletes) == 1, "the outdated machine is gone")
    await run.until(lambda: run.condition(LT, "Available") == "True" and not outdated(run), "another one is there, as declared")
    await run.declare(declared(TWO, lieutenantRef={"name": "api"}, prompt="second piece"))
    await run.until(lambda: run.phase(TWO) == "Succeeded", "the second task is done")
    await run.alive()
    await asyncio.sleep(60)


def judge(run: Run) -> None:
    treated_well(run)
    world, where = run.world, run.describe()
    assert world.created == 2, f"{world.created} VMs were made; {where}"
    (machine,) = world.alive()
    for task, text in (("one", b"first piece"), ("two", b"second piece")):
        assert delivered(run, task) == 1, f"{task} was delivered {delivered(run, task)} times; {where}"
        assert machine.session.count(text) >= 1, f"the conversation lost {task}; {where}"


SCENARIO = Scenario("changed-profile", story, judge, points=400)
