"""An agent on the controller's host: as declared, and while VMs cannot be had (G-01, G-31)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.snapshot.local import Hosting
from reconciler.engine.state.objects import with_record
from reconciler.errors import NoRoom
from tests.engine.stage import LT, SETTINGS, Stage, declared, failing, pass_time, tell
from tests.world import Machine, World

ROOT = "/srv/agents"
ALLOWED = replace(SETTINGS, hosting=Hosting.ALLOWED, local_root=ROOT, host="this-state-directory")
LOCAL = {"placement": {"type": "Local"}}
FALLBACK = {"placement": {"outageFallback": "Local"}}


def home(run: Stage) -> Machine:
    """The directory of the only agent on this host."""
    (machine,) = run.world.homes.values()
    return machine


def no_room(run: Stage) -> None:
    run.weather.rules["vers.create_vm"] = failing(lambda: NoRoom("netlink error: Address in use", "POST /vm"))


def room(run: Stage) -> None:
    del run.weather.rules["vers.create_vm"]


async def on_a_vm(run: Stage) -> Machine:
    """Until the agent is usable on a VM, and nothing of it is on this host."""

    def there() -> bool:
        record = run.record()
        return bool(record.slot.vm_id) and not record.local.state and run.condition(LT, "Ready") == "True"

    await run.until(there, "it lives on a VM")
    return run.machine()


@pytest.mark.guarantee("G-01")
def test_a_declared_local_agent_works_here_and_is_gone_without_a_trace(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(**LOCAL)
        one = await run.task("one", acceptance=[{"file": {"path": "made.txt"}}])
        await run.until(lambda: bool(run.world.homes) and home(run).pi is not None, "pi runs")
        pi = home(run).pi
        assert pi is not None
        assert pi.launch.work_dir.startswith(f"{ROOT}/")
        assert pi.launch.work_dir.endswith("/tree/root/workspace")
        home(run).files[f"{pi.launch.work_dir}/made.txt"] = b"made"
        assert await run.ends(one) == "Succeeded"
        await run.until(lambda: run.condition(LT, "Ready") == "True", "it is ready")
        assert run.condition(LT, "Available") == "True"
        assert run.condition(LT, "VMReady") == ""
        assert run.condition(LT, "ProfilePartlyApplied") == "True"
        await run.controller.down()
        assert home(run).pi is pi, "its pi does not care whether a controller runs"
        await run.alive()
        await pass_time(30)
        assert home(run).pi is pi
        await run.delete(LT)
        await run.gone(LT)
        assert run.world.homes == {}

    assert tell(tmp_path, story, settings=ALLOWED).world.created == 0


@pytest.mark.guarantee("G-08")
def test_suspending_stops_pi_when_settled_and_resuming_starts_it_on_the_same_conversation(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(**LOCAL)
        one = await run.task("one")
        await run.runs(one)
        await run.lieutenant(**LOCAL, mode="Suspended")
        assert await run.ends(one) == "Succeeded"
        await run.until(lambda: run.condition(LT, "Suspended") == "True" and run.condition(LT, "Ready") == "True", "it sleeps")
        assert home(run).pi is None
        assert run.reason(LT, "Suspended") == "AgentStopped"
        session = home(run).session
        await run.lieutenant(**LOCAL)
        two = await run.task("two")
        assert await run.ends(two) == "Succeeded"
        assert home(run).session.startswith(session)
        assert len(run.prompts("one")) == len(run.prompts("two")) == 1

    tell(tmp_path, story, settings=ALLOWED)


def test_a_start_here_leaves_no_fence_of_a_move_behind(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(**LOCAL)
        one = await run.task("one")
        await run.runs(one)
        record = run.record()
        fenced = record.but(local=record.local.but(fenced=7), replacement=record.replacement.but(fenced=7))
        await run.engine.table.update([(LT, with_record(fenced))])
        run.world.kill_pi(home(run))
        assert await run.ends(one) == "Succeeded"
        assert (run.record().local.fenced, run.record().replacement.fenced) == (0, 0)

    tell(tmp_path, story, settings=ALLOWED)


@pytest.mark.guarantee("G-24")
@pytest.mark.guarantee("G-25")
def test_crashes_are_counted_as_on_a_machine(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(**LOCAL)
        one = await run.task("one")
        await run.runs(one)
        run.world.kill_pi(home(run))
        assert await run.ends(one) == "Succeeded"
        assert run.task_record(one).continues == 1
        for _ in range(8):
            if home(run).pi is not None:
                run.world.kill_pi(home(run))
            await pass_time(61)
        await run.says(LT, "Stalled", "CrashLoop")

    tell(tmp_path, story, settings=ALLOWED)


@pytest.mark.parametrize(("hosting", "reason"), [(Hosting.NOT_ALLOWED, "LocalNotAllowed"), (Hosting.UNAVAILABLE, "LocalUnavailable")])
def test_nothing_starts_here_without_leave(hosting: Hosting, reason: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(**LOCAL)
        await run.says(LT, "Stalled", reason)
        await pass_time(60)
        assert run.world.homes == {}
        await run.delete(LT)
        await run.gone(LT)

    tell(tmp_path, story, settings=replace(ALLOWED, hosting=hosting))


def test_a_directory_of_another_state_directory_is_left_alone(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(**LOCAL)
        await run.until(lambda: run.condition(LT, "Ready") == "True", "it is ready")
        pi = home(run).pi
        await run.controller.down()
        run.controller.settings = replace(ALLOWED, host="another")
        await run.alive()
        await run.says(LT, "Stalled", "LocalElsewhere")
        await run.delete(LT)
        await pass_time(120)
        assert run.engine.table.get(LT) is not None
        assert home(run).pi is pi

    tell(tmp_path, story, settings=ALLOWED)


@pytest.mark.parametrize(("policy", "kept"), [("Delete", False), ("Snapshot", True), ("Retain", True)])
def test_the_deletion_policy_says_what_becomes_of_the_directory(policy: str, kept: bool, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(**LOCAL, deletionPolicy=policy)
        await run.until(lambda: run.condition(LT, "Ready") == "True", "it is ready")
        await run.delete(LT)
        await run.gone(LT)
        assert bool(run.world.homes) is kept
        assert all(not machine.keeper_alive and machine.pi is None for machine in run.world.homes.values())

    tell(tmp_path, story, settings=ALLOWED)


def test_an_orphan_is_left_as_it_is(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(**LOCAL, deletionPolicy="Orphan")
        await run.until(lambda: run.condition(LT, "Ready") == "True", "it is ready")
        pi = home(run).pi
        await run.delete(LT)
        await run.gone(LT)
        assert home(run).pi is pi
        assert run.happened("LeftLocal") == 1

    tell(tmp_path, story, settings=ALLOWED)


@pytest.mark.guarantee("G-31")
@pytest.mark.guarantee("G-32")
def test_work_goes_on_here_in_an_outage_and_comes_back_with_all_that_was_said_and_made(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        no_room(run)
        await run.lieutenant(**FALLBACK)
        one = await run.task("one")
        assert await run.ends(one) == "Succeeded"
        assert run.condition(LT, "Available") == "True"
        assert run.reason(LT, "Available") == "LocalFallback"
        assert run.condition(LT, "VMReady") == "False"
        assert run.condition(LT, "Ready") == "False"
        assert "netlink" in run.message(LT, "Ready")
        assert run.condition(LT, "ProfilePartlyApplied") == "True"
        assert run.happened("FellBack") == 1
        here = home(run)
        assert here.pi is not None
        here.files[f"{here.pi.launch.work_dir}/made.txt"] = b"made here"
        epoch = here.keeper_epoch
        room(run)
        machine = await on_a_vm(run)
        assert machine.files["/root/workspace/made.txt"] == b"made here"
        assert machine.keeper_epoch > epoch
        assert run.world.homes == {}
        two = await run.task("two")
        assert await run.ends(two) == "Succeeded"
        assert [len(run.prompts(name)) for name in ("one", "two")] == [1, 1]
        assert machine.session.count(b'"role": "user"') == 2
        assert machine.session.startswith(b'{"type":"session"')
        assert b'"cwd":"/root/workspace"' in machine.session.splitlines()[0]
        assert run.happened("MovedToVM") == 1
        assert run.condition(LT, "ProfilePartlyApplied") == ""

    run = tell(tmp_path, story, settings=ALLOWED)
    assert run.world.created == 1


@pytest.mark.guarantee("G-31")
@pytest.mark.guarantee("G-32")
def test_an_agent_whose_vm_is_gone_continues_its_conversation_here_and_moves_back(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(**FALLBACK)
        machine = await run.ready()
        assert await run.ends(await run.task("one")) == "Succeeded"
        no_room(run)
        machine.deleted = True
        await run.until(lambda: run.reason(LT, "Available") == "LocalFallback", "it works here")
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert home(run).session.count(b'"role": "user"') == 2
        assert b"/tree/root/workspace" in home(run).session.splitlines()[0]
        three = await run.task("three")
        await run.runs(three)
        room(run)
        assert await run.ends(three) == "Succeeded"
        new = await on_a_vm(run)
        assert new.session.count(b'"role": "user"') == 3
        assert new.session.startswith(machine.session)
        assert [len(run.prompts(name)) for name in ("one", "two", "three")] == [1, 1, 1]

    run = tell(tmp_path, story, settings=ALLOWED)
    assert run.world.created == 2


@pytest.mark.guarantee("G-31")
@pytest.mark.parametrize("how", ["not declared", "not allowed"])
def test_nothing_falls_back_that_was_not_told_to(how: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        no_room(run)
        await run.lieutenant(**(FALLBACK if how == "not allowed" else {}))
        await run.says(LT, "Ready", "PlatformBlocked")
        await pass_time(600)
        assert run.world.homes == {}
        assert ("--allow-local" in run.message(LT, "Ready")) is (how == "not allowed")
        room(run)
        await run.ready()

    tell(tmp_path, story, settings=replace(ALLOWED, hosting=Hosting.NOT_ALLOWED) if how == "not allowed" else ALLOWED)


@pytest.mark.guarantee("G-06")
@pytest.mark.guarantee("G-31")
def test_probes_stay_bounded_while_work_goes_on_here(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        no_room(run)
        await run.lieutenant(**FALLBACK)
        assert await run.ends(await run.task("one")) == "Succeeded"
        await pass_time(3600)
        assert run.weather.count("vers.create_vm") <= 12
        assert await run.ends(await run.task("two")) == "Succeeded"

    tell(tmp_path, story, settings=ALLOWED)


@pytest.mark.guarantee("G-31")
def test_a_workspace_that_is_too_large_stays_here_and_says_so(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        no_room(run)
        await run.lieutenant(**FALLBACK)
        assert await run.ends(await run.task("one")) == "Succeeded"
        here = home(run)
        assert here.pi is not None
        path = f"{here.pi.launch.work_dir}/large.bin"
        here.files[path] = bytes((256 << 20) + 1)
        room(run)
        await run.until(lambda: run.happened("WorkspaceTooLarge") == 1, "it is told")
        assert await run.ends(await run.task("two")) == "Succeeded"
        assert "256" in run.message(LT, "Ready")
        here.files[path] = b"small"
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "now"})
        await on_a_vm(run)
        assert run.world.homes == {}

    tell(tmp_path, story, settings=ALLOWED)


@pytest.mark.guarantee("G-08")
@pytest.mark.guarantee("G-31")
def test_suspended_in_an_outage_it_rests_here_and_costs_nothing(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        no_room(run)
        await run.lieutenant(**FALLBACK)
        one = await run.task("one")
        await run.runs(one)
        await run.lieutenant(**FALLBACK, mode="Suspended")
        await run.until(lambda: run.condition(LT, "Suspended") == "True" and run.condition(LT, "Ready") == "True", "it sleeps")
        assert run.task_record(one).phase == "Succeeded"
        room(run)
        await pass_time(900)
        assert run.world.created == 0
        await run.lieutenant(**FALLBACK)
        machine = await on_a_vm(run)
        assert machine.session.count(b'"role": "user"') == 1

    tell(tmp_path, story, World(), ALLOWED)


@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-31")
def test_deleted_in_an_outage_it_ends_its_turn_and_nothing_is_left(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        no_room(run)
        await run.lieutenant(**FALLBACK)
        one = await run.task("one")
        await run.runs(one)
        await run.delete(LT)
        await run.gone(LT)
        assert run.world.homes == {}
        assert run.task_record(one).phase == "Cancelled"

    assert tell(tmp_path, story, settings=ALLOWED).world.created == 0


def test_the_field_is_immutable_and_the_declaration_is_taken_as_it_is(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.declare(declared(LT, role="r", profileRef={"name": "swarm"}, **LOCAL))
        await run.until(lambda: run.condition(LT, "Ready") == "True", "it is ready")
        told = run.message(LT, "ProfilePartlyApplied")
        assert "resources" in told
        assert "organs" in told

    tell(tmp_path, story, settings=ALLOWED)
