"""Work in virtual time: delivered once, one result each, judged by what is there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.api.annotations import RETRY
from reconciler.core.keys import Key
from reconciler.core.snapshot.machine import GuestCommand
from reconciler.errors import GuestUnreachable
from tests.engine.stage import LT, Stage, failing, losing, pass_time, tell
from tests.world import World


@pytest.mark.guarantee("G-20")
def test_tasks_run_in_order_one_at_a_time_each_once(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.task("c")
        await pass_time(1)
        await run.task("b")
        await run.task("a", after=[{"name": "b"}])
        await run.lieutenant()
        for name in ("a", "b", "c"):
            assert await run.ends(Key("Task", "default", name)) == "Succeeded"
        order = [text.split()[1].split("/")[1] for _, text in run.world.prompts]
        assert order == ["c", "b", "a"]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-20")
def test_a_result_has_its_answer_its_cost_and_is_never_changed(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        task = await run.task("one")
        assert await run.ends(task) == "Succeeded"
        await run.until(lambda: run.status(task).get("phase") == "Succeeded", "it shows")
        result = run.status(task)["result"]
        assert (result["answer"], result["stopReason"], result["usage"]["outputTokens"]) == ("done", "stop", 5)
        await run.engine.declarations.patch_spec(task, lambda obj: {**obj.spec, "cancel": True}, "api")
        await pass_time(60)
        assert run.task_record(task).phase == "Succeeded"
        assert run.status(task)["result"] == result

    tell(tmp_path, story)


@pytest.mark.guarantee("G-20")
def test_a_prompt_whose_answer_is_lost_is_found_in_the_conversation(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        run.weather.rules["keeper.send"] = losing(lambda: GuestUnreachable("connection lost"))
        task = await run.task("one")
        assert await run.ends(task) == "Succeeded"
        assert len(run.prompts("one")) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-22")
def test_a_prompt_that_never_arrived_is_sent_again(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        run.weather.rules["keeper.send"] = failing(lambda: GuestUnreachable("connection lost"), times=3)
        task = await run.task("one")
        assert await run.ends(task) == "Succeeded"
        assert len(run.prompts("one")) == 1
        assert run.task_record(task).attempt == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-21")
def test_a_model_error_is_no_success_and_is_told_to_the_next_attempt(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        answers = iter([("I am done", "error"), ("done", "stop")])
        run.world.answer = lambda prompt: next(answers)
        await run.lieutenant()
        task = await run.task("one", retries=1)
        assert await run.ends(task) == "Succeeded"
        assert len(run.prompts("one")) == 2
        first, second = run.prompts("one")
        assert "attempt 1" in first
        assert "attempt 2" in second
        assert "The attempt before this one did not succeed (ModelError)" in second
        assert [a.reason for a in run.task_record(task).attempts] == ["ModelError"]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-21")
def test_acceptance_decides_and_the_next_attempt_is_told_what_failed(tmp_path: Path) -> None:
    checked: list[tuple[str, ...]] = []

    def command(said: GuestCommand) -> int:
        checked.append(said.argv)
        return 1 if len(checked) == 1 else 0

    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        run.world.commands = command
        task = await run.task("one", retries=2, acceptance=[{"command": {"run": ["make", "test"]}}])
        assert await run.ends(task) == "Succeeded"
        assert checked == [("make", "test"), ("make", "test")]
        assert "command make test ended with exit code 1" in run.prompts("one")[1]
        assert run.task_record(task).checks == ("ok",)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-21")
def test_without_the_file_asked_for_it_has_failed_whatever_it_says(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.answer = lambda prompt: ("SUCCESS! Everything is done.", "stop")
        await run.lieutenant()
        task = await run.task("one", acceptance=[{"file": {"path": "report.md"}}])
        assert await run.ends(task) == "Failed"
        assert run.reason(task, "Ready") == "AcceptanceFailed"
        assert "report.md does not exist" in run.message(task, "Ready")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-29")
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"deadlineSeconds": 60}, "DeadlineExceeded"),
        ({"taskTimeoutSeconds": 20}, "TaskTimeout"),
        ({"noProgressSeconds": 30}, "NoProgress"),
    ],
)
def test_a_limit_aborts_the_turn_and_the_next_task_runs(limits: dict[str, int], reason: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task, at = await run.task("one", **limits), run.world.now()
        await run.runs(task)
        run.world.work_seconds = 4.0
        other = await run.task("two")
        assert await run.ends(task) == "TimedOut"
        assert run.task_record(task).reason == reason
        assert run.world.now() - at <= 75
        assert b'"aborted"' in machine.session
        assert await run.ends(other) == "Succeeded"

    tell(tmp_path, story, World(work_seconds=3600.0))


@pytest.mark.guarantee("G-29")
def test_a_limit_that_passes_while_its_agent_is_away_is_enforced_when_it_is_back(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one", taskTimeoutSeconds=20)
        await run.runs(task)
        machine.reachable = False
        await pass_time(120)
        assert run.task_record(task).phase == "Running"
        assert run.reason(task, "Ready") == "Ending"
        machine.reachable = True
        assert await run.ends(task) == "TimedOut"

    tell(tmp_path, story, World(work_seconds=3600.0))


def test_a_cancelled_task_is_aborted_and_a_pending_one_never_sent(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        one, two = await run.task("one"), await run.task("two")
        await run.runs(one)
        for task in (two, one):
            await run.engine.declarations.patch_spec(task, lambda obj: {**obj.spec, "cancel": True}, "api")
        assert await run.ends(one) == "Cancelled"
        assert await run.ends(two) == "Cancelled"
        assert run.prompts("two") == []
        await run.until(lambda: run.condition(one, "Ready") == "True", "cancelled as declared is ready")

    tell(tmp_path, story, World(work_seconds=3600.0))


def test_a_deleted_running_task_is_settled_before_it_is_removed(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one")
        await run.runs(task)
        await run.delete(task)
        await run.gone(task)
        assert machine.pi is not None
        assert not machine.pi.busy
        assert run.record().slot.vm_id == machine.vm_id

    tell(tmp_path, story, World(work_seconds=3600.0))


def test_a_failed_dependency_cancels_what_waits_for_it_to_the_end_of_the_chain(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.answer = lambda prompt: ("", "error")
        await run.lieutenant()
        one = await run.task("one")
        two, three = await run.task("two", after=[{"name": "one"}]), await run.task("three", after=[{"name": "two"}])
        assert await run.ends(one) == "Failed"
        for task in (two, three):
            assert await run.ends(task) == "Cancelled"
            assert run.task_record(task).reason == "DependencyFailed"
        assert len(run.world.prompts) == 1

    tell(tmp_path, story)


def test_a_full_queue_says_so_and_drains(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(queue={"maxPending": 1})
        await run.ready()
        tasks = [await run.task(name) for name in ("a", "b", "c")]
        await run.runs(tasks[0])
        await run.says(tasks[2], "Ready", "QueueFull")
        assert [await run.ends(task) for task in tasks] == ["Succeeded"] * 3

    tell(tmp_path, story)


def test_a_task_waits_for_its_time(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        at = run.world.now() + 600
        task = await run.task("one", notBefore=datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        assert await run.ends(task) == "Succeeded"
        assert run.task_record(task).delivering_at >= int(at)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_deleting_a_busy_lieutenant_ends_its_turn_first_then_everything_of_it(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        one, two = await run.task("one"), await run.task("two")
        await run.runs(one)
        await run.delete(LT)
        for task in (one, two):
            assert await run.ends(task) == "Cancelled"
            assert run.task_record(task).reason == "LieutenantDeleted"
        await run.gone(LT)
        assert machine.deleted

    tell(tmp_path, story, World(work_seconds=3600.0))


# --- steers ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-23")
def test_a_steer_lands_in_the_running_turn(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        one = await run.task("one")
        await run.runs(one)
        steer = await run.task("s", "use port 81", delivery="Steer")
        assert await run.ends(steer) == "Succeeded"
        assert run.task_record(one).phase == "Running"
        assert await run.ends(one) == "Succeeded"
        assert [text for _, text in run.world.prompts][1].endswith("use port 81")
        assert len(run.prompts("one")) == len(run.prompts("s")) == 1

    tell(tmp_path, story, World(work_seconds=20.0))


@pytest.mark.guarantee("G-23")
def test_a_steer_that_is_not_seen_in_time_is_taken_back_and_expires(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        one = await run.task("one")
        await run.runs(one)
        steer = await run.task("s", delivery="Steer", landSeconds=20)
        await run.until(lambda: machine.pi is not None and bool(machine.pi.steers), "pi holds it")
        assert run.task_record(steer).phase == "Delivering"
        assert await run.ends(steer) == "Expired"
        assert machine.pi is not None
        assert machine.pi.steers == []
        assert await run.ends(one) == "Succeeded"
        assert run.prompts("s") == []

    tell(tmp_path, story, World(work_seconds=200.0))


@pytest.mark.guarantee("G-23")
def test_a_steer_for_nobody_or_too_late_expires_and_wakes_nobody(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        nobody = await run.task("s1", delivery="Steer")
        assert await run.ends(nobody) == "Expired"
        assert run.task_record(nobody).reason == "NothingToSteer"
        one = await run.task("one")
        assert await run.ends(one) == "Succeeded"
        late = await run.task("s2", delivery="Steer", target={"name": "one"})
        assert await run.ends(late) == "Expired"
        assert run.task_record(late).reason == "TargetFinished"
        assert len(run.world.prompts) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-23")
def test_a_steer_lost_with_pi_never_lands_in_another_turn(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        one, two = await run.task("one"), await run.task("two")
        await run.runs(one)
        steer = await run.task("s", delivery="Steer")
        await run.until(lambda: machine.pi is not None and bool(machine.pi.steers), "pi holds it")
        run.world.kill_pi(machine)
        assert await run.ends(one) == "Succeeded"
        assert await run.ends(two) == "Succeeded"
        assert await run.ends(steer) == "Expired"
        assert run.prompts("s") == []

    tell(tmp_path, story, World(work_seconds=40.0))


def test_a_retry_that_is_asked_for_ends_the_delay_of_the_next_attempt_once(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.answer = lambda prompt: ("no", "error")
        await run.lieutenant()
        task = await run.task("one", retries=6)
        await run.until(lambda: len(run.task_record(task).attempts) == 5, "it waits long")
        waits = run.task_record(task).not_before - run.engine.clock.now()
        assert waits > 5.0
        asked = run.engine.clock.now()
        await run.engine.declarations.annotate(task, {RETRY: "now"})
        await run.until(lambda: len(run.task_record(task).attempts) == 6, "it is tried again")
        assert run.engine.clock.now() - asked < waits / 2
        assert run.task_record(task).retried == "now"
        assert run.task_record(task).not_before > run.engine.clock.now(), "that one retry is used up"

    tell(tmp_path, story)
