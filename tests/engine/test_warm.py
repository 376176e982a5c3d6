"""A baked profile keeps machines ready, suspended; the next lieutenants of the profile take them, and none is made for those."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.profile import bake, warm
from reconciler.core.slot import claims
from reconciler.core.snapshot.machine import CommandResult, CommitSource
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.planning import plan_everything
from reconciler.engine.state.objects import LieutenantItem
from reconciler.errors import NoRoom
from tests.engine.stage import LT, SETTINGS, Stage, failing, pass_time, tell
from tests.engine.test_bake import BAKED, SECRET, of_bake
from tests.engine.test_lost_store import lose_the_store
from tests.engine.test_profiles import PROFILE, Vault, made, profile
from tests.world import Machine

OTHER = Key("Lieutenant", "default", "other")


def keeping(count: int, **more: object) -> dict[str, object]:
    return {**BAKED, "bake": {"enabled": True, "warm": count}, **more}


def kept(s: Stage) -> list[LieutenantItem]:
    """The objects of machines that are kept ready, or are to be."""
    found = [s.engine.table.lieutenant(key) for key in s.engine.table.all_keys() if warm.serial_of(key)]
    return sorted((item for item in found if item is not None), key=lambda item: warm.serial_of(item.key))


def at_rest(s: Stage) -> list[Machine]:
    return [s.world.machines[item.record.slot.vm_id] for item in kept(s) if item.record.slot.vm_id]


async def are_ready(s: Stage, count: int) -> list[Machine]:
    """Until so many rest; their machines."""

    def told() -> tuple[object, object, int]:
        return of_bake(s).get("warm", 0), of_bake(s).get("warming", 0), len(kept(s))

    await s.until(lambda: told() == (count, 0, count), f"{count} are kept ready")
    machines = at_rest(s)
    assert len(machines) == count
    assert all(machine.state is VmState.SUSPENDED for machine in machines)
    return machines


async def another(s: Stage, name: str = "other", **spec: object) -> Key:
    return await s.lieutenant(name, profileRef={"name": PROFILE.name}, **spec)


@pytest.mark.guarantee("G-02")
def test_the_next_lieutenant_takes_one_and_it_is_made_up_for(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        ran: list[tuple[str, ...]] = []
        s.world.commands = lambda command: ran.append(tuple(command.argv)) or 0  # type: ignore[func-returns-value]
        await made(s, keeping(1))
        (spare,) = await are_ready(s, 1)
        assert isinstance(spare.source, CommitSource)
        ran.clear()
        created = s.world.created
        await another(s)
        assert await s.ready(OTHER) is spare
        assert ran == [], "it was prepared and verified before, and is the same machine"
        assert s.happened("TookWarmMachine") == 1
        assert spare.labels[claims.UID] == s.engine.table.lieutenant(OTHER).uid  # type: ignore[union-attr]
        assert await s.ends(await s.task("one", to="other")) == "Succeeded"
        (fresh,) = await are_ready(s, 1)
        assert fresh is not spare
        assert s.world.created == created + 1
        assert len(s.world.alive()) == 3

    tell(tmp_path, story)


def test_they_are_made_one_at_a_time_and_each_gives_one_lieutenant_its_machine(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        most = [0]

        async def counted(act: Callable[[], Awaitable[object]]) -> object:
            most[0] = max(most[0], sum(1 for item in kept(s) if not item.record.slot.vm_id or not item.obj.status.get("vm")))
            return await act()

        await made(s, BAKED)
        await s.until(lambda: of_bake(s).get("state") == "Baked", "it is baked")
        s.weather.rules["vers.create_vm"] = counted
        await profile(s, **keeping(3))
        spares = await are_ready(s, 3)
        assert most == [1]
        names = [f"lt-{n}" for n in range(4)]
        for name in names:
            await another(s, name)
        machines = [await s.ready(Key("Lieutenant", "default", name)) for name in names]
        assert len({machine.vm_id for machine in machines}) == 4
        assert sum(machine in spares for machine in machines) == 3
        await are_ready(s, 3)
        assert len(s.world.alive()) == 1 + 4 + 3

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
@pytest.mark.parametrize("how", ["lowered", "unbaked", "deleted", "changed"])
def test_what_is_not_declared_any_more_goes(tmp_path: Path, how: str) -> None:
    async def story(s: Stage) -> None:
        await made(s, keeping(2))
        before = await are_ready(s, 2)
        match how:
            case "lowered":
                await profile(s, **keeping(1))
                assert await are_ready(s, 1) == [before[0]], "the newest one goes"
                alive = 2
            case "unbaked":
                await profile(s, **{**BAKED, "bake": {"enabled": False}})
                await s.until(lambda: len(s.world.alive()) == 1, "both are gone")
                alive = 1
            case "deleted":
                await s.delete(PROFILE)
                await s.controller.down()
                await s.controller.up()
                await s.until(lambda: len(s.world.alive()) == 1, "both are gone")
                alive = 1
            case _:
                await profile(s, **keeping(2, steps=[{"name": "tools", "run": "two"}]))
                await s.until(lambda: all(machine.deleted for machine in before), "the old ones are gone")
                fresh = await are_ready(s, 2)
                assert all(one not in before for one in fresh)
                alive = 3
        await pass_time(120)
        assert len(s.world.alive()) == alive
        assert len(kept(s)) == alive - 1

    tell(tmp_path, story)


def test_a_crash_at_any_time_gives_it_to_one_and_loses_none(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await made(s, keeping(1))
        await are_ready(s, 1)
        for name in ("b", "c"):
            await another(s, name)
            for _ in range(4):
                await s.controller.down()
                await s.controller.up()
        machines = {(await s.ready(Key("Lieutenant", "default", name))).vm_id for name in ("api", "b", "c")}
        await are_ready(s, 1)
        assert len(machines) == 3
        assert len(s.world.alive()) == 4

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
def test_a_lost_store_finds_them_by_their_claims_and_none_is_an_orphan(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await made(s, keeping(2))
        before = await are_ready(s, 2)
        await lose_the_store(s)
        await made(s, keeping(2))
        after = await are_ready(s, 2)
        assert after == before
        await pass_time(600)
        assert s.engine.orphans.found == {}
        assert len(s.world.alive()) == 3
        await another(s)
        assert await s.ready(OTHER) in before

    tell(tmp_path, story)


@pytest.mark.guarantee("G-09")
def test_with_the_last_room_of_the_fleet_none_is_made_and_one_gives_way(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await made(s, keeping(3))
        await s.until(lambda: of_bake(s).get("warm") == 2, "two are kept ready, for the limit is three")
        await pass_time(120)
        assert len(s.world.alive()) == 3
        await s.lieutenant("plain")
        machine = await s.ready(Key("Lieutenant", "default", "plain"))
        assert not isinstance(machine.source, CommitSource)
        await pass_time(120)
        assert len(s.world.alive()) == 3
        assert of_bake(s)["warm"] == 1
        await another(s)
        await s.ready(OTHER)
        await pass_time(120)
        assert len(s.world.alive()) == 3
        assert kept(s) == []

    tell(tmp_path, story, settings=replace(SETTINGS, max_vms=3))


def test_what_can_not_be_verified_is_told_once_and_no_more_are_made(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await made(s, BAKED)
        await s.until(lambda: of_bake(s).get("state") == "Baked", "it is baked")
        s.world.commands = lambda command: CommandResult(1, "", "no", 0.1) if command.argv == ("true",) else 0
        await profile(s, **keeping(2))
        await s.says(PROFILE, "Stalled", "BootFailed")
        assert "kept ready" in s.message(PROFILE, "Stalled")
        await s.until(lambda: len(s.world.alive()) == 1, "its machine is deleted")
        created = s.world.created
        await pass_time(600)
        assert s.world.created == created
        s.world.commands = lambda _: 0
        await profile(s, **keeping(2, steps=[{"name": "tools", "run": "two"}]))
        await are_ready(s, 2)

    tell(tmp_path, story)


def test_one_that_is_gone_behind_our_back_is_made_up_for(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await made(s, keeping(1))
        (spare,) = await are_ready(s, 1)
        spare.deleted = True
        await s.until(lambda: [machine.vm_id for machine in at_rest(s)] not in ([], [spare.vm_id]), "another one is made")
        await are_ready(s, 1)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-60")
def test_a_secret_that_changed_while_it_slept_is_on_it_when_the_agent_starts(tmp_path: Path) -> None:
    vault = Vault(s_word="sesame-open")

    async def story(s: Stage) -> None:
        await made(s, keeping(1, files=SECRET))
        (spare,) = await are_ready(s, 1)
        assert spare.files["/root/secret"] == b"sesame-open"
        vault.values["s_word"] = "sesame-shut"
        await another(s)
        assert await s.ready(OTHER) is spare
        assert spare.files["/root/secret"] == b"sesame-shut"

    tell(tmp_path, story, secrets=vault)


def test_a_breaker_that_holds_back_creates_holds_back_nobody_who_needs_none(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await made(s, keeping(1))
        (spare,) = await are_ready(s, 1)
        s.weather.rules["vers.create_vm"] = failing(lambda: NoRoom("500 netlink: no free address"))
        await s.lieutenant("plain")
        await s.says(Key("Lieutenant", "default", "plain"), "Ready", "PlatformBlocked")
        await another(s)
        assert await s.ready(OTHER) is spare

    tell(tmp_path, story)


def test_a_suspended_lieutenant_and_one_with_a_size_of_its_own_take_none(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await made(s, keeping(1))
        (spare,) = await are_ready(s, 1)
        await another(s, "asleep", mode="Suspended")
        await another(s, "large", resources={"vcpus": 4})
        machine = await s.ready(Key("Lieutenant", "default", "large"))
        assert machine is not spare
        assert at_rest(s) == [spare]

    tell(tmp_path, story)


def test_a_plan_says_who_takes_which_one(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await made(s, keeping(1))
        (spare,) = await are_ready(s, 1)
        await s.engine.stop()
        await another(s, "b")
        await another(s, "c")
        steps = (await plan_everything(s.engine)).steps
        of = {name: [step.action.verb for step in steps if step.key.name == name] for name in ("b", "c")}
        assert of["b"][:4] == ["TakeWarm", "LabelClaim", "Resume", "GuestClaim"]
        assert "StartAgent" in of["b"]
        assert "RunStep" not in of["b"]
        assert of["c"][0] == "Create"
        taken = next(step.action for step in steps if step.action.verb == "TakeWarm")
        assert taken.target == spare.vm_id

    tell(tmp_path, story)


def test_names_of_its_machines_are_nobody_elses() -> None:
    machine = warm.key_of(PROFILE, 7)
    assert (bake.profile_of(machine), warm.serial_of(machine), bake.is_oven(machine)) == (PROFILE, 7, False)
    oven = bake.machine_of(PROFILE)
    assert (bake.profile_of(oven), warm.serial_of(oven), bake.is_oven(oven)) == (PROFILE, 0, True)
    assert bake.profile_of(LT) is None
