"""Its machine dies in a turn, the next one vanishes, a new conversation is declared, and the last machine takes that one with it."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.core.records import LieutenantRecord
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.state.declared import Declared
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.world import FOREIGN, Machine

LT = Key("Lieutenant", "default", "api")
TASKS = tuple(Key("Task", "default", name) for name in ("one", "two", "three", "four"))


def lieutenant(**session: object) -> Declared:
    return declared(LT, role="Keep the API", profileRef={"name": "lightweight"}, session=session)


def task(key: Key) -> Declared:
    return declared(key, lieutenantRef={"name": "api"}, prompt=f"piece {key.name}")


def record(run: Run) -> LieutenantRecord:
    item = run.engine.table.lieutenant(LT)
    assert item is not None
    return item.record


def housed(run: Run) -> Machine | None:
    """The machine it lives on, as far as that is written down."""
    return run.world.machines.get(record(run).slot.vm_id)


async def replaced(run: Run, old: Machine) -> None:
    await run.until(lambda: (now := housed(run)) is not None and now is not old, "another machine")


async def mirrors(run: Run) -> bytes:
    """Everything that is kept of all its conversations."""
    session = record(run).session
    return b"".join([await run.engine.gatherer.transcripts.read(name) for name in (*session.earlier, session.name)])


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    one, two, three, four = TASKS
    await run.declare(lieutenant(), task(one))
    await run.until(lambda: run.phase(one) == "Succeeded", "the first piece is done")

    await run.declare(task(two))
    await run.until(lambda: run.phase(two) == "Running", "the second runs")
    first = housed(run)
    assert first is not None
    first.state = VmState.DEAD
    world.kill_pi(first)
    await replaced(run, first)
    await run.until(lambda: run.phase(two) == "Succeeded", "the second is done elsewhere")

    second = housed(run)
    assert second is not None
    world.kill_pi(second)
    second.deleted = True
    await replaced(run, second)

    await run.declare(lieutenant(generation=2, onLost="New"))
    await run.until(lambda: record(run).session.generation == 2, "a new conversation")
    await run.declare(task(three))
    await run.until(lambda: run.phase(three) == "Succeeded", "the third is done in it")
    third = housed(run)
    assert third is not None
    third.state = VmState.DEAD
    world.kill_pi(third)
    await replaced(run, third)
    await run.declare(task(four))
    await run.until(lambda: run.phase(four) == "Succeeded", "the fourth is done in another one")
    await run.until(lambda: run.condition(LT, "Available") == "True", "it is ready")
    check_what_it_knows(run, await mirrors(run))
    await leave(run, LT)


def check_what_it_knows(run: Run, kept: bytes) -> None:
    """No settled turn is lost from what is kept, and only the declared ones from what it remembers."""
    where = run.describe()
    now = housed(run)
    assert now is not None
    for key in TASKS:
        asked = f"piece {key.name}".encode()
        assert kept.count(asked) == 1, f"{key.name} is kept {kept.count(asked)} times; {where}"
    assert [b"piece " + name in now.session for name in (b"one", b"two", b"three", b"four")] == [False, False, False, True], where
    assert len(record(run).session.earlier) == 2, where


def judge(run: Run) -> None:
    treated_well(run)
    where = run.describe()
    left_nothing(run, made=4)
    for key in TASKS:
        assert delivered(run, key.name) == 1, f"{key.name} was delivered {delivered(run, key.name)} times; {where}"


SCENARIO = Scenario("lost-machines", story, judge, points=850)
