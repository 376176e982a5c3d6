"""A clock that went wrong between two lists is found and corrected, though nothing else showed it (G-12)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.stage import Stage, pass_time, tell
from tests.faults.harness import Run, virtual
from tests.faults.play import SETTINGS
from tests.faults.scenarios.one_lieutenant import LT, lieutenant
from tests.world import World


@pytest.mark.guarantee("G-12")
def test_skew_that_no_list_showed_is_corrected_within_two_minutes(tmp_path: Path) -> None:
    async def main() -> None:
        run = Run(World(), tmp_path / "state.db", None, SETTINGS)
        await run.alive()
        await run.declare(lieutenant())
        await run.until(lambda: run.condition(LT, "Available") == "True", "it works")
        machine = run.world.alive()[0]
        machine.clock_skew = 18 * 3600.0
        run.deadline = 120.0
        await run.until(lambda: machine.clock_skew == 0.0, "its clock is right again")
        await run.controller.down()

    virtual(main)


@pytest.mark.guarantee("G-12")
@pytest.mark.parametrize("clocks", ["refuse", "ignore"])
def test_a_clock_that_can_not_be_set_is_told_and_work_goes_on(tmp_path: Path, clocks: str) -> None:
    async def story(run: Stage) -> None:
        run.world.clocks = clocks
        await run.lieutenant()
        await run.until(lambda: bool(run.world.alive()), "it has a machine")
        machine = run.world.alive()[0]
        machine.clock_skew = -18 * 3600.0
        task = await run.task("one")
        assert await run.ends(task) == "Succeeded"
        assert run.reason(LT, "VMReady") == "ClockNotCorrected"
        assert run.condition(LT, "VMReady") == "True"
        tried = run.weather.count("guest.correct_clock")
        await pass_time(500)
        assert run.weather.count("guest.correct_clock") == tried == 3
        run.world.clocks = "obey"
        await run.until(lambda: machine.clock_skew == 0.0, "it is tried again, and takes")
        await run.says(LT, "VMReady", "Running")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-12")
def test_a_clock_that_drifts_is_corrected_each_time(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        for _ in range(8):
            machine.clock_skew += 5.0
            await run.until(lambda: machine.clock_skew == 0.0, "it is right again")
        assert run.reason(LT, "VMReady") == "Running"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-12")
@pytest.mark.guarantee("G-25")
def test_a_crash_loop_is_counted_on_our_clock_whatever_the_machine_says(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        for n in range(6):
            run.world.kill_pi(machine, code=3, signal=None, stderr=f"end {n}")
            assert machine.exited is not None
            machine.exited = replace(machine.exited, at=machine.exited.at + (-1) ** n * 18 * 3600.0)
            run.world.wake(machine)
            if n < 5:
                await run.until(lambda: machine.pi is not None, "it was started again")
        await run.says(LT, "Stalled", "CrashLoop")
        assert len(run.record().restart.times) == 6
        assert max(run.record().restart.times) <= run.world.now()

    tell(tmp_path, story)


@pytest.mark.guarantee("G-24")
def test_one_that_never_answers_is_started_again_after_its_startup_timeout(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(health={"startupTimeoutSeconds": 90, "periodSeconds": 5, "failureThreshold": 2})
        machine = await run.ready()
        assert machine.pi is not None
        run.world.kill_pi(machine)
        await run.until(lambda: machine.pi is not None, "it was started again")
        slow = machine.pi
        slow.deaf = slow.never_spoke = True
        await pass_time(85)
        assert machine.pi is slow, "it may take so long to start"
        await run.until(lambda: machine.pi is not None and machine.pi is not slow, "it was started once more")
        assert run.world.now() - slow.started_at < 120
        await run.says(LT, "AgentReachable", "Answering")

    tell(tmp_path, story)
