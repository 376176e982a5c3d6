"""The platform fails, lags and forgets: nothing is lost, nothing is made twice, nothing is destroyed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import VmList, VmState
from reconciler.errors import (
    Conflict,
    DoubtfulRefusal,
    Forbidden,
    Indeterminate,
    NoRoom,
    RateLimited,
    ReconcilerError,
    TimedOut,
    Unreachable,
)
from tests.engine.stage import LT, MUTATIONS, SETTINGS, SETTLE, Rule, Stage, declared, failing, lagging, losing, pass_time, tell
from tests.world import FOREIGN, GOLDEN, Machine, World

COMMIT = "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c11"

OUTAGES: dict[str, Callable[[], ReconcilerError]] = {
    "500": lambda: Unreachable("500 Internal Server Error", "GET /vms"),
    "403": lambda: Forbidden("403 Forbidden", "GET /vms"),
    "timeouts": lambda: TimedOut("no answer within 30 s", "GET /vms"),
}


@pytest.mark.guarantee("G-03")
@pytest.mark.guarantee("G-04")
@pytest.mark.parametrize("kind", OUTAGES)
def test_an_hour_of_outage_at_the_start_loses_nothing_and_changes_nothing(kind: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        other = await run.lieutenant("web")
        await run.ready(LT)
        await run.ready(other)
        ids = [run.record(key).slot.vm_id for key in (LT, other)]
        await run.controller.down()
        run.weather.rules["vers."] = failing(OUTAGES[kind])
        before = len(run.weather.names)
        await run.alive()
        await run.says(LT, "Ready", "VMUnknown")
        assert run.condition(LT, "Ready") == "Unknown"
        await pass_time(3600)
        assert [run.record(key).slot.vm_id for key in (LT, other)] == ids
        assert [name for name in run.weather.names[before:] if name in MUTATIONS] == []
        assert run.condition(LT, "VMReady") == "Unknown"
        del run.weather.rules["vers."]
        await run.ready(LT)
        await run.ready(other)
        assert [run.record(key).slot.vm_id for key in (LT, other)] == ids

    run = tell(tmp_path, story)
    assert run.world.created == 2
    assert run.world.deletes == []


@pytest.mark.guarantee("G-04")
def test_a_deletion_asked_for_in_an_outage_waits_and_then_happens(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        run.weather.rules["vers."] = failing(OUTAGES["500"])
        await run.delete(LT)
        await pass_time(600)
        assert run.engine.table.get(LT) is not None
        assert run.world.deletes == []
        del run.weather.rules["vers."]
        await run.gone(LT)
        assert run.world.alive() == []

    tell(tmp_path, story)


@pytest.mark.guarantee("G-03")
def test_when_the_fleet_vanishes_nothing_is_forgotten_until_a_person_says_so(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        keys = [await run.lieutenant(f"a{n}") for n in range(4)]
        for key in keys:
            await run.ready(key)
        for machine in run.world.alive():
            machine.deleted = True
        await run.says(keys[0], "Ready", "FleetVanished")
        await pass_time(1800)
        assert all(run.record(key).slot.vm_id for key in keys)
        assert run.world.created == 4
        assert run.condition(keys[0], "Stalled") == "True"
        await run.engine.declarations.annotate(keys[0], {"fleet.vers.sh/retry": "yes"})
        for key in keys:
            await run.ready(key)
        assert run.world.created == 8

    tell(tmp_path, story)


@pytest.mark.guarantee("G-03")
def test_one_vm_that_is_gone_is_replaced_after_proof_and_not_before(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        at = run.world.now()
        machine.deleted = True
        await run.until(lambda: run.record().slot.vm_id != machine.vm_id, "it is forgotten")
        assert run.world.now() - at >= SETTLE
        await run.ready()
        assert run.happened("VMGone") == 1

    assert tell(tmp_path, story).world.created == 2


@pytest.mark.guarantee("G-03")
def test_a_vm_missing_from_lists_alone_is_kept(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        run.world.hide_from_lists.add(machine.vm_id)
        await pass_time(900)
        assert run.record().slot.vm_id == machine.vm_id
        run.world.hide_from_lists.clear()
        await run.ready()

    run = tell(tmp_path, story)
    assert run.world.created == 1
    assert run.world.deletes == []


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-03")
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_lists_that_lag_behind_destroy_nothing_and_make_one_vm(depth: int, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.weather.rules["vers.list_vms"] = lagging(depth)
        await run.lieutenant()
        task = await run.task("one")
        assert await run.ends(task) == "Succeeded"
        await run.lieutenant(mode="Suspended")
        await run.until(lambda: run.condition(LT, "Suspended") == "True" and run.condition(LT, "Ready") == "True", "it sleeps")
        await run.lieutenant()
        await run.ready()
        await pass_time(300)
        assert run.world.created == 1
        assert run.world.deletes == []
        await run.delete(LT)
        await run.gone(LT)

    run = tell(tmp_path, story)
    assert run.world.created == 1
    assert run.world.alive() == []


def hide_what_is_made(run: Stage) -> None:
    """Lists do not show new VMs until `hide_from_lists` is cleared."""
    make = run.world.make

    def hidden(*args: object, **more: object) -> object:
        machine = make(*args, **more)  # type: ignore[arg-type]
        run.world.hide_from_lists.add(machine.vm_id)
        return machine

    run.world.make = hidden  # type: ignore[method-assign, assignment]


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("answered", [True, False])
def test_own_creates_that_lists_do_not_show_yet_are_not_made_again(answered: bool, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        hide_what_is_made(run)
        if not answered:
            run.weather.rules["vers.create_vm"] = losing(lambda: Indeterminate("connection reset"))
        await run.lieutenant()
        await run.until(lambda: run.world.created == 1, "a VM is made")
        await pass_time(SETTLE - 5)
        run.world.hide_from_lists.clear()
        await run.ready()

    assert tell(tmp_path, story).world.created == 1


@pytest.mark.guarantee("G-02")
def test_a_create_whose_answer_is_lost_is_adopted_by_its_birth_label(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.weather.rules["vers.create_vm"] = losing(lambda: Indeterminate("connection reset", "POST /vm/new_root"))
        await run.lieutenant()
        await run.ready()
        assert run.happened("AdoptedVM") == 1

    assert tell(tmp_path, story).world.created == 1


@pytest.mark.guarantee("G-02")
def test_a_create_that_never_happened_is_given_up_and_made_again_once(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.weather.rules["vers.create_vm"] = failing(lambda: Indeterminate("connection reset"), times=1)
        await run.lieutenant()
        await run.says(LT, "Ready", "CreateIndeterminate")
        at = run.world.now()
        await run.ready()
        assert run.world.now() - at >= SETTLE - 5
        assert run.happened("CreateLost") == 1

    assert tell(tmp_path, story).world.created == 1


def lost_and_then(run: Stage, then: Callable[[], None]) -> None:
    """The next create takes effect, its answer is lost, and this happens before anybody can look."""

    async def rule(act: Callable[[], Awaitable[object]]) -> object:
        await act()
        del run.weather.rules["vers.create_vm"]
        then()
        raise Indeterminate("connection reset")

    run.weather.rules["vers.create_vm"] = rule


def wrong_once(wrong: Callable[[VmList], VmList], after: float, now: Callable[[], float]) -> Rule:
    """Lists fail until `after`, then one is wrong, and from there on they are right."""
    told: list[VmList] = []

    async def rule(act: Callable[[], Awaitable[VmList]]) -> VmList:
        if now() < after:
            raise Unreachable("503 Service unavailable")
        right = await act()
        told.append(right)
        return wrong(right) if len(told) == 1 else right

    return rule


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("others", [0, 5])
def test_one_empty_list_after_the_window_gives_up_no_create(others: int, tmp_path: Path) -> None:
    """The create took effect, its answer was lost, no list could be read until the window was over, and the first one is empty."""

    async def story(run: Stage) -> None:
        keys = [await run.lieutenant(f"a{n}") for n in range(others)]
        for key in keys:
            await run.ready(key)

        def then() -> None:
            run.weather.rules["vers.list_vms"] = wrong_once(
                lambda right: replace(right, vms={}), run.world.now() + SETTLE + 5, run.world.now
            )

        lost_and_then(run, then)
        await run.lieutenant()
        await run.until(lambda: run.world.created == others + 1, "it is made")
        await pass_time(SETTLE + 20)
        await run.ready()
        assert run.happened("AdoptedVM") == 1

    run = tell(tmp_path, story)
    assert run.world.created == others + 1
    assert run.world.deletes == []


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-03")
def test_while_many_vms_are_missing_no_create_is_given_up_and_none_is_sent(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        keys = [await run.lieutenant(f"a{n}") for n in range(5)]
        for key in keys:
            await run.ready(key)
        lost_and_then(run, lambda: run.world.hide_from_lists.update(run.world.machines))
        await run.lieutenant()
        await run.says(keys[0], "Ready", "FleetVanished")
        new = await run.lieutenant("new")
        await pass_time(5 * SETTLE)
        assert run.reason(LT, "Ready") == run.reason(new, "Ready") == "FleetVanished"
        assert run.world.created == 6
        run.world.hide_from_lists.clear()
        await run.ready()
        await run.ready(new)
        assert run.happened("AdoptedVM") == 1

    run = tell(tmp_path, story)
    assert run.world.created == 7
    assert run.world.deletes == []


async def from_commit(run: Stage, *names: str) -> None:
    await run.declare(declared(Key("BootProfile", "default", "restored"), source={"commitId": COMMIT}))
    for name in names:
        await run.lieutenant(name, profileRef={"name": "restored"})


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
def test_a_restored_vm_whose_answer_is_lost_is_adopted_by_its_lineage(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.world.make({}, parent=COMMIT, owner=FOREIGN)
        elsewhere = run.world.make({}, parent="another-commit")
        later: list[Machine] = []

        async def lost(act: Callable[[], Awaitable[object]]) -> object:
            later.append(run.world.make({}, parent="another-commit"))
            await act()
            run.weather.rules.clear()
            raise Indeterminate("connection reset")

        run.weather.rules["vers.create_vm"] = lost
        await from_commit(run, "api")
        machine = await run.ready()
        assert machine.parent_commit == COMMIT
        assert elsewhere.labels == later[0].labels == {}

    assert tell(tmp_path, story).world.created == 3


@pytest.mark.guarantee("G-02")
def test_two_lost_creates_from_one_commit_each_find_a_vm_of_their_own(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.weather.rules["vers.create_vm"] = losing(lambda: Indeterminate("connection reset"), times=2)
        await from_commit(run, "api", "web")
        one = await run.ready()
        other = await run.ready(LT._replace(name="web"))
        assert one.vm_id != other.vm_id
        assert run.happened("AdoptedVM") == 2

    assert tell(tmp_path, story).world.created == 2


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize("whose", ["ours", "a stranger's"])
def test_a_create_answered_with_the_id_of_another_vm_takes_what_it_made(whose: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        stranger = run.world.make({"made-by": "hand"})
        other = await run.ready(await run.lieutenant("old"))
        wrong = other if whose == "ours" else stranger

        async def mistaken(act: Callable[[], Awaitable[object]]) -> object:
            del run.weather.rules["vers.create_vm"]
            await act()
            return wrong.vm_id

        run.weather.rules["vers.create_vm"] = mistaken
        await run.lieutenant()
        machine = await run.ready()
        assert machine.vm_id not in (other.vm_id, stranger.vm_id)
        assert stranger.labels == {"made-by": "hand"}

    assert tell(tmp_path, story).world.created == 3


@pytest.mark.guarantee("G-03")
def test_a_vm_that_was_answered_and_never_shows_is_given_up_by_proof(tmp_path: Path) -> None:
    """Also when it could not even be claimed."""

    async def story(run: Stage) -> None:
        async def ghost(act: Callable[[], Awaitable[object]]) -> object:
            del run.weather.rules["vers.create_vm"]
            return "00000000-0000-4000-8000-00000000dead"

        run.weather.rules["vers.create_vm"] = ghost
        await run.lieutenant()
        await run.ready()
        assert run.happened("VMGone") == 1

    assert tell(tmp_path, story).world.created == 1


@pytest.mark.guarantee("G-02")
def test_a_create_that_ends_in_doubt_after_minutes_has_the_whole_window_after_that(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        async def slow(act: Callable[[], Awaitable[object]]) -> object:
            del run.weather.rules["vers.create_vm"]
            await pass_time(10 * SETTLE)
            asyncio.get_running_loop().call_later(SETTLE - 5, lambda: asyncio.ensure_future(act()))
            raise Indeterminate("no answer within 300 s")

        run.weather.rules["vers.create_vm"] = slow
        await run.lieutenant()
        await run.ready()
        assert run.happened("AdoptedVM") == 1

    assert tell(tmp_path, story).world.created == 1


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("date", [0.0, 253_402_300_799.0, None])
def test_one_odd_date_header_hides_no_vm_that_a_create_made(date: float | None, tmp_path: Path) -> None:
    """Before the create, when the platform's time is noted."""

    async def story(run: Stage) -> None:
        await run.until(lambda: run.engine.fleet.latest is not None, "a first list")

        async def odd(act: Callable[[], Awaitable[VmList]]) -> VmList:
            return replace(await act(), server_time=date)

        run.weather.rules["vers.list_vms"] = odd
        await run.engine.fleet.list_since(run.world.now())
        lost_and_then(run, lambda: run.weather.rules.pop("vers.list_vms"))
        await from_commit(run, "api")
        await run.ready()
        assert run.happened("AdoptedVM") == 1

    assert tell(tmp_path, story).world.created == 1


