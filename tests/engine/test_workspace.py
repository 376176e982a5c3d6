"""A machine is lost with the files of its agent: the agent and people are told, or work is held back, as declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.lieutenant.workspace import mark_of
from reconciler.core.snapshot.vm import VmState
from tests.engine.stage import LT, Stage, pass_time, tell


async def talked(run: Stage, **session: object) -> str:
    """An agent that has done a piece of work; the id of its machine."""
    await run.lieutenant(session=session)
    assert await run.ends(await run.task("before")) == "Succeeded"
    return run.machine().vm_id


async def lose(run: Stage, vm_id: str) -> None:
    """The machine dies, and another one is made."""
    machine = run.world.machines[vm_id]
    run.world.kill_pi(machine)
    machine.state = VmState.DEAD
    await run.until(lambda: run.record().slot.vm_id not in ("", vm_id), "another machine")


@pytest.mark.guarantee("G-32")
@pytest.mark.guarantee("G-37")
def test_the_agent_is_told_before_its_next_prompt_and_people_by_a_condition_and_a_warning(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await talked(run)
        await lose(run, old)
        await run.says(LT, "WorkspaceLost", "WorkspaceLost")
        assert old in run.message(LT, "WorkspaceLost")
        warnings = [event for event in run.controller.told if event.reason == "WorkspaceLost"]
        assert [(event.type, old in event.message) for event in warnings] == [("Warning", True)]
        assert await run.ends(await run.task("after")) == "Succeeded"
        assert await run.ends(await run.task("later")) == "Succeeded"
        told = [text for _, text in run.world.prompts if mark_of(old) in text]
        assert told == run.prompts("after"), "once, before anything else is asked"
        assert run.message(LT, "WorkspaceLost").endswith("was told")
        assert run.reason(LT, "Ready") == "Running"
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": "workspace=known:a"})
        await run.until(lambda: run.reason(LT, "WorkspaceLost") == "", "a person knows")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-32")
def test_a_turn_that_goes_on_elsewhere_is_told_as_it_is_asked_to_go_on(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await talked(run)
        task = await run.task("one")
        await run.runs(task)
        await lose(run, old)
        assert await run.ends(task) == "Succeeded"
        assert [text for _, text in run.world.prompts if mark_of(old) in text and "continued (1)" in text]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-37")
def test_held_back_until_a_person_says_that_it_is_known(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await talked(run, onWorkspaceLost="Hold")
        await lose(run, old)
        await run.says(LT, "Stalled", "WorkspaceLost")
        task = await run.task("one")
        await pass_time(300)
        assert run.prompts("one") == []
        assert "--workspace" in run.message(LT, "Ready")
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": "workspace=known:a"})
        assert await run.ends(task) == "Succeeded"

    tell(tmp_path, story)


def test_nothing_is_told_where_there_was_no_conversation(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        old = (await run.ready()).vm_id
        await lose(run, old)
        await run.ready()
        assert run.reason(LT, "WorkspaceLost") == ""

    tell(tmp_path, story)


def test_another_conversation_remembers_no_files(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await talked(run, onLost="New")
        await lose(run, old)
        assert await run.ends(await run.task("after")) == "Succeeded"
        assert not any(mark_of(old) in text for _, text in run.world.prompts)
        assert run.reason(LT, "WorkspaceLost") == ""

    tell(tmp_path, story)
