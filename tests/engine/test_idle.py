"""An agent without work is suspended and woken, in virtual time; a task that arrives on the way is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.decisions import Retire
from reconciler.core.plan import Step
from reconciler.core.snapshot.vm import VmState
from reconciler.core.snapshot.workset import WorkSet
from reconciler.engine.kinds.lieutenant import LieutenantKind
from reconciler.errors import GuestUnreachable, Transient
from tests.engine.stage import LT, Stage, declared, losing, pass_time, tell
from tests.world import World


async def asleep(s: Stage, **idle: object) -> None:
    await s.lieutenant(idle={"suspendAfterSeconds": 120, **idle})
    await s.ready()
    assert await s.ends(await s.task("one")) == "Succeeded"
    await s.says(LT, "Suspended", "VMSuspended")


def test_it_is_suspended_without_work_and_a_task_wakes_it(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(idle={"suspendAfterSeconds": 120})
        await s.ready()
        assert await s.ends(await s.task("one")) == "Succeeded"
        at, pi = s.world.now(), s.machine().pi
        await pass_time(60)
        assert s.reason(LT, "Suspended") == "VMNotSuspended"
        await s.says(LT, "Suspended", "VMSuspended")
        assert s.world.now() - at == pytest.approx(120, abs=15)
        assert s.status()["rest"]["reason"] == "Idle"
        await s.says(LT, "Ready", "Suspended")
        await pass_time(1000)
        assert await s.ends(await s.task("two")) == "Succeeded"
        assert s.machine().pi is pi
        await s.until(lambda: "wakeSeconds" in s.status()["rest"], "how long it took is known")
        assert 0 < float(s.status()["rest"]["wakeSeconds"]) < 30
        assert s.happened("Resting") == 1
        assert s.happened("Woken") == 1

    tell(tmp_path, story)


def test_it_sleeps_on_where_tasks_do_not_wake_it_until_a_person_does(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await asleep(s, wakeOnTask=False)
        two = await s.task("two")
        await s.says(two, "Ready", "LieutenantSuspended")
        await pass_time(500)
        await s.engine.declarations.annotate(LT, {"fleet.vers.sh/wake": "now"})
        assert await s.ends(two) == "Succeeded"

    tell(tmp_path, story)


def test_a_restart_of_the_controller_changes_nothing(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await asleep(s)
        await s.controller.down()
        await s.controller.up()
        await pass_time(200)
        assert s.status()["rest"]["reason"] == "Idle"
        assert s.weather.count("vers.resume_vm") == 0
        assert await s.ends(await s.task("two")) == "Succeeded"

    tell(tmp_path, story)


@pytest.mark.parametrize("after", [0.0, 0.01, 0.03, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("lost", [False, True])
def test_a_task_that_arrives_while_it_is_being_suspended_wakes_it(after: float, lost: bool, tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        if lost:
            s.weather.rules["vers.suspend_vm"] = losing(lambda: Transient("the answer is lost"))
        await s.lieutenant(idle={"suspendAfterSeconds": 120})
        await s.ready()
        assert await s.ends(await s.task("one")) == "Succeeded"
        await s.until(lambda: s.happened("Resting") == 1, "it is about to be suspended")
        await pass_time(after)
        two = await s.task("two")
        assert await s.ends(two) == "Succeeded"
        assert len(s.prompts("two")) == 1

    tell(tmp_path, story)


def test_after_a_suspension_without_an_answer_it_is_not_looked_for_inside_before_the_platform_said_how_it_is(tmp_path: Path) -> None:
    """A machine that sleeps keeps who asks it waiting until the time for that is over, and what came meanwhile with it."""

    async def story(s: Stage) -> None:
        async def asked(act: Callable[[], Awaitable[object]]) -> object:
            if s.machine().state is VmState.SUSPENDED:
                await asyncio.sleep(30)
                raise GuestUnreachable("no answer", "the machine")
            return await act()

        s.weather.rules.update({"vers.suspend_vm": losing(lambda: Transient("the answer is lost")), "guest.": asked, "keeper.": asked})
        await s.lieutenant(idle={"suspendAfterSeconds": 120})
        await s.ready()
        assert await s.ends(await s.task("one")) == "Succeeded"
        await s.until(lambda: s.machine().state is VmState.SUSPENDED, "it sleeps, and nobody was told so")
        at, two = s.world.now(), await s.task("two")
        assert await s.ends(two) == "Succeeded"
        assert s.world.now() - at < 20

    tell(tmp_path, story)


@pytest.mark.parametrize("becomes", ["StayIdle", "Suspend", "Delete"])
def test_what_becomes_of_a_worker_whose_tasks_are_done(becomes: str, tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(idle={"postTask": becomes})
        await s.ready()
        one, two = await s.task("one"), await s.task("two")
        assert await s.ends(one) == "Succeeded"
        assert await s.ends(two) == "Succeeded"
        if becomes == "Suspend":
            await s.says(LT, "Suspended", "VMSuspended")
            assert await s.ends(await s.task("three")) == "Succeeded"
        elif becomes == "Delete":
            await s.gone(LT)
            assert all(machine.deleted for machine in s.world.machines.values() if machine.owner == s.world.key)
        else:
            await pass_time(1000)
            assert s.reason(LT, "Suspended") == "VMNotSuspended"

    tell(tmp_path, story)


def test_a_worker_that_was_to_be_deleted_does_what_came_meanwhile_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    act, came = LieutenantKind.act, []

    async def story(s: Stage) -> None:
        async def late(kind: LieutenantKind, snapshot: WorkSet, step: Step) -> object:
            if isinstance(step.action, Retire) and not came:
                came.append(await s.task("two"))
            return await act(kind, snapshot, step)

        monkeypatch.setattr(LieutenantKind, "act", late)
        await s.lieutenant(idle={"postTask": "Delete"})
        await s.ready()
        await s.task("one")
        await s.until(lambda: bool(came), "it is planned that it goes")
        assert await s.ends(came[0]) == "Succeeded"
        await s.gone(LT)

    tell(tmp_path, story)


def test_a_protected_worker_is_suspended_instead_of_deleted(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        spec = {"role": "x", "profileRef": {"name": "lightweight"}, "idle": {"postTask": "Delete"}}
        told = replace(declared(LT, **spec), annotations={"fleet.vers.sh/deletion-protection": "enabled"})
        await s.declare(told)
        await s.ready()
        assert await s.ends(await s.task("one")) == "Succeeded"
        await s.says(LT, "Suspended", "VMSuspended")

    tell(tmp_path, story, World())
