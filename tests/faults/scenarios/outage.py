"""VMs cannot be had: the agent works on this host; when they can, it moves to one and goes on there."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from reconciler.core.home import Hosting
from reconciler.core.keys import Key
from tests.faults.harness import Run
from tests.faults.play import SETTINGS, Scenario, declared, delivered, treated_well
from tests.world import World

LT = Key("Lieutenant", "default", "api")
ONE, TWO, THREE = (Key("Task", "default", name) for name in ("one", "two", "three"))
ALLOWED = replace(SETTINGS, hosting=Hosting.ALLOWED, local_root="/srv/agents", host="this-state-directory")


def full() -> World:
    world = World()
    world.full = True
    return world


async def story(run: Run) -> None:
    await run.declare(
        declared(LT, role="Keep the API", profileRef={"name": "lightweight"}, placement={"outageFallback": "Local"}),
        declared(ONE, lieutenantRef={"name": "api"}, prompt="on this host"),
    )
    await run.until(lambda: run.phase(ONE) == "Succeeded", "it works on this host")
    if run.condition(LT, "VMReady") != "False":
        run.world.violations.append("works without a VM and does not say so")
    run.world.full = False
    await run.declare(declared(TWO, lieutenantRef={"name": "api"}, prompt="while it moves"))
    await run.until(lambda: run.phase(TWO) == "Succeeded" and not run.world.homes, "it has moved")
    await run.declare(declared(THREE, lieutenantRef={"name": "api"}, prompt="on the machine"))
    await run.until(lambda: run.phase(THREE) == "Succeeded", "it works on the machine")
    (machine,) = run.world.alive()
    for task in (b"/one attempt", b"/two attempt", b"/three attempt"):
        if task not in machine.session:
            run.world.violations.append(f"{task.decode()} is not in the conversation on the machine")
    await run.delete(LT)
    await run.until(lambda: run.phase(LT) == "(gone)", "it is gone")
    await run.alive()
    await asyncio.sleep(120)


def judge(run: Run) -> None:
    treated_well(run)
    world, where = run.world, run.describe()
    assert world.created == 1, f"{world.created} VMs were made; {where}"
    assert world.alive() == [], f"leaked {[m.vm_id for m in world.alive()]}; {where}"
    left = [place for place, home in world.homes.items() if home.installed or home.pi or home.sessions]
    assert left == [], f"left on this host: {left}; {where}"
    for task in ("one", "two", "three"):
        assert delivered(run, task) == 1, f"{task} was delivered {delivered(run, task)} times; {where}"


SCENARIO = Scenario("outage", story, judge, points=300, settings=ALLOWED, world=full)
