"""An agent that is declared to live on the controller's host: a task, a suspension and a return, another task, the end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from reconciler.core.keys import Key
from reconciler.core.snapshot.local import Hosting
from reconciler.engine.state.declared import Declared
from tests.faults.harness import Run
from tests.faults.play import SETTINGS, Scenario, declared, delivered, treated_well

LT = Key("Lieutenant", "default", "api")
ONE, TWO = (Key("Task", "default", name) for name in ("one", "two"))


def lieutenant(mode: str = "Running") -> Declared:
    return declared(LT, role="Keep the API", mode=mode, profileRef={"name": "lightweight"}, placement={"type": "Local"})


async def story(run: Run) -> None:
    await run.declare(lieutenant(), declared(ONE, lieutenantRef={"name": "api"}, prompt="first piece"))
    await run.until(lambda: run.phase(ONE) in ("Running", "Succeeded"), "the first task runs")
    await run.declare(lieutenant("Suspended"))
    await run.until(lambda: run.condition(LT, "Suspended") == "True" and run.condition(LT, "Ready") == "True", "it sleeps")
    if any(home.pi is not None for home in run.world.homes.values()):
        run.world.violations.append("declared suspended, and its pi runs")
    await run.declare(lieutenant(), declared(TWO, lieutenantRef={"name": "api"}, prompt="second piece"))
    await run.until(lambda: run.phase(ONE) == "Succeeded" and run.phase(TWO) == "Succeeded", "both tasks are done")
    await run.delete(LT)
    await run.until(lambda: run.phase(LT) == "(gone)", "it is gone")
    await run.alive()
    await asyncio.sleep(60)


def judge(run: Run) -> None:
    treated_well(run)
    assert run.world.created == 0, run.describe()
    assert run.world.homes == {}, f"left on this host: {list(run.world.homes)}; {run.describe()}"
    for name in ("one", "two"):
        assert delivered(run, name) == 1, f"{name} was delivered {delivered(run, name)} times; {run.describe()}"


ALLOWED = replace(SETTINGS, hosting=Hosting.ALLOWED, local_root="/srv/agents", host="this-state-directory")
SCENARIO = Scenario("local-agent", story, judge, points=200, settings=ALLOWED)
