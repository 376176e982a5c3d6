"""What an agent was told and which model it has: applied means read back, and only what pi reads at its start costs a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.profile.rendering import ROLE_FILE
from reconciler.core.snapshot.agent import Compacting
from tests.engine.stage import LT, Stage, pass_time, tell
from tests.world import Machine, World

ONE, TWO = ({"provider": "a", "id": name} for name in ("one", "two"))


def role(machine: Machine) -> str:
    return machine.files[ROLE_FILE].decode()


@pytest.mark.guarantee("G-30")
def test_a_model_is_set_while_pi_runs_and_read_back(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(model=ONE)
        machine = await run.ready()
        pi = machine.pi
        assert pi is not None
        assert pi.model == "a/one"
        await run.lieutenant(model={**TWO, "thinking": "high"})
        await run.until(lambda: run.status()["agent"]["model"] == "a/two", "it has the other model")
        await run.ready()
        assert run.status()["agent"]["thinking"] == "high"
        assert machine.pi is pi
        assert run.reason(LT, "AgentConfigured") == "Applied"
        assert run.happened("StoppedAgent") == 0

    tell(tmp_path, story)


@pytest.mark.guarantee("G-30")
def test_a_new_model_waits_for_the_turn_and_comes_before_the_next_prompt(tmp_path: Path) -> None:
    heard: list[str] = []

    async def story(run: Stage) -> None:
        await run.lieutenant(model=ONE)
        machine = await run.ready()
        first, second = await run.task("first"), await run.task("second")
        await run.runs(first)

        def answer(prompt: str) -> tuple[str, str]:
            assert machine.pi is not None
            heard.append(machine.pi.model)
            return "done", "stop"

        run.world.answer = answer
        await run.lieutenant(model=TWO)
        await run.says(LT, "AgentConfigured", "ModelMismatch")
        assert run.condition(LT, "Ready") == "False"
        assert [await run.ends(first), await run.ends(second)] == ["Succeeded", "Succeeded"]
        assert heard == ["a/one", "a/two"]

    tell(tmp_path, story, World(work_seconds=20.0))


@pytest.mark.guarantee("G-27")
@pytest.mark.guarantee("G-30")
def test_a_model_that_pi_refuses_is_not_called_applied_and_not_asked_for_ever(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(model=ONE)
        machine = await run.ready()
        pi = machine.pi
        run.world.unknown_models.add("a/two")
        await run.lieutenant(model=TWO)
        await run.says(LT, "Stalled", "ModelRejected")
        assert "Model not found: a/two" in run.message(LT, "Stalled")
        assert run.condition(LT, "AgentConfigured") == "False"
        asked = run.weather.count("keeper.call")
        await pass_time(300)
        assert run.weather.count("keeper.call") == asked
        assert machine.pi is pi
        assert pi is not None
        assert pi.model == "a/one"
        run.world.unknown_models.clear()
        await run.lieutenant(model={**TWO, "thinking": "low"})
        await run.ready()
        assert pi.model == "a/two"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_changed_instructions_reach_pi_by_a_restart_when_settled(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(instructions={"directive": "always test", "files": [{"path": "AGENTS.md", "content": "be kind"}]})
        machine = await run.ready()
        pi = machine.pi
        task = await run.task("one")
        await run.runs(task)
        await run.lieutenant(instructions={"directive": "never delete", "files": [{"path": "AGENTS.md", "content": "be kind"}]})
        await run.says(LT, "Ready", "LaunchChanged")
        assert machine.pi is pi
        assert await run.ends(task) == "Succeeded"
        await run.until(lambda: machine.pi is not None and machine.pi is not pi, "pi was started again")
        await run.says(LT, "AgentConfigured", "Applied")
        assert "Directive (always holds):\nnever delete" in role(machine)
        assert run.status()["agent"]["told"]["files"].keys() == {"AGENTS.md"}

    tell(tmp_path, story, World(work_seconds=20.0))


@pytest.mark.guarantee("G-27")
def test_a_file_edited_by_hand_is_put_right_when_settled(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(instructions={"files": [{"path": "AGENTS.md", "content": "be kind"}]})
        machine = await run.ready()
        pi, declared = machine.pi, machine.files[ROLE_FILE]
        machine.files[ROLE_FILE] = b"obey nobody"
        del machine.files["AGENTS.md"]
        await run.until(lambda: machine.files[ROLE_FILE] == declared, "it is as declared again")
        assert machine.files["AGENTS.md"] == b"be kind"
        assert machine.pi is pi  # it never read what was there meanwhile

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_a_file_edited_while_pi_was_down_is_put_right_before_it_is_read(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        declared = machine.files[ROLE_FILE]
        machine.files[ROLE_FILE] = b"obey nobody"
        run.world.kill_pi(machine)
        await run.until(lambda: machine.pi is not None, "pi runs again")
        assert machine.files[ROLE_FILE] == declared
        await run.says(LT, "AgentConfigured", "Applied")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_a_pi_that_does_not_read_its_instructions_takes_no_work(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.deaf_to_instructions = True
        await run.lieutenant(instructions={"directive": "always test"})
        task = await run.task("one")
        await run.says(LT, "Stalled", "InstructionsNotApplied")
        assert run.condition(LT, "AgentConfigured") == "False"
        await pass_time(120)
        assert run.task_record(task).phase == "Pending"
        assert run.happened("StoppedAgent") == 0
        run.world.deaf_to_instructions = False
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "now"})
        assert await run.ends(task) == "Succeeded"
        assert run.happened("StoppedAgent") == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-30")
def test_nothing_that_is_applied_live_touches_the_session(tmp_path: Path) -> None:
    live = {
        "model": {**TWO, "thinking": "low"},
        "queue": {"maxPending": 3},
        "limits": {"taskTimeoutSeconds": 77, "noProgressSeconds": 66, "steerLandSeconds": 55},
        "suspend": {"onBusy": "Abort", "graceSeconds": 5},
        "health": {"periodSeconds": 3, "failureThreshold": 9, "startupTimeoutSeconds": 44},
        "restart": {"backoff": {"baseSeconds": 9}, "crashLoop": {"maxRestarts": 2}},
    }

    async def story(run: Stage) -> None:
        await run.lieutenant(model=ONE)
        machine = await run.ready()
        task = await run.task("one")
        assert await run.ends(task) == "Succeeded"
        pi, session, started = machine.pi, machine.session, run.happened("StartedAgent")
        for name, value in live.items():
            await run.lieutenant(**{"model": ONE, name: value})
            await pass_time(15)
        await run.lieutenant(**live)
        await run.says(LT, "AgentConfigured", "Applied")
        await pass_time(60)
        assert machine.pi is pi
        assert machine.session == session
        assert run.happened("StartedAgent") == started
        assert run.condition(LT, "Ready") == "True"

    tell(tmp_path, story)


async def shortened_as_declared(run: Stage) -> None:
    """How a long conversation is shortened reaches pi by a restart on its session, and counts once pi says so."""
    await run.lieutenant()
    machine = await run.ready()
    task = await run.task("one")
    await run.runs(task)
    first = machine.pi
    await run.lieutenant(compaction={"auto": False, "reserveTokens": 3000, "keepRecentTokens": 1500})
    await run.says(LT, "Ready", "LaunchChanged")
    assert machine.pi is first
    assert await run.ends(task) == "Succeeded"
    await run.until(lambda: machine.pi is not None and machine.pi is not first, "pi was started again")
    await run.says(LT, "AgentConfigured", "Applied")
    assert machine.pi is not None
    assert machine.pi.compacting == Compacting(False, 3000, 1500)


@pytest.mark.guarantee("G-27")
def test_how_the_conversation_is_shortened_is_applied_and_read_back(tmp_path: Path) -> None:
    tell(tmp_path, shortened_as_declared, World(work_seconds=20.0))


@pytest.mark.guarantee("G-27")
def test_a_pi_that_shortens_its_conversation_otherwise_takes_no_work(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.own_compaction = Compacting(True, 1, 2)
        await run.lieutenant(compaction={"auto": False, "reserveTokens": 3000})
        task = await run.task("one")
        await run.says(LT, "Stalled", "CompactionNotApplied")
        assert run.condition(LT, "AgentConfigured") == "False"
        assert "declared auto false, reserveTokens 3000, keepRecentTokens 20000, pi says auto true" in run.message(LT, "Stalled")
        await pass_time(120)
        assert run.task_record(task).phase == "Pending"
        assert run.happened("StoppedAgent") == 0
        run.world.own_compaction = None
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "now"})
        assert await run.ends(task) == "Succeeded"
        assert run.happened("StoppedAgent") == 1

    tell(tmp_path, story)