@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize(
    "source",
    [{"commitId": COMMIT}, {"ref": "golden:latest"}],
    ids=["a commit", "a reference"],
)
def test_what_nobody_can_know_is_a_persons_to_say(source: dict[str, str], tmp_path: Path) -> None:
    """Where others start VMs from the same commit, none is taken for ours by its looks."""

    async def story(run: Stage) -> None:
        lost_and_then(run, lambda: None)
        await run.declare(declared(Key("BootProfile", "default", "restored"), source=source))
        await run.lieutenant(profileRef={"name": "restored"})
        await run.says(LT, "Stalled", "CreateAmbiguous")
        (machine,) = run.world.alive()
        assert machine.vm_id in run.message(LT, "Stalled")
        assert "reconciler resolve" in run.message(LT, "Stalled")
        await pass_time(5 * SETTLE)
        assert machine.labels == {}
        assert run.world.created == 1
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": f"vm={machine.vm_id}:a"})
        assert await run.ready() is machine

    tell(tmp_path, story, settings=replace(SETTINGS, dedicated_account=False))


@pytest.mark.guarantee("G-02")
def test_a_create_from_a_reference_whose_answer_was_lost_is_found_by_the_commit_that_it_was_for(tmp_path: Path) -> None:
    """Also when the tag points elsewhere meanwhile: the intent names the commit and not the tag."""

    async def story(run: Stage) -> None:
        lost_and_then(run, lambda: run.world.refs.update({"golden:latest": COMMIT}))
        await run.declare(declared(Key("BootProfile", "default", "restored"), source={"ref": "golden:latest"}))
        await run.lieutenant(profileRef={"name": "restored"})
        machine = await run.ready()
        assert machine.parent_commit == GOLDEN
        assert run.happened("AdoptedVM") == 1
        assert (run.status()["vm"]["ref"], run.status()["vm"]["commit"]) == ("golden:latest", GOLDEN)

    assert tell(tmp_path, story).world.created == 1


