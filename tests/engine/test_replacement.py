"""Stories about a machine that is replaced by another one (G-14): what works is given up only when the other one works, and nothing of
the conversation and the workspace is lost on the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.lieutenant.replacement import PATIENCE
from reconciler.core.records import LieutenantRecord
from reconciler.core.snapshot.machine import CommandResult
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.act.local import WORKSPACE_LIMIT
from reconciler.engine.planning import plan_everything
from reconciler.engine.state.declared import Declared
from reconciler.errors import GuestFailed, Rejected
from tests.engine.stage import LT, SETTINGS, Stage, declared, failing, pass_time, tell
from tests.engine.test_profiles import AFTER, BEFORE, PROFILE, RECREATE, made, profile
from tests.world import Machine, false_fails

MADE = "/root/workspace/made.txt"
BROKEN: dict[str, object] = {**AFTER, "verify": [{"name": "works", "command": ["false"]}]}


async def worked(run: Stage, **spec: object) -> Machine:
    """A lieutenant that has worked, and made a file; its machine is replaced when its profile changes."""
    run.world.commands = false_fails
    old = await made(run, BEFORE, **{"update": RECREATE, **spec})
    assert await run.ends(await run.task("one", "remember this")) == "Succeeded"
    old.files[MADE] = b"by the agent"
    return old


def other(run: Stage) -> Machine | None:
    return run.world.machines.get(run.record().next.vm_id)


async def begun(run: Stage) -> Machine:
    """Until there is another machine beside the one that works."""
    await run.until(lambda: other(run) is not None, "another machine is made")
    found = other(run)
    assert found is not None
    return found


async def settled(run: Stage) -> Machine:
    """Until nothing of a replacement is left, and it is usable."""
    await run.until(lambda: not run.record().replacement.state, "there is one machine again")
    assert run.record().next == LieutenantRecord().next
    machine = await run.ready()
    assert run.world.alive() == [machine]
    return machine


def has_everything(machine: Machine) -> bool:
    return machine.files.get(MADE) == b"by the agent" and b"remember this" in machine.session


@pytest.mark.guarantee("G-14")
@pytest.mark.guarantee("G-44")
def test_a_profile_whose_verification_fails_costs_neither_the_machine_nor_its_workspace(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        await profile(run, **BROKEN)
        await run.says(LT, "UpToDate", "ReplacementFailed")
        assert "it does not work" in run.message(LT, "UpToDate"), "the tail of what the check said"
        assert await settled(run) is old
        assert has_everything(old)
        assert run.condition(LT, "Ready") == "True"
        assert await run.ends(await run.task("two")) == "Succeeded"
        await pass_time(1800)
        assert run.world.created == 2, "not tried again by itself"
        await profile(run, **AFTER)
        await run.until(lambda: old.deleted, "a profile that works gets its machine")
        assert has_everything(await settled(run))
        assert run.reason(LT, "UpToDate") == "ProfileApplied"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_what_failed_is_tried_again_when_somebody_asks(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        await profile(run, **BROKEN)
        await run.says(LT, "UpToDate", "ReplacementFailed")
        await settled(run)
        run.world.commands = lambda command: 0
        spec = {"role": "Keep it", "profileRef": {"name": "own"}, "update": RECREATE}
        await run.declare(Declared(LT, spec, {}, {"fleet.vers.sh/retry": "1"}, "api"))  # type: ignore[arg-type]
        await run.until(lambda: old.deleted, "it works this time")
        assert has_everything(await settled(run))

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
@pytest.mark.guarantee("G-32")
def test_the_old_machine_works_on_until_the_other_one_is_verified_and_everything_moves_when_it_is_settled(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        pi = old.pi
        run.world.work_seconds = 60.0
        task = await run.task("two", "much work")
        await run.runs(task)
        long = await run.task("three", "more work")
        await profile(run, **AFTER, env=[{"name": "MODE", "value": "new"}])
        new = await begun(run)
        await run.until(lambda: run.status().get("replacement", {}).get("phase") == "Verified", "it is verified beside the old one")
        assert run.status()["replacement"]["vm"] == new.vm_id
        assert old.pi is pi, "what runs is not started again for what the other one will have"
        assert await run.ends(task) == "Succeeded"
        await run.until(lambda: run.machine() is new, "they change places")
        assert await run.ends(long) == "Succeeded"
        assert await settled(run) is new
        assert has_everything(new)
        assert new.pi is not None
        assert new.pi.launch.env["MODE"] == "new"
        assert [len(run.prompts(name)) for name in ("one", "two", "three")] == [1, 1, 1]
        assert run.happened("Replaced") == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_files_of_the_profile_are_as_the_new_one_has_them(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, {"files": [{"path": "/root/workspace/notes.txt", "content": "old"}]}, update=RECREATE)
        old.files[MADE] = b"by the agent"
        await profile(run, files=[{"path": "/root/workspace/notes.txt", "content": "new"}])
        await run.until(lambda: old.deleted, "it is replaced")
        new = await settled(run)
        assert new.files["/root/workspace/notes.txt"] == b"new"
        assert new.files[MADE] == b"by the agent"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_a_workspace_goes_where_the_new_profile_has_it(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, {**BEFORE, "agent": {"workDir": "/srv/one"}}, update=RECREATE)
        old.files["/srv/one/made.txt"] = b"by the agent"
        await profile(run, **AFTER, agent={"workDir": "/srv/two"})
        await run.until(lambda: old.deleted, "it is replaced")
        assert (await settled(run)).files["/srv/two/made.txt"] == b"by the agent"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_a_workspace_that_is_too_large_to_be_carried_over_keeps_the_old_machine(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        old.files[MADE] = bytes(WORKSPACE_LIMIT + 1)
        await profile(run, **AFTER)
        await run.says(LT, "UpToDate", "ReplacementFailed")
        assert "256 MiB" in run.message(LT, "UpToDate")
        assert await settled(run) is old
        assert await run.ends(await run.task("two")) == "Succeeded"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_what_can_not_be_carried_over_is_tried_again_and_then_given_up(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        run.weather.rules["keeper.unpack"] = failing(lambda: GuestFailed("no space left on device", "vm"))
        await profile(run, **AFTER)
        await run.says(LT, "UpToDate", "ReplacementFailed")
        assert "no space left" in run.message(LT, "UpToDate")
        assert await settled(run) is old
        assert has_everything(old)
        assert await run.ends(await run.task("two")) == "Succeeded"

    tell(tmp_path, story)


# --- room --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-14")
@pytest.mark.guarantee("G-06")
def test_without_room_for_both_it_waits(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        run.world.full = True
        await profile(run, **AFTER)
        await run.says(LT, "UpToDate", "ReplacementHeldBack")
        await pass_time(1800)
        assert run.machine() is old
        assert run.condition(LT, "Available") == "True"
        assert run.reason(LT, "UpToDate") == "ReplacementHeldBack"
        assert await run.ends(await run.task("two")) == "Succeeded"
        run.world.full = False
        await run.until(lambda: old.deleted, "there is room")
        assert has_everything(await settled(run))

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
@pytest.mark.guarantee("G-44")
def test_without_room_for_both_it_is_replaced_in_place_where_that_is_declared(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run, update={**RECREATE, "onNoRoom": "InPlace"})
        run.world.full = True
        await profile(run, **AFTER)
        await run.until(lambda: old.deleted, "it makes room")
        run.world.full = False
        new = await settled(run)
        assert new is not old
        assert b"remember this" in new.session
        assert MADE not in new.files, "the workspace goes with the machine, as declared"
        assert run.condition(LT, "WorkspaceLost") == "True", "and that is told"
        assert run.reason(LT, "UpToDate") == "ProfileApplied"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-09")
@pytest.mark.guarantee("G-14")
def test_a_limit_of_machines_is_no_room_for_both(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        await profile(run, **AFTER)
        await run.says(LT, "UpToDate", "ReplacementHeldBack")
        assert "--max-vms" in run.message(LT, "UpToDate")
        await pass_time(300)
        assert run.world.created == 1
        assert run.condition(LT, "Ready") == "True"
        await run.lieutenant(profileRef={"name": "own"}, update={**RECREATE, "onNoRoom": "InPlace"})
        await run.until(lambda: old.deleted, "it makes room")
        assert b"remember this" in (await settled(run)).session

    tell(tmp_path, story, settings=replace(SETTINGS, max_vms=1))


@pytest.mark.guarantee("G-14")
def test_with_room_for_both_in_place_is_not_needed(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run, update={**RECREATE, "onNoRoom": "InPlace"})
        await profile(run, **AFTER)
        await run.until(lambda: old.deleted, "it is replaced")
        assert has_everything(await settled(run))

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_a_machine_that_the_platform_refuses_to_make_is_given_up_after_some_tries(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        run.weather.rules["vers.create_vm"] = failing(lambda: Rejected("no such image", "POST /vm"))
        await profile(run, **AFTER)
        await run.says(LT, "UpToDate", "ReplacementFailed")
        assert "no such image" in run.message(LT, "UpToDate")
        assert await settled(run) is old

    tell(tmp_path, story)


# --- it does not go well -----------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-14")
def test_a_machine_that_can_not_be_reached_is_given_up(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        await profile(run, **AFTER)
        new = await begun(run)
        new.reachable = False
        assert await run.ends(await run.task("two")) == "Succeeded"
        await pass_time(PATIENCE)
        await run.says(LT, "UpToDate", "ReplacementFailed")
        assert await settled(run) is old
        assert new.deleted

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
@pytest.mark.guarantee("G-32")
def test_a_machine_on_which_pi_does_not_start_gives_its_place_back(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        await profile(run, **AFTER)
        new = await begun(run)
        run.world.no_pi = lambda machine: machine is new
        await run.until(lambda: run.machine() is new, "they change places")
        await run.says(LT, "UpToDate", "ReplacementFailed")
        assert "no such library" in run.message(LT, "UpToDate")
        assert await settled(run) is old
        assert new.deleted
        assert has_everything(old)
        assert await run.ends(await run.task("two")) == "Succeeded"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
@pytest.mark.guarantee("G-32")
@pytest.mark.parametrize("how", ["dead", "gone", "mute"])
def test_a_machine_that_is_lost_before_pi_answers_gives_its_place_back(tmp_path: Path, how: str) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        await profile(run, **AFTER)
        new = await begun(run)

        async def lost(act: Callable[[], Awaitable[Any]]) -> Any:
            if how == "mute":
                new.reachable = False
            elif how == "dead":
                new.state = VmState.DEAD
            else:
                new.deleted = True
            run.weather.rules.clear()
            return await act()

        run.weather.rules["keeper.start_agent"] = lost
        await run.until(lambda: run.machine() is new, "they change places")
        await run.until(lambda: run.machine() is old, "the old one is back")
        assert await settled(run) is old
        assert has_everything(old)
        assert await run.ends(await run.task("two")) == "Succeeded"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("how", ["dead", "gone"])
def test_when_the_old_machine_goes_by_itself_the_other_one_takes_its_place(tmp_path: Path, how: str) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        await profile(run, **AFTER, verify=[{"name": "never", "command": ["slow"]}])
        run.world.commands = lambda command: CommandResult(1, "", "not yet", 0.1) if command.argv == ("slow",) else 0
        new = await begun(run)
        if how == "dead":
            old.state = VmState.DEAD
        else:
            old.deleted = True
        run.world.commands = lambda command: 0
        await run.until(lambda: run.machine() is new, "there is one already")
        assert await settled(run) is new
        assert run.world.created == 2
        assert b"remember this" in new.session
        assert run.condition(LT, "WorkspaceLost") == "True"

    tell(tmp_path, story)


# --- somebody changes his mind -----------------------------------------------------------------------------------------------------------


async def never_ready(run: Stage) -> tuple[Machine, Machine]:
    """The old machine works, the other one waits for something."""
    old = await worked(run)
    await profile(run, **AFTER)
    new = await begun(run)
    new.reachable = False
    await pass_time(5)
    return old, new


@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-14")
def test_a_deleted_lieutenant_takes_the_other_machine_with_it(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old, new = await never_ready(run)
        await run.delete(LT)
        await run.gone(LT)
        assert old.deleted
        assert new.deleted

    tell(tmp_path, story)


@pytest.mark.guarantee("G-08")
@pytest.mark.guarantee("G-14")
def test_a_suspended_lieutenant_lets_the_other_machine_go(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old, new = await never_ready(run)
        await run.lieutenant(profileRef={"name": "own"}, update=RECREATE, mode="Suspended")
        await run.until(lambda: old.state is VmState.SUSPENDED and new.deleted, "one machine, asleep")
        await run.says(LT, "Ready", "Suspended")
        await run.lieutenant(profileRef={"name": "own"}, update=RECREATE)
        await run.until(lambda: old.deleted, "awake it is replaced")
        assert has_everything(await settled(run))

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
@pytest.mark.parametrize("change", ["back", "again", "OnDelete"])
def test_the_other_machine_goes_when_it_is_not_wanted_any_more(tmp_path: Path, change: str) -> None:
    async def story(run: Stage) -> None:
        old, new = await never_ready(run)
        if change == "OnDelete":
            await run.lieutenant(profileRef={"name": "own"})
        else:
            await profile(run, **(BEFORE if change == "back" else {"steps": [{"name": "tools", "run": "three"}]}))
        await run.until(lambda: new.deleted, "it goes")
        if change == "again":
            await run.until(lambda: old.deleted, "what is wanted now is made")
        assert has_everything(await settled(run))
        assert run.condition(LT, "UpToDate") == ("False" if change == "OnDelete" else "True")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-01")
def test_a_lieutenant_that_is_only_observed_leaves_both_machines_as_they_are(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old, new = await never_ready(run)
        await run.lieutenant(profileRef={"name": "own"}, update=RECREATE, managementPolicy="ObserveOnly")
        await pass_time(60)
        await run.delete(LT)
        await run.gone(LT)
        assert not old.deleted
        assert not new.deleted

    tell(tmp_path, story)


@pytest.mark.guarantee("G-41")
@pytest.mark.guarantee("G-14")
def test_a_plan_tells_every_step_of_a_replacement_in_order_and_what_is_kept(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await worked(run)
        await pass_time(20)
        await run.engine.stop()
        await run.engine.declarations.apply(declared(PROFILE, source={"image": "default"}, **AFTER))
        steps = (await plan_everything(run.engine)).steps
        verbs = [step.action.verb for step in steps]
        told = [
            "BeginReplacement",
            "Create",
            "RunStep",
            "RestAgent",
            "CarryOver",
            "StartAgent",
            "ConfirmReplacement",
            "Delete",
            "ClearSlot",
        ]
        assert [verb for verb in verbs if verb in told] == told
        assert "carries the conversation and the workspace /root/workspace over" in steps[0].action.because
        assert f"deletes VM {old.vm_id} when pi answers there" in steps[0].action.because
        assert steps[verbs.index("Delete")].action.target == old.vm_id

    tell(tmp_path, story)
