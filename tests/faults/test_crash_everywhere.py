"""Process death, error, lost answer, late effect, each before and after every numbered effect (G-01, G-02, G-05, G-07, G-08,
G-20, G-22): it converges, one VM ever, none leaked, every task delivered once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.engine.declare import Declared
from reconciler.engine.settings import EngineSettings
from tests.faults.harness import FAULTS, Fault, Run, virtual
from tests.world import FOREIGN, World

LT = Key("Lieutenant", "default", "api")
ONE, TWO, STEER = (Key("Task", "default", name) for name in ("one", "two", "steer"))
SETTINGS = EngineSettings(installation="installation-1", settle_seconds=30.0, workers=8)


def declared(key: Key, **spec: object) -> Declared:
    return Declared(key, spec, {}, {}, "api")  # type: ignore[arg-type]


def lieutenant(mode: str = "Running") -> Declared:
    return declared(LT, role="Keep the API", mode=mode, profileRef={"name": "lightweight"})


async def story(run: Run) -> None:
    """Two tasks, a steer into the first, a suspension and a return, the end."""
    world = run.world
    world.make({}, owner=FOREIGN)
    await run.declare(
        lieutenant(),
        declared(ONE, lieutenantRef={"name": "api"}, prompt="first piece"),
        declared(TWO, lieutenantRef={"name": "api"}, prompt="second piece", after=[{"name": "one"}]),
    )
    await run.until(lambda: run.phase(ONE) in ("Running", "Succeeded"), "the first task runs")
    await run.declare(declared(STEER, lieutenantRef={"name": "api"}, prompt="use another port", delivery="Steer", target={"name": "one"}))
    await run.until(lambda: run.phase(TWO) == "Running", "the second task runs")
    await run.declare(lieutenant("Suspended"))
    await run.until(lambda: run.condition(LT, "Suspended") == "True" and run.condition(LT, "Ready") == "True", "it sleeps")
    if [m.state.value for m in world.alive()] != ["suspended"]:
        world.violations.append("declared suspended, and costs a running VM")
    await run.declare(lieutenant())
    await run.until(lambda: run.condition(LT, "Available") == "True", "it is awake again")
    await run.until(lambda: run.phase(ONE) == "Succeeded" and run.phase(TWO) == "Succeeded", "both tasks are done")
    await run.until(lambda: run.phase(STEER) in ("Succeeded", "Expired"), "the steer has a result")
    await run.delete(LT)
    await run.until(lambda: run.phase(LT) == "(gone)", "it is gone")
    await run.alive()
    await asyncio.sleep(120)


def judge(run: Run) -> None:
    world = run.world
    where = run.describe()
    assert world.violations == [], where
    assert world.foreign_effects == 0, where
    assert world.created == 1, f"{world.created} VMs were made; {where}"
    assert world.alive() == [], f"leaked {[m.vm_id for m in world.alive()]}; {where}"
    for task in ("one", "two"):
        delivered = [text for _, text in world.prompts if f"/{task} attempt" in text and "continued" not in text.splitlines()[0]]
        assert len(delivered) == 1, f"{task} was delivered {len(delivered)} times; {where}"
    steers = [text for _, text in world.prompts if "/steer attempt" in text]
    landed = run.phase(STEER) == "Succeeded"
    assert len(steers) == (1 if landed else 0), f"steer {run.phase(STEER)}, seen {len(steers)} times; {where}"


def play(path: Path, fault: Fault | None) -> Run:
    async def main() -> Run:
        run = Run(World(), path, fault, SETTINGS)
        try:
            await run.alive()
            await story(run)
            judge(run)
            return run
        finally:
            await run.controller.down()

    return virtual(main)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return play(tmp_path_factory.mktemp("reference") / "state.db", None)


def test_without_a_fault(reference: Run) -> None:
    assert reference.life.names.count("vers.create_vm") == 1
    assert reference.controller.lives == 1


def test_the_points_are_many(reference: Run, capsys: pytest.CaptureFixture[str]) -> None:
    points = len(reference.life.names) * len(FAULTS)
    with capsys.disabled():
        print(f"\n{points} fault points: {len(reference.life.names)} numbered effects x {', '.join(FAULTS)}")
    assert points >= 500


PARTS = 16
"""The points are dealt to so many tests, so that they run side by side."""


@pytest.mark.guarantee("G-01")
@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-08")
@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-22")
@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.timeout(300)
def test_every_fault_at_every_effect(part: int, tmp_path: Path, reference: Run) -> None:
    points = [(number, kind) for number in range(1, len(reference.life.names) + 1) for kind in FAULTS]
    mine = points[part::PARTS]
    met = 0
    for number, kind in mine:
        run = play(tmp_path / f"{number}-{kind}.db", Fault(number, kind))
        met += run.life.fault is not None and run.life.fault.used
    assert met == len(mine), "a fault was never met: the run is not the reference run up to it"
