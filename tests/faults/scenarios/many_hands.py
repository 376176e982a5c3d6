"""One VM through many hands: retained, adopted by the next, forgotten, adopted again and snapshotted before it goes; and one that is
protected until its deletion is confirmed."""

from __future__ import annotations

import asyncio

from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.state.declared import Declared
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, left_nothing, treated_well
from tests.world import FOREIGN

FIRST, SECOND, THIRD, SAFE = (Key("Lieutenant", "default", name) for name in ("first", "second", "third", "safe"))
ONE, TWO, THREE = (Key("Task", "default", name) for name in ("one", "two", "three"))
PROTECTED = {"fleet.vers.sh/deletion-protection": "enabled"}


def lieutenant(key: Key, **spec: object) -> Declared:
    return declared(key, role="Keep it", profileRef={"name": "lightweight"}, **spec)


def task(key: Key, to: Key) -> Declared:
    return declared(key, lieutenantRef={"name": to.name}, prompt=f"piece {key.name}")


async def ask(run: Run, key: Key, verbs: dict[str, str] | None = None) -> None:
    """Delete, as a person would: again until it was taken."""

    async def once() -> None:
        if run.engine.table.get(key) is not None:
            await run.engine.declarations.delete(key, verbs=verbs)

    await run.retrying(once)


async def gone(run: Run, key: Key) -> None:
    await run.until(lambda: run.phase(key) == "(gone)", f"{key} is gone")


async def done(run: Run, key: Key, to: Key) -> None:
    await run.declare(task(key, to))
    await run.until(lambda: run.phase(key) == "Succeeded", f"{key} is done")


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    nobodys = world.make({"made-by": "hand"})
    nobodys.state = VmState.RUNNING

    await run.declare(lieutenant(FIRST, adopt={"vmId": nobodys.vm_id}, deletionPolicy="Retain"))
    await done(run, ONE, FIRST)
    await ask(run, FIRST)
    await gone(run, FIRST)
    if not nobodys.labels.get("fleet.vers.sh/retained") or nobodys.deleted:
        world.violations.append("what was to be retained is not")

    await run.declare(lieutenant(SECOND, adopt={"vmId": nobodys.vm_id}))
    await done(run, TWO, SECOND)
    await ask(run, SECOND, {"detached": "t"})
    await gone(run, SECOND)
    if nobodys.labels.get("fleet.vers.sh/vm-id") or nobodys.deleted:
        world.violations.append("what was to be let go is not")

    await run.declare(lieutenant(THIRD, adopt={"vmId": nobodys.vm_id}, deletionPolicy="Snapshot"))
    safe = lieutenant(SAFE)
    await run.declare(Declared(SAFE, safe.spec, {}, PROTECTED, "api"))
    await done(run, THREE, THIRD)
    await run.until(lambda: run.condition(SAFE, "Available") == "True", "the protected one is there")
    await ask(run, THIRD)
    await ask(run, SAFE, {"delete-confirmed": "t"})
    await gone(run, THIRD)
    await gone(run, SAFE)
    if not any(commit.parent_vm_id == nobodys.vm_id for commit in world.commits.values()):
        world.violations.append("it was deleted without its snapshot")
    await run.alive()
    await asyncio.sleep(120)


def judge(run: Run) -> None:
    treated_well(run)
    world, where = run.world, run.describe()
    left_nothing(run, made=2)
    assert len(world.commits) <= 2, f"{len(world.commits)} commits; {where}"
    for name in ("one", "two", "three"):
        assert delivered(run, name) == 1, f"{name} was delivered {delivered(run, name)} times; {where}"


SCENARIO = Scenario("many-hands", story, judge, points=650)
