"""A conversation that is shortened: what the agent was told at its beginning is said again, once, and that is seen (G-27)."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.errors import GuestUnreachable
from tests.engine.stage import LT, Stage, failing, pass_time, tell
from tests.world import World

ONE = Key("Task", "default", "one")
DIRECTIVE = {"directive": "Never touch production."}
ROUNDS = [("bash", {"command": "make"})] * 12


def reminders(run: Stage, compaction: str = "") -> list[str]:
    """What reached the agent of it."""
    return [text for _, text in run.world.prompts if f"[reminder {compaction}" in text]


async def busy(run: Stage, **spec: object) -> World:
    """A turn of many rounds has begun."""
    world = run.world
    world.calls, world.call_seconds = list(ROUNDS), 5.0
    await run.lieutenant(instructions=DIRECTIVE, **spec)
    await run.ready()
    await run.runs(await run.task("one"))
    await pass_time(7)
    return world


@pytest.mark.guarantee("G-27")
def test_it_is_said_once_in_the_middle_of_the_turn_and_not_with_the_next_prompt(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        world = await busy(run)
        compaction = world.compact(run.machine())
        await run.until(lambda: run.status()["session"].get("toldAgain") is True, "it was told again")
        await run.until(lambda: run.task_record(ONE).finished, "it ends")
        world.calls = []
        assert await run.ends(await run.task("two")) == "Succeeded"
        (said,) = reminders(run)
        assert f"[reminder {compaction}]" in said
        assert "Your role: Keep it" in said
        assert "Directive (always holds):\nNever touch production." in said
        assert said.startswith("[task default/one attempt 1")
        assert run.happened("Reasserting") == 1
        assert run.status()["session"]["compactions"] == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_after_every_time_it_is_said_again(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        world = await busy(run)
        first = world.compact(run.machine())
        await run.until(lambda: len(reminders(run, first)) == 1, "it was told again")
        second = world.compact(run.machine())
        await run.until(lambda: len(reminders(run, second)) == 1, "and again")
        await run.until(lambda: run.task_record(ONE).finished, "it ends")
        assert len(reminders(run)) == 2
        assert run.status()["session"]["compactions"] == 2

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_without_a_turn_it_is_said_with_the_next_prompt_and_wakes_nobody(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(instructions=DIRECTIVE)
        machine = await run.ready()
        assert await run.ends(await run.task("one")) == "Succeeded"
        compaction = run.world.compact(machine)
        await run.until(lambda: run.status()["session"].get("toldAgain") is False, "it is seen")
        said = len(run.world.prompts)
        await pass_time(300)
        assert len(run.world.prompts) == said
        assert [await run.ends(await run.task(name)) for name in ("two", "three")] == ["Succeeded", "Succeeded"]
        (told,) = reminders(run)
        assert told.splitlines()[2].startswith(f"[reminder {compaction}]")
        assert told.endswith("do it")
        assert told in run.prompts("two")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_a_controller_that_ends_before_it_was_said_says_it_once_when_it_is_back(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        world = await busy(run, limits={"steerLandSeconds": 5})
        sends = failing(lambda: GuestUnreachable("no answer", "VM"))
        run.weather.rules["keeper.send"] = sends
        world.compact(run.machine())
        await run.until(lambda: run.record().reminder.tries == 1, "it is written down")
        assert reminders(run) == []
        await run.controller.down()
        run.weather.rules.clear()
        await run.alive()
        await run.until(lambda: len(reminders(run)) == 1, "it was told again")
        await run.until(lambda: run.task_record(ONE).finished, "it ends")
        assert len(reminders(run)) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_an_agent_that_goes_on_without_having_been_told_is_shown(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        world = await busy(run, limits={"steerLandSeconds": 5})
        world.loses_steers = True
        compaction = world.compact(run.machine())
        await run.says(LT, "OutputDrift", "OutputDrift")
        assert compaction in run.message(LT, "OutputDrift")
        assert run.condition(LT, "Ready") == "True"
        await run.until(lambda: run.task_record(ONE).finished, "it ends")
        assert reminders(run) == []
        world.calls = []
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert len(reminders(run, compaction)) == 1
        await run.until(lambda: run.condition(LT, "OutputDrift") == "", "it was told")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_a_turn_that_is_over_is_not_begun_anew_for_it(tmp_path: Path) -> None:
    """pi shortens a conversation after its last answer, too, and is not idle while it does so."""

    async def story(run: Stage) -> None:
        await run.lieutenant(instructions=DIRECTIVE)
        machine = await run.ready()
        await run.runs(task := await run.task("one"))
        assert machine.pi is not None
        run.world.assistant(machine, "done", "stop")
        run.world.compact(machine)
        await pass_time(1)
        assert reminders(run) == []
        assert run.record().reminder.tries == 0
        assert await run.ends(task) == "Succeeded"

    tell(tmp_path, story)


def test_where_that_is_declared_nothing_is_said_again(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        world = await busy(run, compaction={"reassertDirective": False})
        world.compact(run.machine())
        await run.until(lambda: run.task_record(ONE).finished, "it ends")
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert reminders(run) == []
        assert run.condition(LT, "OutputDrift") == ""

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_an_agent_with_a_memory_is_told_that_it_has_one(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        world = await busy(run, memory={"scopes": ["Agent"]})
        compaction = world.compact(run.machine())
        await run.until(lambda: len(reminders(run, compaction)) == 1, "it was told again")
        (said,) = reminders(run)
        assert "memory_search" in said
        assert said.index("Never touch production.") < said.index("memory_search")
        assert await run.ends(ONE) == "Succeeded"

    tell(tmp_path, story)
