"""The agent and its machine fail in every way: noticed, told, brought back on the same session, its turn intact."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from reconciler.core.snapshot.vm import VmState
from tests.engine.stage import LT, Stage, pass_time, tell
from tests.world import World

LOOKS = ("vers.list_vms", "guest.inspect", "keeper.observe", "keeper.digests", "keeper.prefixes")


@pytest.mark.guarantee("G-24")
@pytest.mark.guarantee("G-20")
def test_pi_killed_in_the_middle_of_a_turn_goes_on_with_it_on_the_same_session(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one", "long work")
        await run.runs(task)
        file, at = machine.session_file, run.world.now()
        run.world.kill_pi(machine, code=137, signal=None)
        await run.until(lambda: machine.pi is not None, "pi runs again")
        assert run.world.now() - at <= 3 * 10
        assert machine.session_file == file
        await run.until(lambda: run.status().get("restarts") is not None, "the end of pi is told")
        restarts = run.status()["restarts"]
        assert (restarts["recent"], restarts["exitCode"], restarts["stderrTail"]) == (1, 137, "boom")
        assert await run.ends(task) == "Succeeded"
        assert len(run.prompts("one")) == 1
        assert run.happened("Continuing") == 1
        assert run.happened("AgentExited") == 1
        assert run.task_record(task).attempt == 1

    assert tell(tmp_path, story).world.created == 1


@pytest.mark.guarantee("G-25")
def test_a_crash_loop_is_bounded_and_ends_when_the_declaration_changes(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        starts = run.weather.count("keeper.start_agent")
        for _ in range(6):
            await run.until(lambda: machine.pi is not None, "pi runs")
            run.world.kill_pi(machine, code=1, signal=None)
        await run.says(LT, "Ready", "CrashLoop")
        assert run.condition(LT, "Stalled") == "True"
        assert "boom" in run.message(LT, "Ready")
        await pass_time(3600)
        assert machine.pi is None
        assert run.weather.count("keeper.start_agent") - starts == 5
        await run.lieutenant(role="Keep it better")
        await run.ready()

    assert tell(tmp_path, story).world.created == 1


@pytest.mark.guarantee("G-25")
def test_five_stable_minutes_clear_the_count(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        for _ in range(8):
            run.world.kill_pi(machine, code=1, signal=None)
            await run.until(lambda: machine.pi is not None, "pi runs again")
            await pass_time(301)
        await run.ready()
        assert len(run.record().restart.times) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-32")
@pytest.mark.guarantee("G-26")
def test_a_dead_vm_is_replaced_and_the_conversation_goes_on_with_its_memory(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        assert await run.ends(await run.task("one", "remember 42")) == "Succeeded"
        said = machine.session
        machine.state = VmState.DEAD
        await run.until(lambda: run.record().slot.vm_id not in ("", machine.vm_id), "it has another machine")
        other = await run.ready()
        assert machine.deleted
        assert other.session.startswith(said)
        assert run.record().slot.epoch == 2
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert other.session.startswith(said)
        assert b"remember 42" in other.session
        assert [vm for vm, text in run.world.prompts if "/two" in text] == [other.vm_id]

    run = tell(tmp_path, story)
    assert run.world.created == 2
    assert len(run.world.alive()) == 1


@pytest.mark.guarantee("G-32")
@pytest.mark.guarantee("G-20")
def test_a_machine_that_dies_in_a_turn_has_its_turn_continued_elsewhere(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one")
        await run.runs(task)
        machine.state = VmState.DEAD
        run.world.kill_pi(machine)
        assert await run.ends(task) == "Succeeded"
        assert len(run.prompts("one")) == 1
        assert run.machine().vm_id != machine.vm_id

    assert tell(tmp_path, story).world.created == 2


@pytest.mark.guarantee("G-05")
def test_a_protected_dead_vm_waits_for_a_person(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/deletion-protection": "enabled"})
        machine.state = VmState.DEAD
        await run.says(LT, "Ready", "Protected")
        await pass_time(900)
        assert not machine.deleted
        assert run.world.created == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-24")
@pytest.mark.guarantee("G-20")
def test_a_vm_suspended_behind_our_back_is_resumed_its_turn_intact(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one")
        await run.runs(task)
        machine.state = VmState.SUSPENDED
        await run.until(lambda: machine.state is VmState.RUNNING, "it is resumed")
        assert await run.ends(task) == "Succeeded"
        assert len(run.prompts("one")) == 1
        assert run.happened("Continuing") == 0

    tell(tmp_path, story)


@pytest.mark.guarantee("G-08")
def test_a_vm_resumed_behind_our_back_is_suspended_again(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        await run.lieutenant(mode="Suspended")
        await run.until(lambda: machine.state is VmState.SUSPENDED, "it sleeps")
        machine.state = VmState.RUNNING
        await run.until(lambda: machine.state is VmState.SUSPENDED, "it sleeps again")
        await run.until(lambda: run.condition(LT, "Ready") == "True", "as declared")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-12")
def test_a_clock_that_stood_still_is_corrected_before_anything_runs(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        await run.lieutenant(mode="Suspended")
        await run.until(lambda: machine.state is VmState.SUSPENDED, "it sleeps")
        machine.clock_skew = -7200.0
        stored: list[bool] = []

        async def noting(act: Callable[[], Awaitable[object]]) -> object:
            stored.append("CorrectedClock" in [event.reason for event in await run.engine.store.events(LT)])
            return await act()

        run.weather.rules["guest.inspect"] = noting
        await run.lieutenant()
        await run.ready()
        assert machine.clock_skew == 0.0
        assert run.happened("CorrectedClock") == 1
        assert stored[:2] == [False, True], "it is in the store with what else is known of the clock, before anything else is done"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-04")
def test_an_unreachable_machine_is_told_as_unknown_and_left_alone(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one")
        await run.runs(task)
        machine.reachable = False
        await run.says(LT, "AgentReachable", "GuestUnreachable")
        assert run.condition(LT, "Ready") == "Unknown"
        await run.lieutenant(mode="Suspended")
        await pass_time(60)
        assert machine.state is VmState.RUNNING
        await run.lieutenant()
        machine.reachable = True
        assert await run.ends(task) == "Succeeded"
        assert len(run.prompts("one")) == 1

    run = tell(tmp_path, story)
    assert run.world.created == 1
    assert run.world.deletes == []


@pytest.mark.guarantee("G-24")
def test_a_keeper_that_died_is_started_again_and_its_pi_is_found(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        machine.keeper_alive = False
        run.world.wake(machine)
        await run.until(lambda: machine.keeper_alive, "the keeper runs again")
        await run.ready()
        assert run.happened("StartedAgent") == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-08")
def test_a_busy_lieutenant_is_suspended_when_its_turn_is_over(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one")
        await run.runs(task)
        await run.lieutenant(mode="Suspended")
        await run.says(LT, "Ready", "SuspendPending")
        assert machine.state is VmState.RUNNING
        await run.until(lambda: machine.state is VmState.SUSPENDED, "it sleeps")
        assert await run.ends(task) == "Succeeded"

    tell(tmp_path, story, World(work_seconds=60.0))


@pytest.mark.guarantee("G-08")
def test_with_abort_its_turn_is_ended_after_the_grace_and_goes_on_after_the_sleep(tmp_path: Path) -> None:
    policy = {"suspend": {"onBusy": "Abort", "graceSeconds": 20}}

    async def story(run: Stage) -> None:
        await run.lieutenant(**policy)
        machine = await run.ready()
        task = await run.task("one", taskTimeoutSeconds=0)
        await run.runs(task)
        at = run.world.now()
        await run.lieutenant(mode="Suspended", **policy)
        await run.until(lambda: machine.state is VmState.SUSPENDED, "it sleeps")
        assert 20 <= run.world.now() - at <= 40
        await pass_time(60)
        assert run.task_record(task).phase == "Running"
        run.world.work_seconds = 4.0
        await run.lieutenant(**policy)
        assert await run.ends(task) == "Succeeded"
        assert len(run.prompts("one")) == 1

    tell(tmp_path, story, World(work_seconds=600.0))


@pytest.mark.guarantee("G-01")
@pytest.mark.guarantee("G-20")
def test_a_restart_of_the_controller_in_a_turn_changes_nothing(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        task = await run.task("one")
        await run.runs(task)
        pi = machine.pi
        before = len(run.weather.names)
        await run.controller.down()
        await pass_time(1)
        await run.alive()
        assert await run.ends(task) == "Succeeded"
        after = run.weather.names[before:]
        assert [name for name in after if name.startswith(("vers.", "keeper.", "guest."))] == [name for name in after if name in LOOKS]
        assert machine.pi is pi
        assert len(run.prompts("one")) == 1

    tell(tmp_path, story)
