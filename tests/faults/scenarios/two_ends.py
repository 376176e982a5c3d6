"""What only a person can mend: a machine whose clock went wrong in its sleep, a conversation whose two ends differ (once the machine's is
chosen, once the mirror's), and an agent that crashes until it is given up and tried again by request."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.core.records import LieutenantRecord
from reconciler.engine.state.declared import Declared
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well

LT = Key("Lieutenant", "default", "api")
TASKS = tuple(Key("Task", "default", name) for name in ("one", "two", "three", "four"))
SKEW = 7200.0


def lieutenant(mode: str = "Running") -> Declared:
    crash_loop = {"maxRestarts": 4, "windowSeconds": 3600, "stableSeconds": 3600}
    restart = {"backoff": {"baseSeconds": 1, "maxSeconds": 5}, "crashLoop": crash_loop}
    return declared(LT, role="Keep the API", mode=mode, profileRef={"name": "lightweight"}, restart=restart)


def record(run: Run) -> LieutenantRecord:
    item = run.engine.table.lieutenant(LT)
    assert item is not None
    return item.record


def stalled_for(run: Run) -> str:
    item = run.engine.table.get(LT)
    conditions = item.obj.status.get("conditions") if item is not None else None
    found = [c for c in conditions if isinstance(c, dict) and c["type"] == "Stalled"] if isinstance(conditions, list) else []
    return str(found[0]["reason"]) if found and found[0]["status"] == "True" else ""


async def ask(run: Run, verb: str, token: str) -> None:
    """As a person would: again until it was taken."""
    await run.retrying(lambda: run.engine.declarations.annotate(LT, {f"fleet.vers.sh/{verb}": token}))
    await run.until(lambda: record(run).handled.get(verb) == token, f"{verb} {token} is heeded")


async def done(run: Run, key: Key) -> None:
    await run.declare(declared(key, lieutenantRef={"name": LT.name}, prompt=f"piece {key.name}"))
    await run.until(lambda: run.phase(key) == "Succeeded", f"{key.name} is done")
    await available(run)


async def available(run: Run) -> None:
    await run.until(lambda: run.condition(LT, "Available") == "True", "it is available")


async def differ(run: Run, line: bytes) -> bytes:
    """Somebody writes another, shorter conversation over the one on the machine; it waits for a person. What is there now."""
    (machine,) = run.world.alive()
    run.world.kill_pi(machine)
    machine.session = machine.session.split(b"\n", 1)[0] + b"\n" + line * 2
    await run.until(lambda: stalled_for(run) == "SessionDiverged", "it asks which end goes on")
    assert machine.pi is None, run.describe()
    return machine.session


async def story(run: Run) -> None:
    world = run.world
    one, two, three, four = TASKS
    await run.declare(lieutenant())
    await done(run, one)
    (machine,) = world.alive()

    await run.declare(lieutenant("Suspended"))
    await run.until(lambda: run.condition(LT, "Suspended") == "True" and run.condition(LT, "Ready") == "True", "it sleeps")
    machine.clock_skew = SKEW
    await run.declare(lieutenant())
    await available(run)
    await run.until(lambda: machine.clock_skew == 0.0, "its clock is right again")

    there = await differ(run, b'{"type":"custom","data":"another life"}\n')
    await ask(run, "resolve", "session=vm:1")
    await done(run, two)
    if not machine.session.startswith(there):
        world.violations.append("the machine's end was chosen, and does not go on")
    said = machine.session
    await differ(run, b'{"type":"custom","data":"a third"}\n')
    await ask(run, "resolve", "session=local:2")
    await done(run, three)
    if not machine.session.startswith(said):
        world.violations.append("the mirror's end was chosen, and does not go on")

    while stalled_for(run) != "CrashLoop":
        world.kill_pi(machine, code=1, signal=None)
        await run.until(lambda: machine.pi is not None or stalled_for(run) == "CrashLoop", "it is up again, or given up")
    await ask(run, "retry", "3")
    await done(run, four)
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    where = run.describe()
    left_nothing(run, made=1)
    for key in TASKS:
        assert delivered(run, key.name) == 1, f"{key.name} was delivered {delivered(run, key.name)} times; {where}"


SCENARIO = Scenario("two-ends", story, judge, points=730)
