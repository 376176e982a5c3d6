"""Machines on their bad days: full, without names, slow, or not to be reached. Told with a reason that says what to do, waited for, and
got over by themselves; nothing is lost and nothing is made twice (G-04, G-24, G-60)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.api.reasons import NOTHING, Reason
from reconciler.core.keys import boot_profile
from reconciler.core.lasterror import last_error_of
from reconciler.core.snapshot.machine import CommandResult
from reconciler.core.snapshot.vm import VmState
from reconciler.errors import GuestFailed, GuestUnreachable, ReconcilerError, Unreachable
from tests.conformance.kstatus import conditions_of
from tests.engine.stage import LT, Stage, declared, failing, pass_time, tell
from tests.engine.test_profiles import PROFILE, Vault

SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}


def full() -> ReconcilerError:
    """As the keeper tells it."""
    return GuestFailed("ENOSPC: no space left on device, write [System]", "vm")


def nameless() -> ReconcilerError:
    """As a fetching npm tells it."""
    tail = "npm error code EAI_AGAIN\nnpm error request failed, reason: getaddrinfo EAI_AGAIN registry.example"
    return GuestFailed("installing pi failed with exit code 1", "vm", tail, 1, tail)


def other() -> ReconcilerError:
    return GuestFailed("starting the keeper failed with exit code 126", "vm", "node: Permission denied", 126, "node: Permission denied")


DAYS: dict[str, tuple[str, Callable[[], ReconcilerError], str]] = {
    "no room for its claim": ("guest.write_claim", full, "DiskFull"),
    "no room for its programs": ("guest.install", full, "DiskFull"),
    "no room for its files": ("keeper.write_files", full, "DiskFull"),
    "no room for a mark": ("keeper.mark", full, "DiskFull"),
    "no names": ("guest.install", nameless, "NoNameService"),
    "a keeper that can't run": ("guest.start_keeper", other, "GuestFailed"),
}


@pytest.mark.guarantee("G-24")
@pytest.mark.parametrize("day", DAYS)
def test_what_fails_on_a_machine_is_told_with_a_reason_and_got_over(day: str, tmp_path: Path) -> None:
    effect, error, reason = DAYS[day]

    async def story(run: Stage) -> None:
        run.weather.rules[effect] = failing(error)
        checks = [{"name": name, "command": ["true"]} for name in ("first", "last")]  # the last mark is written with that of the whole
        await run.declare(declared(boot_profile("default", "checked"), extends={"name": "lightweight"}, verify=checks))
        await run.lieutenant(profileRef={"name": "checked"})
        task = await run.task("one")
        await run.says(LT, "Ready", reason)
        assert run.reason(LT, "Reconciling") == reason, "it is tried again"
        assert error().what in run.message(LT, "Ready")
        before = run.weather.count(effect)
        await pass_time(600)
        assert 5 <= run.weather.count(effect) - before <= 30, "seldom, and for ever"
        assert run.happened(reason) == 1, "told once"
        assert run.task_record(task).phase == "Pending"
        run.weather.rules.clear()
        assert await run.ends(task) == "Succeeded"
        await run.ready()
        assert len(run.prompts("one")) == 1

    assert tell(tmp_path, story).world.created == 1
    assert Reason(reason).remedy != NOTHING


@pytest.mark.guarantee("G-32")
def test_a_full_new_machine_keeps_the_conversation_waiting_and_loses_nothing_of_it(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        assert await run.ends(await run.task("one", "remember 42")) == "Succeeded"
        said = machine.session
        run.weather.rules["keeper.write_files"] = failing(full)
        machine.state = VmState.DEAD
        await run.until(lambda: run.record().slot.vm_id not in ("", machine.vm_id), "another machine")
        await run.says(LT, "Ready", "DiskFull")
        await pass_time(300)
        assert run.machine().pi is None, "never started without its conversation"
        run.weather.rules.clear()
        new = await run.ready()
        assert new.session.startswith(said)
        assert len(run.prompts("one")) == 1

    assert tell(tmp_path, story).world.created == 2


@pytest.mark.guarantee("G-26")
def test_an_agent_whose_output_has_no_room_says_so(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        machine.output_blocked = True
        await run.says(LT, "AgentReachable", "OutputBlocked")
        machine.output_blocked = False
        await run.says(LT, "AgentReachable", "Answering")

    tell(tmp_path, story)


def test_a_step_on_a_full_machine_fails_with_its_own_words_and_succeeds_when_asked_again(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.commands = lambda said: CommandResult(1, "", "tar: No space left on device", 1.0)
        await run.declare(declared(PROFILE, source={"image": "default"}, steps=[{"name": "deps", "run": "make deps"}]))
        await run.lieutenant(profileRef={"name": "own"})
        await run.says(LT, "Stalled", "BootFailed")
        assert "No space left on device" in run.message(LT, "Stalled")
        run.world.commands = lambda said: 0
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "1"})
        await run.ready()

    tell(tmp_path, story)


@pytest.mark.guarantee("G-60")
def test_what_a_machine_says_of_its_trouble_is_shown_without_secrets(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.weather.rules["keeper.start_agent"] = failing(lambda: GuestUnreachable("no answer, hidden-value", "vm"))
        run.weather.rules["guest.start_keeper"] = failing(lambda: GuestFailed("it said hidden-value", "vm"), times=3)
        await run.lieutenant(env=[{"name": "TOKEN", "valueFrom": SECRET}])
        await run.says(LT, "Ready", "GuestFailed")
        await run.until(lambda: "no answer" in run.message(LT, "Ready"), "the next trouble is told")
        shown = str([run.controller.statuses, [event.message for event in run.controller.told]])
        assert "it said [redacted]" in shown
        assert "hidden-value" not in shown

    tell(tmp_path, story, secrets=Vault(s_k="hidden-value"))


@pytest.mark.guarantee("G-20")
@pytest.mark.guarantee("G-65")
def test_a_slow_machine_gets_its_work_done_once_and_keeps_no_other_waiting(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        quick = await run.lieutenant("quick")
        await run.ready(quick)
        await run.lieutenant()
        await run.until(lambda: bool(run.record().slot.vm_id), "it has a machine")
        run.machine().delay = 20.0
        task, at = await run.task("one"), run.world.now()
        assert await run.ends(await run.task("two", to="quick")) == "Succeeded"
        assert run.world.now() - at < 30
        assert await run.ends(task) == "Succeeded"
        assert len(run.prompts("one")) == 1
        assert run.record(quick).restart.times == run.record().restart.times == ()

    assert tell(tmp_path, story).world.created == 2


@pytest.mark.guarantee("G-04")
def test_a_new_machine_that_nobody_can_reach_is_told_and_kept_and_used_once_it_answers(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        task = await run.task("one")
        await run.until(lambda: bool(run.record().slot.vm_id), "it has a machine")
        run.machine().reachable = False
        await run.says(LT, "AgentReachable", "GuestUnreachable")
        since = conditions_of(run.status())["AgentReachable"]["lastTransitionTime"]
        await pass_time(1800)
        assert run.condition(LT, "Ready") in ("False", "Unknown")
        assert run.status()["phase"] == "Starting"
        assert "no answer" in run.message(LT, "Ready")
        assert conditions_of(run.status())["AgentReachable"]["lastTransitionTime"] == since, "since when it is waited for"
        assert run.condition(LT, "VMReady") == "True"
        run.machine().reachable = True
        assert await run.ends(task) == "Succeeded"

    run = tell(tmp_path, story)
    assert (run.world.created, run.world.deletes) == (1, [])


def phases(run: Stage, since: int) -> list[tuple[str, str]]:
    """Each phase with the reason of Ready, as written one after another, without what was written again."""
    told = [(str(status["phase"]), str(conditions_of(status)["Ready"]["reason"])) for status in run.controller.statuses[since:]]
    return [one for one, before in zip(told, [("", ""), *told], strict=False) if one != before]


@pytest.mark.guarantee("G-04")
@pytest.mark.guarantee("G-24")
@pytest.mark.parametrize("restarted", [False, True], ids=["by a controller that saw it ready", "by one that starts"])
def test_a_machine_that_was_ready_and_does_not_answer_is_unreachable_from_the_first_look(restarted: bool, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        if restarted:
            await run.controller.down()
        told = len(run.controller.statuses)
        machine.reachable = False
        if restarted:
            await run.alive()
        await run.says(LT, "Ready", "GuestUnreachable")
        await pass_time(600)
        assert phases(run, told) == [("Unreachable", "GuestUnreachable")]
        machine.reachable = True
        await run.ready()
        assert run.status()["phase"] == "Idle"

    run = tell(tmp_path, story)
    assert (run.world.created, run.world.deletes) == (1, [])


@pytest.mark.guarantee("G-04")
def test_a_machine_that_is_unreachable_through_an_outage_of_the_platform_stays_told_as_that(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        run.weather.rules["vers."] = failing(lambda: Unreachable("503", "GET /vms"))
        await run.says(LT, "Ready", "VMUnknown")
        machine.reachable = False
        told = len(run.controller.statuses)
        del run.weather.rules["vers."]
        await run.says(LT, "Ready", "GuestUnreachable")
        await pass_time(60)
        assert phases(run, told) == [("Unreachable", "GuestUnreachable")]
        machine.reachable = True
        await run.ready()

    tell(tmp_path, story)


@pytest.mark.guarantee("G-08")
def test_a_machine_that_was_resumed_and_does_not_answer_yet_is_starting(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(mode="Suspended")
        await run.until(lambda: run.status().get("phase") == "Suspended", "it is suspended")
        await run.lieutenant()
        machine = await run.ready()
        await run.lieutenant(mode="Suspended")
        await run.says(LT, "Suspended", "VMSuspended")
        machine.reachable = False
        told = len(run.controller.statuses)
        await run.lieutenant()
        await run.says(LT, "Ready", "GuestUnreachable")
        await pass_time(60)
        assert {phase for phase, _ in phases(run, told)} <= {"Suspended", "Starting"}
        machine.reachable = True
        await run.ready()

    tell(tmp_path, story)


def test_a_cause_is_named_where_it_is_known() -> None:
    assert [last_error_of(error()).reason for error in (full, nameless, other)] == ["DiskFull", "NoNameService", "GuestFailed"]
    apt = "W: Failed to fetch http://deb.example/InRelease  Temporary failure resolving 'deb.example'"
    assert last_error_of(GuestFailed("installing", "vm", apt, 100, apt)).reason == "NoNameService"
    assert last_error_of(GuestUnreachable("ENOSPC", "vm")).reason == "", "who can't be reached has said nothing"
