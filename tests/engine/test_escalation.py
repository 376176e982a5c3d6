"""The escalation in virtual time: steer, abort, restart; in the order declared, each step written down, none of the work lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.errors import Unreachable
from tests.engine.stage import LT, Stage, declared, pass_time, tell
from tests.world import Machine, World

ESCALATION = ["Steer", "Abort", "RestartSession"]


def steps(run: Stage, task: Key) -> list[str]:
    return [step["action"] for step in run.status(task).get("escalation", [])]


def asked(run: Stage) -> list[str]:
    """First lines of everything that was said to the agent."""
    return [text.splitlines()[0].split("] ")[-1] for _, text in run.world.prompts]


# --- no progress ------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-29")
def test_a_stalled_turn_is_steered_aborted_restarted_and_then_given_up(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one", noProgressSeconds=100, escalation=ESCALATION)
        await run.runs(task)
        first, at = machine.pi, run.world.now()
        await run.until(lambda: steps(run, task) == ["Steer"], "it is steered")
        assert run.world.now() - at == pytest.approx(100, abs=20)
        assert machine.pi is first
        await run.until(lambda: steps(run, task) == ["Steer", "Abort"], "its turn is ended")
        await run.until(lambda: "continued (1)" in asked(run), "it is asked to go on")
        assert machine.pi is first
        await run.until(lambda: steps(run, task) == ESCALATION, "pi is restarted")
        await run.until(lambda: "continued (2)" in asked(run), "on the same session")
        assert machine.pi is not first
        assert await run.ends(task) == "TimedOut"
        assert run.task_record(task).reason == "NoProgress"
        assert run.happened("Escalating") == 3
        assert len(run.prompts("one")) == 1, "the same attempt all the time"
        assert run.task_record(task).attempt == 1
        assert "no sign of progress for 100 s" in run.world.prompts[1][1]

    tell(tmp_path, story, World(work_seconds=7200.0))


@pytest.mark.guarantee("G-29")
@pytest.mark.parametrize("escalation", [["Abort"], ["RestartSession"]])
def test_what_an_interruption_frees_goes_on_to_its_end(escalation: list[str], tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one", noProgressSeconds=100, escalation=escalation)
        await run.runs(task)
        before = machine.session
        run.world.work_seconds = 4.0
        assert await run.ends(task) == "Succeeded"
        assert machine.session.startswith(before), "the same conversation goes on"
        await run.until(lambda: steps(run, task) == escalation, "it shows")
        assert "continued (1)" in asked(run)
        assert "finish it another way" in run.world.prompts[1][1]

    tell(tmp_path, story, World(work_seconds=7200.0))


@pytest.mark.guarantee("G-29")
def test_without_an_escalation_a_stalled_turn_is_given_up_at_once(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        task = await run.task("one", noProgressSeconds=100, escalation=[])
        at = run.world.now()
        assert await run.ends(task) == "TimedOut"
        assert run.world.now() - at < 140
        assert len(run.world.prompts) == 1

    tell(tmp_path, story, World(work_seconds=7200.0))


@pytest.mark.guarantee("G-29")
def test_text_being_written_and_output_of_tools_are_progress(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one", noProgressSeconds=60)
        await run.runs(task)
        for _ in range(100):
            await pass_time(10)
            assert machine.pi is not None
            machine.pi.activity += 1
        assert run.task_record(task).phase == "Running"
        assert steps(run, task) == []
        await run.until(lambda: steps(run, task) == ["Steer"], "without them it stalls")

    tell(tmp_path, story, World(work_seconds=36_000.0))


@pytest.mark.guarantee("G-29")
def test_an_abort_without_effect_is_followed_by_a_restart_and_the_work_goes_on(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one", noProgressSeconds=100, escalation=["Abort"])
        await run.runs(task)
        assert machine.pi is not None
        first, machine.pi.stubborn = machine.pi, True
        run.world.work_seconds = 4.0
        assert await run.ends(task) == "Succeeded"
        assert machine.pi is not first
        assert "continued (1)" in asked(run)

    tell(tmp_path, story, World(work_seconds=7200.0))


@pytest.mark.guarantee("G-29")
def test_an_outage_is_no_lack_of_progress(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one", noProgressSeconds=60, escalation=[])
        await run.runs(task)
        run.world.kill_pi(machine)
        machine.reachable = False
        run.world.work_seconds = 4.0
        asked = run.weather.count("guest.")
        await pass_time(600)
        assert run.weather.count("guest.") - asked < 650, "it is asked once a second, also when the time for progress is over"
        machine.reachable = True
        assert await run.ends(task) == "Succeeded"

    tell(tmp_path, story, World(work_seconds=7200.0))


# --- steers -----------------------------------------------------------------------------------------------------------------------


async def steered(run: Stage, **spec: object) -> tuple[Key, Key, Machine]:
    await run.lieutenant()
    machine = await run.ready()
    one = await run.task("one")
    await run.runs(one)
    steer = await run.task("s", "use port 81", delivery="Steer", landSeconds=20, **spec)
    await run.until(lambda: machine.pi is not None and bool(machine.pi.steers), "pi holds it")
    return one, steer, machine


@pytest.mark.guarantee("G-23")
@pytest.mark.guarantee("G-29")
def test_a_steer_that_does_not_land_interrupts_and_is_said_and_the_target_goes_on(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        one, steer, machine = await steered(run, escalation=ESCALATION)
        first, at = machine.pi, run.world.now()
        run.world.work_seconds = 4.0
        assert await run.ends(steer) == "Succeeded"
        assert run.world.now() - at < 30
        assert run.task_record(steer).reason == "Landed"
        assert len(run.prompts("s")) == 1
        assert "use port 81" in run.world.prompts[1][1]
        assert await run.ends(one) == "Succeeded"
        assert run.task_record(one).attempt == 1
        assert len(run.world.prompts) == 2, "the target is not asked to go on twice"
        assert steps(run, steer) == ["Abort"]
        assert machine.pi is first

    tell(tmp_path, story, World(work_seconds=3600.0))


@pytest.mark.guarantee("G-23")
@pytest.mark.guarantee("G-29")
def test_where_the_turn_cannot_be_aborted_pi_is_restarted_on_the_same_session(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        one, steer, machine = await steered(run, escalation=["Steer", "RestartSession"])
        first, before = machine.pi, machine.session
        run.world.work_seconds = 4.0
        assert await run.ends(steer) == "Succeeded"
        assert machine.pi is not first
        assert machine.session.startswith(before)
        assert await run.ends(one) == "Succeeded"
        assert [len(run.prompts(name)) for name in ("one", "s")] == [1, 1]
        assert run.task_record(one).attempt == 1

    tell(tmp_path, story, World(work_seconds=3600.0))


@pytest.mark.guarantee("G-23")
def test_a_deaf_turn_is_interrupted_the_hard_way(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        one, steer, machine = await steered(run, escalation=["Abort"])
        assert machine.pi is not None
        machine.pi.stubborn = True
        run.world.work_seconds = 4.0
        assert await run.ends(steer) == "Succeeded"
        assert await run.ends(one) == "Succeeded"
        assert [len(run.prompts(name)) for name in ("one", "s")] == [1, 1]

    tell(tmp_path, story, World(work_seconds=3600.0))


@pytest.mark.guarantee("G-23")
def test_a_target_that_ends_first_makes_its_steer_expire(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        one, steer, _ = await steered(run, escalation=ESCALATION)
        await run.engine.declarations.patch_spec(one, lambda obj: {**obj.spec, "cancel": True}, "api")
        assert await run.ends(one) == "Cancelled"
        assert await run.ends(steer) == "Expired"
        assert run.prompts("s") == []

    tell(tmp_path, story, World(work_seconds=3600.0))


# --- limits -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-29")
def test_a_task_that_writes_nothing_in_time_is_ended(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(limits={"firstArtifactSeconds": 120})
        await run.ready()
        run.world.calls = [("write", {"path": "/proc/nothing"})]
        task, at = await run.task("one"), run.world.now()
        assert await run.ends(task) == "TimedOut"
        assert run.task_record(task).reason == "NoArtifact"
        assert 100 < run.world.now() - at < 160

    tell(tmp_path, story, World(work_seconds=3600.0))


@pytest.mark.guarantee("G-29")
@pytest.mark.parametrize("how", ["by pi's file tool", "by a command"])
def test_a_first_file_is_seen_however_it_was_written(how: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(limits={"firstArtifactSeconds": 60})
        machine = await run.ready()
        run.world.calls = [("write", {"path": "a.txt"})] if how == "by pi's file tool" else []
        task = await run.task("one")
        await run.runs(task)
        if not run.world.calls:
            machine.files["/root/workspace/made/by/make.o"] = b"x"
        assert await run.ends(task) == "Succeeded"
        assert list(run.task_record(task).files) == (["a.txt"] if run.world.calls else [])

    tell(tmp_path, story, World(work_seconds=200.0))


@pytest.mark.guarantee("G-29")
def test_more_rounds_than_allowed_end_the_turn(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(limits={"maxTurns": 5})
        await run.ready()
        run.world.calls = [("bash", {"command": "make"})] * 20
        task = await run.task("one")
        assert await run.ends(task) == "Failed"
        assert run.task_record(task).reason == "TurnLimit"
        await run.until(lambda: "result" in run.status(task), "it shows")
        assert run.status(task)["result"]["turns"] <= 7
        run.world.calls = [("bash", {"command": "make"})] * 4
        assert await run.ends(await run.task("two")) == "Succeeded", "the fifth round is allowed"

    tell(tmp_path, story)


# --- what is left of a task -------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-20")
def test_what_was_done_stays_done_after_its_time_to_live(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        task = await run.task("one", ttlSecondsAfterFinished=60)
        assert await run.ends(task) == "Succeeded"
        at = run.world.now()
        await run.gone(task)
        assert run.world.now() - at >= 59
        later = await run.task("two", after=[{"name": "one"}])
        assert await run.ends(later) == "Succeeded"
        await run.controller.down()
        assert await run.task("one", ttlSecondsAfterFinished=60) == task
        await run.says(task, "Ready", "AlreadyDone")
        assert run.condition(task, "Ready") == "True"
        await pass_time(600)
        assert run.task_record(task).phase == "Succeeded"
        assert len(run.prompts("one")) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-20")
def test_what_was_done_stays_done_when_the_answer_to_its_removal_is_lost(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        lost: list[bool] = []

        async def losing_the_removal(write: Callable[[], Awaitable[object]]) -> object:
            told = await write()
            if not lost and run.prompts("one") and not await run.engine.store.objects("Task", "default", "one"):
                lost.append(True)
                raise Unreachable("connection lost")
            return told

        run.weather.rules["store.write"] = losing_the_removal
        task = await run.task("one", ttlSecondsAfterFinished=0)
        await run.gone(task)
        assert lost
        await run.task("one", ttlSecondsAfterFinished=0)
        await run.says(task, "Ready", "AlreadyDone")
        assert len(run.prompts("one")) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-20")
@pytest.mark.parametrize("shown", [False, True])
def test_other_work_of_that_name_is_a_new_task_and_a_deletion_forgets(shown: bool, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        task = await run.task("one", ttlSecondsAfterFinished=0)
        await run.gone(task)
        if shown:
            await run.task("one", ttlSecondsAfterFinished=0)
            await run.says(task, "Ready", "AlreadyDone")
        await run.task("one", "something else")
        assert await run.ends(task) == "Succeeded"
        assert len(run.prompts("one")) == 2
        await run.delete(task)
        await run.gone(task)
        await run.task("one", ttlSecondsAfterFinished=0)
        await run.until(lambda: len(run.prompts("one")) == 3, "it is done again")

    tell(tmp_path, story)


def test_a_failed_task_is_remembered_as_failed(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.answer = lambda prompt: ("", "error")
        await run.lieutenant()
        task = await run.task("one", ttlSecondsAfterFinished=0)
        await run.gone(task)
        await run.task("one", ttlSecondsAfterFinished=0)
        await run.says(task, "Ready", "ModelError")
        later = await run.task("two", after=[{"name": "one"}])
        assert await run.ends(later) == "Cancelled"
        assert len(run.prompts("one")) == 1

    tell(tmp_path, story)


# --- prompts from elsewhere -------------------------------------------------------------------------------------------------------


def test_a_prompt_from_a_config_map_is_waited_for_and_may_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[tuple[str, str, str], str] = {}

    class Vault:
        def get(self, namespace: str, name: str, key: str) -> str | None:
            return None

        def config(self, namespace: str, name: str, key: str) -> str | None:
            return values.get((namespace, name, key))

        def holds(self, kind: str, namespace: str, name: str) -> bool:
            return False

        def unread(self, kind: str, namespace: str, name: str) -> str:
            return ""

        def known(self) -> tuple[str, ...]:
            return ()

    monkeypatch.setattr("tests.faults.harness.NoSecrets", Vault)

    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        task = Key("Task", "default", "one")
        spec = {"lieutenantRef": {"name": LT.name}, "contentFrom": {"configMapKeyRef": {"name": "book", "key": "text"}}}
        await run.engine.declarations.apply(declared(task, **spec))
        await run.says(task, "Ready", "ContentNotFound")
        assert "key text of config map book is not there in namespace default" in run.message(task, "Ready")
        values[("default", "book", "text")] = "read this: " + "x" * 200_000
        assert await run.ends(task) == "Succeeded"
        assert run.world.prompts[0][1].endswith("read this: " + "x" * 200_000)

    tell(tmp_path, story)
