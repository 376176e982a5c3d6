"""Permissions through the whole engine: what is declared reaches the keeper and is read back, and a person's answer reaches the call."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.snapshot.agent import Question
from tests.engine.stage import LT, Stage, pass_time, tell
from tests.engine.test_profiles import profile
from tests.faults.harness import NoSecrets
from tests.world import Machine, Pi, World

CAREFUL = {
    "tools": ["read", "bash"],
    "default": "Ask",
    "allow": ["read"],
    "ask": ["bash(git push*)"],
    "deny": ["bash(rm *)"],
    "askMayBeAllowed": True,
    "askTimeoutSeconds": 60,
}
"""Every field but `examples`."""
LEVEL = {"default": "Ask", "allow": ["read"], "ask": ["bash(git push*)"], "deny": ["bash(rm *)"], "askMayBeAllowed": True}
WRONG = {**CAREFUL, "examples": [{"call": "bash(git push)", "expect": "Allow"}]}


def pi_of(machine: Machine) -> Pi:
    assert machine.pi is not None
    return machine.pi


def guard(machine: Machine) -> dict[str, object]:
    told = pi_of(machine).launch.guard
    assert told is not None
    return dict(told)


async def of_the_lieutenant(run: Stage) -> None:
    await run.lieutenant(permissions=CAREFUL)
    machine = await run.ready()
    assert guard(machine) == {"levels": [{"name": "Lieutenant", **LEVEL}], "tools": ["read", "bash"], "askMs": 60_000}
    argv = pi_of(machine).launch.argv
    assert argv[argv.index("--tools") + 1] == "read,bash"
    assert "--no-extensions" in argv


async def of_the_profile(run: Stage) -> None:
    await profile(run, agent={"permissions": CAREFUL})
    await run.lieutenant(profileRef={"name": "own"})
    assert guard(await run.ready()) == {"levels": [{"name": "BootProfile", **LEVEL}], "tools": ["read", "bash"], "askMs": 60_000}


async def of_the_task(run: Stage) -> None:
    await run.lieutenant(permissions={"default": "Allow"})
    machine = await run.ready()
    assert await run.ends(await run.task("work", permissions=CAREFUL)) == "Succeeded"
    levels = [{"name": "Lieutenant", "allow": [], "ask": [], "deny": [], "default": "Allow"}, {"name": "Task", **LEVEL}]
    assert pi_of(machine).rules == {"levels": levels, "tools": ["read", "bash"], "askMs": 60_000}
    assert await run.ends(await run.task("next")) == "Succeeded"
    assert pi_of(machine).rules == guard(machine)


async def wrong_example(run: Stage) -> None:
    await run.lieutenant(permissions=WRONG)
    await run.says(LT, "Stalled", "PermissionsInvalid")
    assert "expected Allow, and the rules say Ask: rule bash(git push*)" in run.message(LT, "Stalled")


async def wrong_example_of_the_profile(run: Stage) -> None:
    await profile(run, agent={"permissions": WRONG})
    await run.lieutenant(profileRef={"name": "own"})
    await run.says(LT, "Stalled", "PermissionsInvalid")
    assert "the rules say Ask: rule bash(git push*)" in run.message(LT, "Stalled")


async def wrong_example_of_the_task(run: Stage) -> None:
    await run.lieutenant(permissions={"default": "Allow"})
    await run.ready()
    work = await run.task("work", permissions=WRONG)
    await run.says(work, "Stalled", "PermissionsInvalid")
    assert "the rules say Ask: rule bash(git push*)" in run.message(work, "Stalled")
    assert not run.task_record(work).sent


async def a_question_is_answered(run: Stage) -> None:
    await run.lieutenant(permissions={"default": "Allow", "ask": ["bash(touch *)"]})
    machine = await run.ready()
    work = await run.task("work")
    await run.runs(work)
    pi = pi_of(machine)
    rule, since = ("bash(touch *)", "Lieutenant"), run.world.now()
    pi.asks = [Question(name, f"bash(touch {name})", f"touch {name}", *rule, since) for name in ("a1", "b2")]
    await run.until(lambda: run.status(work)["phase"] == "AwaitingApproval", "it is told that it waits")
    assert [ask["call"] for ask in run.status(work)["asks"]] == ["bash(touch a1)", "bash(touch b2)"]
    assert run.reason(work, "Ready") == "AwaitingApproval"
    told = [event.message for event in run.controller.told if event.reason == "AwaitingApproval"]
    assert told == ["bash(touch a1); bash(touch b2)"], "it is told once, not with every look"
    answers = [{"id": "a1", "decision": "Approve"}, {"id": "b2", "decision": "Deny", "reason": "not today"}]
    await run.task("work", approvals=answers)
    await run.until(lambda: len(pi.answers) == 2, "both are answered")
    assert sorted(pi.answers) == [("a1", True, ""), ("b2", False, "not today")]
    await run.until(lambda: "asks" not in run.status(work), "nothing waits any more")
    assert await run.ends(work) == "Succeeded"
    assert (run.happened("Approved"), run.happened("Denied")) == (1, 1)


@pytest.mark.guarantee("G-28")
def test_a_task_that_goes_on_after_the_end_of_pi_is_under_its_own_rules_again(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(permissions={"default": "Allow"})
        machine = await run.ready()
        work = await run.task("work", permissions=CAREFUL)
        await run.runs(work)
        own = pi_of(machine).rules
        assert own != guard(machine)
        run.world.kill_pi(machine)
        await run.until(lambda: run.task_record(work).continues == 1, "it goes on")
        assert await run.ends(work) == "Succeeded"
        assert run.task_record(work).attempt == 1
        assert pi_of(machine).rules == own

    tell(tmp_path, story, World(work_seconds=120.0))


class Known(NoSecrets):
    def known(self) -> tuple[str, ...]:
        return ("hidden-value",)


@pytest.mark.guarantee("G-60")
def test_a_call_that_waits_shows_no_secret(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(permissions={"default": "Ask"})
        machine = await run.ready()
        work = await run.task("work")
        await run.runs(work)
        call = "curl -H hidden-value example.com"
        pi_of(machine).asks = [Question("a1", f"bash({call})", call, "", "", run.world.now())]
        await run.until(lambda: run.status(work)["phase"] == "AwaitingApproval", "it is told that it waits")
        shown = str([run.status(work), run.controller.told])
        assert "bash(curl -H [redacted] example.com)" in shown
        assert "hidden-value" not in shown

    tell(tmp_path, story, World(work_seconds=120.0), secrets=Known())


WRONGS = (wrong_example, wrong_example_of_the_profile, wrong_example_of_the_task)


@pytest.mark.guarantee("G-27", "G-28")
@pytest.mark.parametrize("story", [of_the_lieutenant, of_the_profile, of_the_task, *WRONGS])
def test_what_is_declared_reaches_the_keeper(tmp_path: Path, story: object) -> None:
    tell(tmp_path, story)  # type: ignore[arg-type]


@pytest.mark.guarantee("G-28", "G-37")
def test_a_persons_answer_reaches_the_very_call_that_waits(tmp_path: Path) -> None:
    tell(tmp_path, a_question_is_answered, World(work_seconds=120.0))


@pytest.mark.guarantee("G-37")
@pytest.mark.parametrize("after", [10.0, 12.0, 14.0])
def test_while_one_answer_is_carried_out_the_other_question_is_told_all_the_time(after: float, tmp_path: Path) -> None:
    """So who approves the one and at once denies the other is not told that it does not wait."""

    async def story(run: Stage) -> None:
        await run.lieutenant(permissions={"default": "Allow", "ask": ["bash(touch *)"]})
        machine = await run.ready()
        work = await run.task("work")
        await run.runs(work)
        pi, since = pi_of(machine), run.world.now()
        pi.asks = [Question(name, f"bash(touch {name})", "", "bash(touch *)", "Lieutenant", since) for name in ("a1", "b2")]
        await run.until(lambda: run.status(work)["phase"] == "AwaitingApproval", "it is told that it waits")
        await pass_time(after)
        run.controller.statuses.clear()
        await run.task("work", approvals=[{"id": "a1", "decision": "Approve"}])
        await run.until(lambda: [ask["id"] for ask in run.status(work)["asks"]] == ["b2"], "the other one waits on")
        told = [status for status in run.controller.statuses if "attempt" in status]
        assert [status["phase"] for status in told] == ["AwaitingApproval"] * len(told)
        assert all("'b2'" in str(status["asks"]) for status in told)
        assert pi.answers == [("a1", True, "")]

    tell(tmp_path, story, World(work_seconds=120.0))


@pytest.mark.guarantee("G-37")
def test_waiting_for_a_person_is_no_lack_of_progress(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(permissions={"default": "Ask"}, limits={"noProgressSeconds": 30})
        machine = await run.ready()
        work = await run.task("work")
        await run.runs(work)
        pi_of(machine).asks = [Question("a1", "bash(x)", "x", "", "", run.world.now())]
        await pass_time(150)
        assert run.task_record(work).escalation_steps == ()
        pi_of(machine).asks = []
        assert await run.ends(work) == "Succeeded"

    tell(tmp_path, story, World(work_seconds=200.0))


@pytest.mark.guarantee("G-27", "G-28")
def test_nothing_is_delivered_to_a_pi_that_runs_under_other_rules(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(permissions=CAREFUL)
        machine = await run.ready()
        pi = pi_of(machine)
        pi.rules = None  # its keeper knows of none
        work = await run.task("work")
        await run.says(LT, "Stalled", "PermissionsNotApplied")
        assert run.condition(LT, "AgentConfigured") == "False"
        await pass_time(60)
        assert not run.task_record(work).sent

    tell(tmp_path, story)


@pytest.mark.guarantee("G-28")
def test_changed_rules_reach_a_new_pi_on_the_same_session(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(permissions=CAREFUL)
        machine = await run.ready()
        before = pi_of(machine)
        await run.lieutenant(permissions={**CAREFUL, "deny": ["bash"]})
        await run.until(lambda: machine.pi is not None and machine.pi is not before, "pi was started anew")
        await run.ready()
        argv = pi_of(machine).launch.argv
        assert argv[argv.index("--exclude-tools") + 1] == "bash"
        assert pi_of(machine).launch.session_file == before.launch.session_file

    tell(tmp_path, story)


@pytest.mark.guarantee("G-28")
def test_a_task_with_rules_is_not_given_to_an_agent_whose_calls_nobody_checks(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        work = await run.task("work", permissions=CAREFUL)
        await run.says(work, "Stalled", "PermissionsNotApplied")
        assert not run.task_record(work).sent

    tell(tmp_path, story)
