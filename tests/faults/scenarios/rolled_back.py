"""A lieutenant goes back to a snapshot: another machine is made and looked at, the two change places, and the first one goes."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.core.records import LieutenantRecord
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.world import FOREIGN

LT = Key("Lieutenant", "default", "api")
TASKS = ONE, TWO, THREE = tuple(Key("Task", "default", name) for name in ("one", "two", "three"))


def record(run: Run) -> LieutenantRecord:
    item = run.engine.table.lieutenant(LT)
    assert item is not None
    return item.record


async def work(run: Run, key: Key) -> None:
    await run.declare(declared(key, lieutenantRef={"name": "api"}, prompt=f"piece {key.name}"))
    await run.until(lambda: run.phase(key) == "Succeeded", f"{key.name} is done")


async def ask(run: Run, verb: str, token: str) -> None:
    async def once() -> None:
        await run.engine.declarations.annotate(LT, {f"fleet.vers.sh/{verb}": token})

    await run.retrying(once)


async def story(run: Run) -> None:
    run.world.make({}, owner=FOREIGN)
    await run.declare(declared(LT, role="Keep the API", profileRef={"name": "lightweight"}))
    await work(run, ONE)
    await ask(run, "snapshot", "first")
    await run.until(lambda: len(record(run).slot.commits) == 1, "it is committed")
    (commit,) = record(run).slot.commits
    await work(run, TWO)
    old = record(run).slot.vm_id
    await ask(run, "rollback", f"{commit.commit_id}:first")
    await run.until(lambda: record(run).rollback.state == "Done" and len(run.world.alive()) == 1, "it is back, and one machine is left")
    await work(run, THREE)
    where = run.describe()
    session, now = record(run).session, run.world.machines[record(run).slot.vm_id]
    assert now.vm_id != old, where
    assert [b"piece " + key.name.encode() in now.session for key in TASKS] == [True, False, True], where
    mirrors = [await run.engine.gatherer.transcripts.read(name) for name in (*session.earlier, session.name)]
    assert [b"piece two" in mirror for mirror in mirrors] == [True, False], f"what was cut is not readable any more; {where}"
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=2)
    for key in TASKS:
        assert delivered(run, key.name) == 1, f"{key.name} was delivered {delivered(run, key.name)} times; {run.describe()}"


SCENARIO = Scenario("rolled-back", story, judge, points=300)