@pytest.mark.guarantee("G-06")
def test_a_platform_without_room_is_asked_seldom_and_everything_comes_back_by_itself(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        existing = await run.lieutenant("old")
        await run.ready(existing)
        run.weather.rules["vers.create_vm"] = failing(lambda: NoRoom("500 netlink: no free address"))
        before = run.weather.count("vers.create_vm")
        keys = [await run.lieutenant(f"n{n}") for n in range(5)]
        await pass_time(3600)
        assert run.weather.count("vers.create_vm") - before <= 11 + len(keys)
        assert all(run.reason(key, "Ready") in ("PlatformBlocked", "CreateIndeterminate") for key in keys)
        assert any("netlink" in run.message(key, "Ready") for key in keys)
        assert run.condition(existing, "Available") == "True"
        del run.weather.rules["vers.create_vm"]
        for key in keys:
            await run.ready(key)

    run = tell(tmp_path, story)
    assert run.world.created == 6
    assert run.world.deletes == []


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("error", [Unreachable, TimedOut, RateLimited, Conflict, DoubtfulRefusal, NoRoom, ReconcilerError])
def test_what_does_not_prove_a_refusal_leaves_a_create_open(error: type[ReconcilerError], tmp_path: Path) -> None:
    """The create took effect, and what came back is an error that says nothing about it."""

    async def story(run: Stage) -> None:
        run.weather.rules["vers.create_vm"] = losing(lambda: error("500 request time limit exceeded"))
        await run.lieutenant()
        await run.ready()
        assert run.happened("AdoptedVM") == 1

    assert tell(tmp_path, story).world.created == 1


REFUSALS: dict[str, Callable[[], DoubtfulRefusal]] = {
    "CreateFailed": lambda: DoubtfulRefusal("the platform says: commit not found", "POST /vm/from_commit"),
    "PlatformBlocked": lambda: NoRoom("the platform has no room: quota exceeded", "POST /vm/new_root"),
}


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("reason", REFUSALS)
def test_a_doubtful_refusal_is_told_at_once_and_tried_again_only_after_the_window(reason: str, tmp_path: Path) -> None:
    """Nothing was made this time: the object says so in the platform's words, also after a restart, and comes up when it may."""

    async def story(run: Stage) -> None:
        run.weather.rules["vers.create_vm"] = failing(REFUSALS[reason], times=1)
        began = run.world.now()
        await run.lieutenant()
        await run.says(LT, "Ready", reason)
        assert run.world.now() - began < 5.0
        words = REFUSALS[reason]().what
        assert words in run.message(LT, "Ready")
        assert run.condition(LT, "Ready") == "False"
        await run.controller.down()
        await run.alive()
        await run.says(LT, "Ready", reason)
        assert words in run.message(LT, "Ready")
        await pass_time(SETTLE / 2)
        assert run.weather.count("vers.create_vm") == 1
        await run.ready()
        assert run.happened("CreateLost") == 1

    assert tell(tmp_path, story).world.created == 1


@pytest.mark.guarantee("G-05")
def test_a_deletion_that_fails_goes_on_until_absence_is_proven(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        run.weather.rules["vers.delete_vm"] = failing(lambda: Unreachable("500 could not delete"), times=6)
        await run.delete(LT)
        await run.until(lambda: "could not delete" in run.message(LT, "Ready"), "the cause is told")
        assert machine.vm_id in run.message(LT, "Ready")
        assert run.record().slot.marked_for_deletion
        await run.gone(LT)
        assert machine.deleted
        assert run.weather.count("vers.delete_vm") == 7

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_an_accepted_deletion_that_deletes_nothing_keeps_the_object(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()

        async def accepted(act: object) -> None:
            return None

        run.weather.rules["vers.delete_vm"] = accepted
        await run.delete(LT)
        await pass_time(1800)
        assert run.engine.table.get(LT) is not None
        assert run.record().slot.vm_id == machine.vm_id
        del run.weather.rules["vers.delete_vm"]
        await run.gone(LT)
        assert machine.deleted

    tell(tmp_path, story)


@pytest.mark.guarantee("G-07")
def test_a_vm_claimed_by_another_installation_is_left_alone(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        machine.labels["fleet.vers.sh/installation"] = "installation-2"
        labels = dict(machine.labels)
        await run.says(LT, "Ready", "ClaimConflict")
        await run.delete(LT)
        await pass_time(300)
        assert not machine.deleted
        assert machine.state is VmState.RUNNING
        assert machine.labels == labels

    tell(tmp_path, story, World())


@pytest.mark.guarantee("G-06")
def test_restarts_of_the_controller_do_not_probe_anew(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        run.weather.rules["vers.create_vm"] = failing(lambda: NoRoom("500 netlink: no free address"))
        await run.lieutenant()
        for _ in range(30):
            await pass_time(120)
            await run.controller.down()
            await run.alive()
        assert 1 <= run.weather.count("vers.create_vm") <= 12
        del run.weather.rules["vers.create_vm"]
        await run.ready()

    tell(tmp_path, story)
