"""`reconciler halt`: nothing is created and nothing is said to an agent until it is taken back; nothing that runs is cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import Key
from tests.engine.stage import LT, Stage, pass_time, tell
from tests.engine.test_escalation import steered, steps
from tests.engine.test_reminders import busy, reminders
from tests.world import World

LONG = 3600.0


async def halted(s: Stage) -> None:
    await s.engine.declarations.halt(True)


async def resumed(s: Stage) -> None:
    await s.engine.declarations.halt(False)


async def working(s: Stage, **limits: object) -> Key:
    await s.lieutenant(limits=limits)
    await s.ready()
    task = await s.task("one")
    await s.runs(task)
    return task


@pytest.mark.guarantee("G-23")
def test_a_steer_waits_longer_than_its_time_and_lands_when_the_fleet_goes_on(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        one = await working(s)
        await halted(s)
        steer = await s.task("s", "use port 81", delivery="Steer", escalation=["Abort"])
        await s.says(steer, "Ready", "Halted")
        await pass_time(300)
        await s.controller.down()
        await s.controller.up()
        await pass_time(30)
        machine = s.machine()
        assert machine.pi is not None
        assert (len(s.world.prompts), machine.pi.steers, s.task_record(one).phase) == (1, [], "Running")
        await resumed(s)
        await s.controller.down()
        await s.controller.up()
        await s.until(lambda: bool(machine.pi and machine.pi.steers), "pi has it now")
        s.world.work_seconds = 4.0
        assert await s.ends(steer) == "Succeeded"

    tell(tmp_path, story, World(work_seconds=LONG))


@pytest.mark.guarantee("G-23")
def test_a_steer_that_does_not_land_interrupts_no_turn_until_the_fleet_goes_on(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        one, steer, machine = await steered(s, escalation=["Abort"])
        await halted(s)
        await s.says(steer, "Ready", "Halted")
        await pass_time(300)
        assert machine.pi is not None
        assert machine.pi.busy, "its turn was not cut off"
        assert steps(s, steer) == []
        s.world.work_seconds = 4.0
        await resumed(s)
        assert await s.ends(steer) == "Succeeded"
        assert await s.ends(one) == "Succeeded"

    tell(tmp_path, story, World(work_seconds=LONG))


@pytest.mark.guarantee("G-29")
def test_a_turn_without_progress_is_neither_steered_nor_interrupted(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        task = await working(s, noProgressSeconds=60)
        await halted(s)
        await pass_time(600)
        machine = s.machine()
        assert machine.pi is not None
        assert (steps(s, task), len(s.world.prompts), machine.pi.busy) == ([], 1, True)
        await resumed(s)
        await s.until(lambda: steps(s, task) != [], "the escalation is climbed then")

    tell(tmp_path, story, World(work_seconds=LONG))


def test_a_turn_that_was_cut_short_is_not_asked_to_go_on(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        task = await working(s)
        await halted(s)
        s.world.work_seconds = 4.0
        s.world.kill_pi(s.machine())
        await s.says(task, "Ready", "Halted")
        await pass_time(300)
        assert len(s.world.prompts) == 1
        await resumed(s)
        assert await s.ends(task) == "Succeeded"
        assert len(s.world.prompts) == 2

    tell(tmp_path, story, World(work_seconds=LONG))


def test_no_attempt_follows_one_that_failed(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.answer = lambda prompt: ("", "error: flagged")
        await s.lieutenant()
        await s.ready()
        s.world.work_seconds = 20.0
        task = await s.task("one", retries=1)
        await s.runs(task)
        await halted(s)
        await s.says(task, "Ready", "Halted")
        await pass_time(300)
        assert len(s.prompts("one")) == 1
        s.world.answer = lambda prompt: ("done", "stop")
        await resumed(s)
        assert await s.ends(task) == "Succeeded"
        assert len(s.prompts("one")) == 2

    tell(tmp_path, story)


def test_what_waits_is_looked_at_as_soon_as_the_fleet_goes_on(tmp_path: Path) -> None:
    """Until then it is looked at twice a minute."""

    async def story(s: Stage) -> None:
        await s.lieutenant()
        await s.ready()
        await halted(s)
        waiting = await s.lieutenant("waiting")
        task = await s.task("one")
        await s.says(waiting, "Ready", "Halted")
        await s.says(task, "Ready", "Halted")
        await pass_time(100)
        begun = s.world.now()
        await resumed(s)
        await s.ready(waiting)
        await s.until(lambda: len(s.world.prompts) == 1, "it is delivered")
        assert s.world.now() - begun < 5

    tell(tmp_path, story)


def test_no_probe_goes_to_a_provider(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.answer = lambda prompt: ("", 'error: 429: {"message":"Rate limit reached"}')
        await s.lieutenant()
        task = await s.task("one")
        await s.says(task, "Ready", "ProviderLimited")
        await halted(s)
        await s.says(task, "Ready", "Halted")
        sent, written, looks = len(s.world.prompts), s.controller.writes, s.weather.count("keeper.observe")
        await pass_time(3600)
        assert len(s.world.prompts) == sent
        assert s.controller.writes - written < 10, "what is told stays the same"
        assert s.weather.count("keeper.observe") - looks < 900, "no more often than at other times"
        s.world.answer = lambda prompt: ("done", "stop")
        await resumed(s)
        assert await s.ends(task) == "Succeeded"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_after_a_conversation_was_shortened_nothing_is_said(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        world = await busy(s)
        await halted(s)
        world.compact(s.machine())
        await s.until(lambda: s.status(LT)["session"].get("toldAgain") is False, "it is seen")
        await pass_time(20)
        assert reminders(s) == []
        await resumed(s)
        await s.until(lambda: len(reminders(s)) == 1, "it is told again now")

    tell(tmp_path, story)
