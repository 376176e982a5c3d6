"""A baked profile keeps a machine ready; two lieutenants come, one takes it and it is made up for; the profile changes, so the one that
rests goes for another; at last the profile is deleted."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.core.profile import warm
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, treated_well
from tests.faults.scenarios.baked import told
from tests.world import FOREIGN

PROFILE = Key("BootProfile", "default", "built")
ONE, TWO, THREE = (Key("Lieutenant", "default", name) for name in ("one", "two", "three"))
TASK = Key("Task", "default", "first")


def profile(run: str) -> dict[str, object]:
    return {"source": {"image": "default"}, "steps": [{"name": "tools", "run": run}], "bake": {"enabled": True, "keep": 1, "warm": 1}}


def machine_of(run: Run, key: Key) -> str:
    item = run.engine.table.lieutenant(key)
    return item.record.slot.vm_id if item is not None else ""


def resting(run: Run) -> str:
    """The machine that rests, '' for none."""
    keys = [key for key in run.engine.table.all_keys() if warm.serial_of(key)]
    return machine_of(run, keys[0]) if told(run, PROFILE, "bake", "warm") == 1 and len(keys) == 1 else ""


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    await run.declare(declared(PROFILE, **profile("one")), declared(ONE, role="Keep it", profileRef={"name": "built"}))
    await run.until(lambda: bool(resting(run)), "one is kept ready")
    kept = resting(run)
    await run.declare(
        declared(TWO, role="Keep it", profileRef={"name": "built"}),
        declared(THREE, role="Keep it", profileRef={"name": "built"}),
        declared(TASK, lieutenantRef={"name": "two"}, prompt="piece first"),
    )
    for key in (ONE, TWO, THREE):
        await run.until(lambda key=key: run.condition(key, "Available") == "True", f"{key} is available")  # type: ignore[misc]
    await run.until(lambda: run.phase(TASK) == "Succeeded", "the task is done")
    machines = [machine_of(run, key) for key in (ONE, TWO, THREE)]
    if len(set(machines)) != 3 or "" in machines:
        world.violations.append(f"three lieutenants have {machines}")
    if kept not in machines and not world.machines[kept].deleted:
        world.violations.append("nobody took the one that was kept ready")
    await run.until(lambda: resting(run) not in ("", kept), "another one is kept ready")
    before = resting(run)
    await run.declare(declared(PROFILE, **profile("two")))
    await run.until(lambda: resting(run) not in ("", before), "one of the changed profile is kept ready")
    await run.until(lambda: len(world.alive()) == 4, "the one before it is gone")
    await leave(run, PROFILE, ONE, TWO, THREE)


def judge(run: Run) -> None:
    treated_well(run)
    assert run.world.alive() == [], f"leaked {[m.vm_id for m in run.world.alive()]}; {run.describe()}"
    assert not run.world.created > MOST, f"{run.world.created} VMs were made; {run.describe()}"
    assert delivered(run, "first") == 1, run.describe()


MOST = 9
"""Three lieutenants, two ovens, and those that were kept ready: each of the two that were taken or outdated is made up for."""

SCENARIO = Scenario("kept_ready", story, judge, points=500)
