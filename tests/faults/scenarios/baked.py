"""A profile is baked and a second lieutenant begins with its commit; then it changes to what can't be verified, which is given up. In
between a conversation is taken back by a turn."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.core.snapshot.machine import CommitSource
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.world import FOREIGN, false_fails

PROFILE = Key("BootProfile", "default", "built")
ONE, TWO = (Key("Lieutenant", "default", name) for name in ("one", "two"))
TASK = Key("Task", "default", "first")


def profile(check: str) -> dict[str, object]:
    steps = [{"name": "tools", "run": "one"}]
    return {"source": {"image": "default"}, "steps": steps, "verify": [{"name": "v", "command": [check]}], "bake": {"enabled": True}}


def told(run: Run, key: Key, part: str, field: str) -> object:
    item = run.engine.table.get(key)
    status = dict(item.obj.status).get(part) if item is not None else None
    return status.get(field) if isinstance(status, dict) else None


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    world.commands = false_fails
    await run.declare(
        declared(PROFILE, **profile("true")),
        declared(ONE, role="Keep it", profileRef={"name": "built"}),
        declared(TASK, lieutenantRef={"name": "one"}, prompt="piece first"),
    )
    await run.until(lambda: told(run, PROFILE, "bake", "state") == "Baked", "it is baked")
    await run.until(lambda: run.phase(TASK) == "Succeeded", "the task is done")
    name = told(run, ONE, "session", "name")
    await run.retrying(lambda: run.engine.declarations.annotate(ONE, {"fleet.vers.sh/rewind": "1:token"}))
    await run.until(lambda: told(run, ONE, "session", "name") not in (None, name), "its conversation is taken back")
    await run.declare(declared(TWO, role="Keep another", profileRef={"name": "built"}))
    for key in (ONE, TWO):
        await run.until(lambda key=key: run.condition(key, "Available") == "True", f"{key} is available")  # type: ignore[misc]
    item = run.engine.table.lieutenant(TWO)
    machine = world.machines.get(item.record.slot.vm_id) if item is not None else None
    if machine is None or not isinstance(machine.source, CommitSource):
        world.violations.append("the second one did not begin with what was baked")
    await run.declare(declared(PROFILE, **profile("false")))
    await run.until(lambda: run.condition(PROFILE, "Stalled") == "True", "what can't be verified is given up")
    await run.until(lambda: len(world.alive()) == 2, "its machine is gone")
    await leave(run, ONE, TWO)


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=4)
    assert delivered(run, "first") == 1, run.describe()


SCENARIO = Scenario("baked", story, judge, points=400)
