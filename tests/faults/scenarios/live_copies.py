"""Two live copies are made of a lieutenant at work, between two of its tasks; each goes on apart with what the source had been told, and
what waits for the source is delivered right after."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.keys import Key
from tests.faults.boundedworld import BoundedWorld
from tests.faults.harness import Run
from tests.faults.play import SETTINGS, Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.world import FOREIGN, Machine

LT = Key("Lieutenant", "default", "api")
COPIES = tuple(Key("Lieutenant", "default", f"copy-{name}") for name in ("a", "b"))
FIRST, SECOND = Key("Task", "default", "first"), Key("Task", "default", "second")
WORK = tuple(Key("Task", "default", f"for-{copy.name}") for copy in COPIES)


def housed(run: Run, key: Key) -> Machine | None:
    item = run.engine.table.lieutenant(key)
    return run.world.machines.get(item.record.slot.vm_id) if item is not None else None


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    await run.declare(
        declared(LT, role="Keep the API", profileRef={"name": "lightweight"}),
        declared(FIRST, lieutenantRef={"name": "api"}, prompt="piece first"),
        declared(SECOND, lieutenantRef={"name": "api"}, prompt="piece second"),
    )
    await run.until(lambda: run.phase(FIRST) in ("Running", "Succeeded"), "the first task runs")
    for copy, work in zip(COPIES, WORK, strict=True):
        await run.declare(
            declared(copy, role="Try another way", profileRef={"name": "lightweight"}, fork={"from": {"name": "api"}}),
            declared(work, lieutenantRef={"name": copy.name}, prompt=f"piece {work.name}"),
        )
    everything = (FIRST, SECOND, *WORK)
    await run.until(lambda: all(run.phase(key) == "Succeeded" for key in everything), "all of it is done")
    for key in (LT, *COPIES):
        await run.until(lambda key=key: run.condition(key, "Available") == "True", f"{key} is available")  # type: ignore[misc]
    source, housed_copies = housed(run, LT), [housed(run, copy) for copy in COPIES]
    for machine, work in zip(housed_copies, WORK, strict=True):
        if machine is None or source is None or machine.branched_from != source.vm_id:
            world.violations.append(f"{work.name} was not done on a live copy")
            continue
        if machine.session.count(b"piece first") != 1 or machine.session.count(f"piece {work.name}".encode()) != 1:
            world.violations.append(f"the conversation of {work.name} is not what was said")
        if any(f"piece {other.name}".encode() in machine.session for other in WORK if other != work):
            world.violations.append(f"{work.name} has what another one was told")
    if source is None or any(f"piece {work.name}".encode() in source.session for work in WORK):
        world.violations.append("the source has what its copies were told")
    await leave(run, *COPIES, LT)


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=3)
    for key in (FIRST, SECOND, *WORK):
        assert delivered(run, key.name) == 1, f"{key.name} was delivered {delivered(run, key.name)} times; {run.describe()}"


MOST = 3

SCENARIO = Scenario("live-copies", story, judge, points=600, settings=replace(SETTINGS, max_vms=MOST), world=lambda: BoundedWorld(MOST))
