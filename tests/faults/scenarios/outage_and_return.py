"""No room for machines: work goes on on the controller's host; room again: the agent moves to a machine, works, and is deleted."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.keys import Key
from reconciler.core.snapshot.local import Hosting
from reconciler.engine.state.declared import Declared
from tests.faults.harness import Run
from tests.faults.play import SETTINGS, Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.world import FOREIGN, World

LT = Key("Lieutenant", "default", "api")
ONE, TWO, THREE = (Key("Task", "default", name) for name in ("one", "two", "three"))


def lieutenant() -> Declared:
    return declared(LT, role="Keep the API", profileRef={"name": "lightweight"}, placement={"outageFallback": "Local"})


def task(key: Key) -> Declared:
    return declared(key, lieutenantRef={"name": "api"}, prompt=f"piece {key.name}")


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    world.full = True
    await run.declare(lieutenant(), task(ONE))
    await run.until(lambda: run.phase(ONE) == "Succeeded", "the first task is done on this host")
    for home in world.homes.values():
        assert home.pi is not None
        home.files[f"{home.pi.launch.work_dir}/made.txt"] = b"made here"
    await run.declare(task(TWO))
    await run.until(lambda: run.phase(TWO) in ("Running", "Succeeded"), "the second task runs")
    world.full = False
    await run.until(lambda: run.condition(LT, "VMReady") == "True" and run.condition(LT, "Ready") == "True", "it has moved")
    await run.declare(task(THREE))
    await run.until(lambda: all(run.phase(key) == "Succeeded" for key in (TWO, THREE)), "all tasks are done")
    (machine,) = world.alive()
    said = machine.session.decode()
    for key in (ONE, TWO, THREE):
        if said.count(f"piece {key.name}") != 1:
            world.violations.append(f"the conversation on the machine has {key.name} {said.count(f'piece {key.name}')} times")
    if machine.files.get("/root/workspace/made.txt") != b"made here":
        world.violations.append("what was made on this host is not on the machine")
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    world, where = run.world, run.describe()
    left_nothing(run, made=1)
    assert world.homes == {}, f"left on this host: {list(world.homes)}; {where}"
    for name in ("one", "two", "three"):
        assert delivered(run, name) == 1, f"{name} was delivered {delivered(run, name)} times; {where}"


ALLOWED = replace(SETTINGS, hosting=Hosting.ALLOWED, local_root="/srv/agents", host="this-state-directory")
SCENARIO = Scenario("outage-and-return", story, judge, points=400, settings=ALLOWED, world=World)
