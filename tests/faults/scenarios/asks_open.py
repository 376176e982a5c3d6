"""Tool calls that wait for a person: one is let run, one is denied with a reason, one is answered while its pi is gone, under rules of its
task, one is answered by nobody, and one waits when its task is cancelled. The very call goes on, and nothing is prompted again."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.keys import Key
from reconciler.engine.state.declared import Declared
from tests.faults.askworld import PATIENCE, RULE, AskWorld, question_of
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well

LT = Key("Lieutenant", "default", "api")
GIVEN, GONE, NOBODY, DROPPED = (Key("Task", "default", name) for name in ("given", "gone", "nobody", "dropped"))
YES, NO, LATER, NEVER, OVER = (f"git push {remote}" for remote in ("one", "two", "three", "four", "five"))
REASON = "not on a Friday"
PHASES = {GIVEN: "Succeeded", GONE: "Succeeded", NOBODY: "Succeeded", DROPPED: "Cancelled"}


def world_of(run: Run) -> AskWorld:
    assert isinstance(run.world, AskWorld)
    return run.world


def lieutenant() -> Declared:
    rules = {"default": "Allow", "ask": [RULE], "askTimeoutSeconds": int(PATIENCE)}
    limits = {"noProgressSeconds": 0, "taskTimeoutSeconds": 0}
    return declared(LT, role="Keep the API", profileRef={"name": "lightweight"}, permissions=rules, limits=limits)


def task(key: Key, approvals: Sequence[dict[str, str]] = (), **spec: object) -> Declared:
    told = {"approvals": list(approvals)} if approvals else {}
    spec = {**spec, "permissions": {"default": "Allow", "deny": ["bash(rm *)"]}} if key == GONE else spec
    return declared(key, lieutenantRef={"name": LT.name}, prompt=f"piece {key.name}", **told, **spec)


def yes(command: str) -> dict[str, str]:
    return {"id": question_of(command), "decision": "Approve"}


def no(command: str) -> dict[str, str]:
    return {"id": question_of(command), "decision": "Deny", "reason": REASON}


async def asks(run: Run, key: Key, command: str) -> None:
    """Until status tells of this very call."""

    def told() -> bool:
        item = run.engine.table.get(key)
        waiting = item.obj.status.get("asks") if item is not None else None
        return isinstance(waiting, list) and any(isinstance(ask, dict) and ask["id"] == question_of(command) for ask in waiting)

    await run.until(lambda: run.phase(key) == "AwaitingApproval" and told(), f"{key.name} waits for a person with {command}")


async def done(run: Run, key: Key) -> None:
    await run.until(lambda: run.phase(key) == PHASES[key], f"{key.name} is {PHASES[key]}")


async def story(run: Run) -> None:
    world = world_of(run)
    world.calls = [("bash", {"command": YES}), ("bash", {"command": NO})]
    await run.declare(lieutenant(), task(GIVEN))
    await asks(run, GIVEN, YES)
    await run.declare(task(GIVEN, [yes(YES)]))
    await asks(run, GIVEN, NO)
    await run.declare(task(GIVEN, [yes(YES), no(NO)]))
    await done(run, GIVEN)

    world.calls = [("bash", {"command": LATER})]
    await run.declare(task(GONE))
    await asks(run, GONE, LATER)
    world.kill_pi(world.alive()[0])
    await run.declare(task(GONE, [yes(LATER)]))
    await done(run, GONE)

    world.calls = [("bash", {"command": NEVER})]
    await run.declare(task(NOBODY))
    await asks(run, NOBODY, NEVER)
    await done(run, NOBODY)

    world.calls = [("bash", {"command": OVER})]
    await run.declare(task(DROPPED))
    await asks(run, DROPPED, OVER)
    await run.declare(task(DROPPED, cancel=True))
    await done(run, DROPPED)
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    world, where = world_of(run), run.describe()
    left_nothing(run, made=1)
    assert dict(world.ran) == {YES: 1, LATER: 1}, f"{dict(world.ran)} ran; {where}"
    assert world.allowed == [YES, LATER], f"{world.allowed} were let run; {where}"
    assert world.denied == [(NO, REASON)], f"{world.denied} were denied; {where}"
    assert world.timed_out == [NEVER], f"{world.timed_out} were answered by nobody; {where}"
    others = [text for text, _, held in world.ruled if GONE.name in text and "bash(rm *)" not in str(held)]
    assert not others, f"{others} was said under other rules than those of its task; {where}"
    for key, phase in PHASES.items():
        assert run.phase(key) == phase, f"{key.name} is {run.phase(key)}; {where}"
        assert delivered(run, key.name) == 1, f"{key.name} was prompted {delivered(run, key.name)} times; {where}"


SCENARIO = Scenario("asks-open", story, judge, points=1100, world=AskWorld)
