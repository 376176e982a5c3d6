"""Two agents write what they remember, each for itself and both for each other, while the controller is struck; a machine dies in between,
a person edits, and one of them is suspended and goes on: nothing that was saved is lost, and nothing is there twice."""

from __future__ import annotations

from reconciler.core.audit import Actor
from reconciler.core.governance.memory import Whose
from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import VmState
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.world import FOREIGN, Machine

LT, WEB = Key("Lieutenant", "default", "api"), Key("Lieutenant", "default", "web")
BOTH = {"scopes": ["Agent", "Global"], "maxLines": 100}
PERSON = Actor("command", "ada")


def agent(key: Key, **spec: object) -> object:
    return declared(key, role="Keep it", profileRef={"name": "lightweight"}, memory=BOTH, **spec)


def work(name: str, to: str) -> tuple[Key, object]:
    key = Key("Task", "default", name)
    return key, declared(key, lieutenantRef={"name": to}, prompt=f"piece {name} REMEMBER(of {name}) SHARE(all of {name})")


def housed(run: Run, key: Key) -> Machine | None:
    item = run.engine.table.lieutenant(key)
    return run.world.machines.get(item.record.slot.vm_id) if item is not None else None


def on_machine(run: Run, key: Key, scope: str) -> list[str]:
    machine = housed(run, key)
    return sorted(entry.text for entry in machine.memory.of(scope)) if machine is not None and not machine.deleted else []


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    await run.declare(agent(LT), agent(WEB))  # type: ignore[arg-type]
    (one, first), (two, second), (three, third) = work("one", "api"), work("two", "web"), work("three", "api")
    await run.declare(first, second)  # type: ignore[arg-type]
    await run.until(lambda: run.phase(one) == run.phase(two) == "Succeeded", "both have written")
    shared = ["all of one", "all of two"]
    await run.until(lambda: on_machine(run, LT, "Global") == on_machine(run, WEB, "Global") == shared, "both have what is shared")
    died = housed(run, LT)
    assert died is not None
    died.state = VmState.DEAD
    await run.declare(third)  # type: ignore[arg-type]
    await run.until(lambda: run.phase(three) == "Succeeded", "work goes on, on another machine")
    await run.until(lambda: on_machine(run, LT, "Agent") == ["of one", "of three"], "with what it remembers")
    await person(run)
    await run.until(lambda: "by hand" in on_machine(run, WEB, "Global"), "what a person adds reaches the machines")
    await run.declare(agent(WEB, mode="Suspended"))  # type: ignore[arg-type]
    await run.until(lambda: run.condition(WEB, "Suspended") == "True", "one is suspended")
    await run.declare(agent(WEB))  # type: ignore[arg-type]
    every = ["all of one", "all of three", "all of two", "by hand"]
    await run.until(lambda: on_machine(run, LT, "Global") == on_machine(run, WEB, "Global") == every, "all have all of it")
    await run.until(lambda: on_machine(run, WEB, "Agent") == ["of two"], "and what is its own is its own")
    await leave(run, LT, WEB)
    await left(run)


async def person(run: Run) -> None:
    """Adds an entry, again and again until it is there: whoever is struck did not hear the answer."""

    async def add() -> None:
        book = await run.engine.gatherer.memories.book(Whose("default"))
        if not any(entry.text == "by hand" for entry in book.entries):
            await run.engine.memory_desk.edit(Whose("default"), ["by hand"], [], PERSON)

    await run.retrying(add)


async def left(run: Run) -> None:
    """What was one's own is gone with it, what was shared stays, each entry once."""
    kept: dict[str, list[str]] = {}

    async def read() -> None:
        for owner in ("", "api", "web"):
            kept[owner] = sorted(entry.text for entry in await run.engine.store.memory("default", owner))

    await run.retrying(read)
    if kept["api"] or kept["web"]:
        run.world.violations.append("something is remembered of a lieutenant that is gone")
    if kept[""] != ["all of one", "all of three", "all of two", "by hand"]:
        run.world.violations.append(f"what is shared is {kept['']}")


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=3)
    for name in ("one", "two", "three"):
        assert delivered(run, name) == 1, f"{name} was delivered {delivered(run, name)} times; {run.describe()}"


SCENARIO = Scenario("remembered", story, judge, points=400)
