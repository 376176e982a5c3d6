"""A task's own rules go with everything that is said to an agent for its sake, and are read back while it runs (G-28)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from reconciler.core.keys import Json, Key
from tests.engine.stage import Stage, pass_time, tell
from tests.world import Machine, World

OPEN = {"default": "Allow"}
OWN = {"default": "Allow", "deny": ["bash(rm *)"]}
WITHOUT = [{"name": "Lieutenant", "allow": [], "ask": [], "deny": [], "default": "Allow"}]
WITH = [*WITHOUT, {"name": "Task", "allow": [], "ask": [], "deny": ["bash(rm *)"], "default": "Allow"}]


def levels(rules: Json | None) -> object:
    return None if rules is None else rules["levels"]


def about(run: Stage, words: str) -> list[object]:
    """The rules in force when something with these words was handed to pi."""
    return [levels(held) for text, _, held in run.world.ruled if words in text]


async def begun(run: Stage, **spec: object) -> tuple[Key, Machine]:
    """The task `one`, which has rules of its own, runs."""
    await run.lieutenant(permissions=OPEN, limits={"steerLandSeconds": 20})
    machine = await run.ready()
    one = await run.task("one", permissions=OWN, **spec)
    await run.runs(one)
    return one, machine


async def a_first_delivery(run: Stage) -> str:
    await begun(run)
    return "[task default/one attempt 1"


async def another_attempt(run: Stage) -> str:
    run.world.work_seconds = 4.0
    one, _ = await begun(run, retries=1, acceptance=[{"file": {"path": "missing"}}])
    await run.until(lambda: run.task_record(one).attempt == 2, "it is tried again")
    await run.until(lambda: len(run.prompts("one")) == 2, "it is told")
    return "[task default/one attempt 2"


async def going_on_after_the_end_of_pi(run: Stage) -> str:
    one, machine = await begun(run)
    run.world.kill_pi(machine)
    await run.until(lambda: run.task_record(one).continues == 1, "it goes on")
    await pass_time(5)
    return "continued (1)"


async def its_escalation(run: Stage) -> str:
    one, _ = await begun(run, noProgressSeconds=30, escalation=["Steer"])
    await run.until(lambda: bool(run.task_record(one).escalation_steps), "it is steered")
    await pass_time(5)
    return "escalation (1)"


async def a_word_about_its_budget(run: Stage) -> str:
    run.world.calls, run.world.call_seconds = [("bash", {"command": "make"})] * 50, 5.0
    await begun(run, budget={"maxTokens": 20})
    await run.until(lambda: bool(about(run, " budget\n")), "it is told")
    return " budget\n"


async def a_reminder(run: Stage) -> str:
    run.world.calls, run.world.call_seconds = [("bash", {"command": "make"})] * 50, 5.0
    _, machine = await begun(run)
    await pass_time(7)
    run.world.compact(machine)
    await run.until(lambda: bool(about(run, " reminder\n")), "it is told again")
    return " reminder\n"


async def a_steer(run: Stage) -> str:
    await begun(run)
    await run.task("s", "use port 81", delivery="Steer")
    await run.until(lambda: bool(about(run, "use port 81")), "it is said")
    return "use port 81"


async def a_steer_said_anew(run: Stage, step: str) -> str:
    _, machine = await begun(run)
    first = machine.pi
    steer = await run.task("s", "use port 81", delivery="Steer", landSeconds=20, escalation=["Steer", step])
    await run.until(lambda: len(about(run, "use port 81")) == 2, "it is said as a prompt of its own")
    assert run.task_record(steer).reprompted
    assert (machine.pi is first) is (step == "Abort")
    return "You were interrupted in the middle of"


async def a_steer_said_after_an_abort(run: Stage) -> str:
    return await a_steer_said_anew(run, "Abort")


async def a_steer_said_after_a_restart(run: Stage) -> str:
    return await a_steer_said_anew(run, "RestartSession")


WAYS = (
    a_first_delivery,
    another_attempt,
    going_on_after_the_end_of_pi,
    its_escalation,
    a_word_about_its_budget,
    a_reminder,
    a_steer,
    a_steer_said_after_an_abort,
    a_steer_said_after_a_restart,
)


@pytest.mark.guarantee("G-28")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_rules_of_a_task_go_with_all_that_is_said_for_its_sake(way: Callable[[Stage], Awaitable[str]], tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        words = await way(run)
        sent = [levels(rules) for text, rules, _ in run.world.ruled if words in text]
        assert sent, "it was said"
        assert all(rules == WITH for rules in sent), "with the rules of the task"
        assert all(rules == WITH for rules in about(run, words)), "which held from before it"

    tell(tmp_path, story, World(work_seconds=7200.0))


@pytest.mark.guarantee("G-28")
def test_a_turn_under_other_rules_is_ended_and_goes_on_under_those_of_its_task(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        one, machine = await begun(run)
        assert machine.pi is not None
        machine.pi.rules = machine.pi.launch.guard  # as if they had been taken away
        await run.until(lambda: run.task_record(one).continues == 1, "its turn is ended, and it goes on")
        assert about(run, "continued (1)") == [WITH]
        told = [event.message for event in run.controller.told if event.reason == "Continuing"]
        assert [words for words in told if "declared for this task are rules" in words and "pi runs under" in words]
        assert run.task_record(one).attempt == 1
        run.world.kill_pi(machine)
        run.world.work_seconds = 4.0
        assert await run.ends(one) == "Succeeded"

    tell(tmp_path, story, World(work_seconds=7200.0))


@pytest.mark.guarantee("G-28")
def test_a_task_whose_rules_a_keeper_does_not_take_up_fails_for_that(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(permissions=OPEN)
        await run.ready()
        run.world.keeps_rules = True
        one = await run.task("one", permissions=OWN)
        assert await run.ends(one) == "Failed"
        assert run.task_record(one).reason == "PermissionsNotApplied"
        assert "declared for this task are rules" in run.task_record(one).message
        run.world.work_seconds = 4.0
        assert await run.ends(await run.task("two")) == "Succeeded", "what has no rules of its own is not held up"

    tell(tmp_path, story, World(work_seconds=7200.0))


@pytest.mark.guarantee("G-28")
def test_a_steer_with_rules_of_its_own_is_refused_and_not_sent_without_them(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await begun(run)
        steer = await run.task("s", "use port 81", delivery="Steer", permissions=OWN)
        await run.says(steer, "Stalled", "PermissionsInvalid")
        assert "under the rules of that; remove its permissions" in run.message(steer, "Stalled")
        assert about(run, "use port 81") == []

    tell(tmp_path, story, World(work_seconds=7200.0))
