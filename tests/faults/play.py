"""Playing one scenario under one fault, in virtual time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.ports import Draws, Secrets
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.declared import Declared
from tests.effort import one_in, share
from tests.faults.harness import Fault, NoSecrets, Run, Step, virtual
from tests.world import World

SETTINGS = EngineSettings(installation="installation-1", settle_seconds=30.0, workers=8)

PARTS = max(4, 16 // share())
"""The points of a scenario that a run strikes are dealt to so many tests, so that they run side by side."""

FEW = 1
"""So many points of each scenario are struck in the quick tests."""


def dealt(name: str, points: list[tuple[int, str]], part: int) -> list[tuple[int, str]]:
    """What of the points that this run strikes falls to one of its tests; `name`: of the scenario."""
    return one_in(share(), name, points)[part::PARTS]


@dataclass(frozen=True)
class Scenario:
    """`story`: what a person declares and waits for. `judge`: asserts how the world was treated, whatever happened to the
    controller. `points`: least number of fault points, so that a story that shrinks is noticed. `every`: all five faults are points
    of every effect, also where they come to the same."""

    name: str
    story: Step
    judge: Callable[[Run], None]
    points: int
    every: bool = False
    settings: EngineSettings = SETTINGS
    world: Callable[[], World] = field(default=World)
    secrets: Callable[[], Secrets] = field(default=NoSecrets)
    draws: Callable[[], Draws] | None = None


def declared(kind_and_name: object, **spec: object) -> Declared:
    return Declared(kind_and_name, spec, {}, {}, "api")  # type: ignore[arg-type]


def play(scenario: Scenario, path: Path, fault: Fault | None) -> Run:
    """One whole run, judged. Raises AssertionError with the fault, the objects and the violations."""

    async def main() -> Run:
        run = Run(scenario.world(), path, fault, scenario.settings)
        run.controller.secrets = scenario.secrets()
        run.controller.draws = scenario.draws() if scenario.draws is not None else None
        try:
            await run.alive()
            await scenario.story(run)
            scenario.judge(run)
            return run
        finally:
            await run.controller.down()

    return virtual(main)


async def leave(run: Run, *keys: Key) -> None:
    """All of these are deleted, and when they are gone some time passes in which nothing may happen any more."""
    for key in keys:
        await run.delete(key)
    await run.until(lambda: all(run.phase(key) == "(gone)" for key in keys), "all are gone")
    await run.alive()
    await asyncio.sleep(120)


def delivered(run: Run, task: str) -> int:
    """How often the prompt of this task reached a conversation (what was said to it in between not counted)."""
    return sum(f"/{task} attempt" in text and " (" not in text.splitlines()[0] for _, text in run.world.prompts)


def left_nothing(run: Run, made: int) -> None:
    """So many VMs were made, and none is left."""
    world, where = run.world, run.describe()
    assert world.created == made, f"{world.created} VMs were made; {where}"
    assert world.alive() == [], f"leaked {[m.vm_id for m in world.alive()]}; {where}"


def never_more_than(run: Run, most: int, reached: int) -> None:
    """`reached`: so many machines stood at once at the worst moment. None is left."""
    world, where = run.world, run.describe()
    assert reached <= most, f"{reached} machines at once; {where}"
    assert world.alive() == [], f"leaked {[m.vm_id for m in world.alive()]}; {where}"


def treated_well(run: Run) -> None:
    """What holds in every scenario: nothing forbidden happened, and nobody else's VM was touched. A suspend that a dead controller
    sent and that lands late, in the middle of a turn, was undone, and the turn went on to its end."""
    assert run.world.violations == [], run.describe()
    assert run.world.foreign_effects == 0, run.describe()
    for frozen in run.world.frozen_by_the_dead:
        machine = run.world.machines[frozen.vm_id]
        assert machine.deleted or machine.state is VmState.RUNNING, f"{frozen} was left so; {run.describe()}"
        task = Key("Task", *task_of(frozen.said))
        assert delivered(run, task.name) == 1, f"{frozen}: {task} was delivered {delivered(run, task.name)} times; {run.describe()}"
        assert run.phase(task) == "Succeeded", f"{frozen}: {task} is {run.phase(task)}; {run.describe()}"


def task_of(said: str) -> tuple[str, str]:
    """Namespace and name of the task whose marker this message carries."""
    found = re.match(r"\[task ([^/ ]+)/([^ ]+) attempt ", said)
    assert found is not None, f"no task's: {said[:100]}"
    return found[1], found[2]
