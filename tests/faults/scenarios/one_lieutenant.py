"""One lieutenant: two tasks, a steer into the first, a suspension and a return, the end."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.engine.state.declared import Declared
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.world import FOREIGN

LT = Key("Lieutenant", "default", "api")
ONE, TWO, STEER = (Key("Task", "default", name) for name in ("one", "two", "steer"))


def lieutenant(mode: str = "Running") -> Declared:
    return declared(LT, role="Keep the API", mode=mode, profileRef={"name": "lightweight"})


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    await run.declare(
        lieutenant(),
        declared(ONE, lieutenantRef={"name": "api"}, prompt="first piece"),
        declared(TWO, lieutenantRef={"name": "api"}, prompt="second piece", after=[{"name": "one"}]),
    )
    await run.until(lambda: run.phase(ONE) in ("Running", "Succeeded"), "the first task runs")
    await run.declare(declared(STEER, lieutenantRef={"name": "api"}, prompt="use another port", delivery="Steer", target={"name": "one"}))
    await run.until(lambda: run.phase(TWO) in ("Running", "Succeeded"), "the second task runs")
    await run.declare(lieutenant("Suspended"))
    await run.until(lambda: run.condition(LT, "Suspended") == "True" and run.condition(LT, "Ready") == "True", "it sleeps")
    if [m.state.value for m in world.alive()] != ["suspended"]:
        world.violations.append("declared suspended, and costs a running VM")
    await run.declare(lieutenant())
    await run.until(lambda: run.condition(LT, "Available") == "True", "it is awake again")
    await run.until(lambda: run.phase(ONE) == "Succeeded" and run.phase(TWO) == "Succeeded", "both tasks are done")
    await run.until(lambda: run.phase(STEER) in ("Succeeded", "Expired"), "the steer has a result")
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    where = run.describe()
    left_nothing(run, made=1)
    for task in ("one", "two"):
        assert delivered(run, task) == 1, f"{task} was delivered {delivered(run, task)} times; {where}"
    landed = run.phase(STEER) == "Succeeded"
    assert delivered(run, "steer") == (1 if landed else 0), f"steer {run.phase(STEER)}, seen {delivered(run, 'steer')} times; {where}"


SCENARIO = Scenario("one-lieutenant", story, judge, points=500, every=True)
