"""What becomes of the VM when its object is deleted: deleted, snapshotted first, retained, let go of; protected and confirmed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import Commit, VmList, VmState
from reconciler.errors import GuestFailed, Indeterminate, NotSent, Refused, Rejected, Unreachable
from tests.engine.stage import LT, SETTLE, Stage, declared, failing, losing, pass_time, tell
from tests.world import FOREIGN

PROTECTED = {"fleet.vers.sh/deletion-protection": "enabled"}


async def protect(run: Stage) -> None:
    await run.engine.declarations.annotate(LT, PROTECTED)


def ours(labels: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name.startswith("fleet.vers.sh/") and value}


# --- snapshot ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-05")
def test_a_snapshot_is_taken_proven_and_told_before_the_vm_goes(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(deletionPolicy="Snapshot")
        machine = await run.ready()
        await run.runs(await run.task("one"))
        uid = run.engine.table.get(LT).uid  # type: ignore[union-attr]
        await run.delete(LT)
        await run.gone(LT)
        (commit,) = run.world.commits.values()
        assert commit.parent_vm_id == machine.vm_id
        assert commit.name.startswith("default.default.api.")
        told = [e.message for e in run.controller.told if e.reason == "TookSnapshot"]
        assert len(told) == 1
        assert commit.commit_id in told[0]
        left = json.loads(await run.engine.store.meta(f"tombstone/{uid}") or "{}")
        assert left["commitId"] == commit.commit_id
        assert left["name"] == "api"

    run = tell(tmp_path, story)
    assert run.world.alive() == []


@pytest.mark.guarantee("G-05")
def test_a_snapshot_that_fails_keeps_the_vm_until_a_person_helps(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(deletionPolicy="Snapshot")
        machine = await run.ready()
        run.weather.rules["vers.commit"] = failing(lambda: Rejected("no room for commits", machine.vm_id))
        await run.delete(LT)
        await run.says(LT, "Stalled", "SnapshotFailed")
        assert "no room" in run.message(LT, "Stalled")
        await pass_time(3600)
        assert not machine.deleted
        tries = run.weather.count("vers.commit")
        assert tries == 3
        del run.weather.rules["vers.commit"]
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "again"})
        await run.gone(LT)
        assert len(run.world.commits) == 1
        assert machine.deleted

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_an_outage_at_the_snapshot_is_waited_for_and_counts_as_no_failure(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(deletionPolicy="Snapshot")
        machine = await run.ready()
        run.weather.rules["vers.commit"] = failing(lambda: NotSent("connection refused"))
        await run.delete(LT)
        await pass_time(1800)
        assert not machine.deleted
        assert run.condition(LT, "Stalled") == ""
        del run.weather.rules["vers.commit"]
        await run.gone(LT)
        assert len(run.world.commits) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_a_snapshot_whose_answer_is_lost_is_found_by_its_name_and_not_taken_again(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(deletionPolicy="Snapshot")
        await run.ready()
        run.weather.rules["vers.commit"] = losing(lambda: Indeterminate("connection reset"))
        await run.delete(LT)
        await run.gone(LT)
        assert len(run.world.commits) == 1

    assert tell(tmp_path, story).happened("TookSnapshot") == 1


@pytest.mark.guarantee("G-05")
def test_a_snapshot_that_was_never_made_is_taken_again_after_the_window(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(deletionPolicy="Snapshot")
        await run.ready()
        run.weather.rules["vers.commit"] = failing(lambda: Indeterminate("connection reset"), times=1)
        at = run.world.now()
        await run.delete(LT)
        await run.gone(LT)
        assert run.world.now() - at >= SETTLE
        assert len(run.world.commits) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("verbs", [None, {"detached": "t"}], ids=["retained", "let go of"])
def test_a_vm_is_let_out_of_sight_only_when_its_labels_are_read_back(verbs: dict[str, str] | None, tmp_path: Path) -> None:
    """The platform says yes and does nothing, once."""

    async def story(run: Stage) -> None:
        await run.lieutenant(deletionPolicy="Retain")
        machine = await run.ready()

        async def nothing(act: Callable[[], Awaitable[object]]) -> None:
            del run.weather.rules["vers.set_labels"]

        run.weather.rules["vers.set_labels"] = nothing
        await run.retrying(lambda: run.engine.declarations.delete(LT, verbs=verbs))
        await run.gone(LT)
        assert not machine.deleted
        assert bool(machine.labels.get("fleet.vers.sh/retained")) is (verbs is None)
        assert bool(machine.labels.get("fleet.vers.sh/vm-id")) is (verbs is None)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_one_list_of_commits_without_it_proves_no_lost_snapshot(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(deletionPolicy="Snapshot")
        await run.ready()
        run.weather.rules["vers.commit"] = losing(lambda: Indeterminate("connection reset"))
        asked: list[float] = []

        async def empty_once(act: Callable[[], Awaitable[object]]) -> object:
            if run.world.now() < at + SETTLE + 5:
                raise Unreachable("503 Service unavailable")
            asked.append(run.world.now())
            return () if len(asked) == 1 else await act()

        at = run.world.now()
        run.weather.rules["vers.list_commits"] = empty_once
        await run.delete(LT)
        await run.gone(LT)
        assert len(asked) >= 2
        assert len(run.world.commits) == 1

    assert tell(tmp_path, story).happened("TookSnapshot") == 1


@pytest.mark.guarantee("G-05")
def test_a_commit_of_another_vm_is_no_snapshot_of_this_one(tmp_path: Path) -> None:
    """The platform answers a commit with the id of one that is there already, and is of something else."""

    async def story(run: Stage) -> None:
        elsewhere = run.world.make({}, owner=FOREIGN)
        other = Commit("00000000-0000-4000-9000-00000000ffff", "theirs", run.world.now(), elsewhere.vm_id)
        run.world.commits[other.commit_id] = other
        await run.lieutenant(deletionPolicy="Snapshot")
        machine = await run.ready()

        async def other_id(act: Callable[[], Awaitable[object]]) -> object:
            run.weather.rules.clear()
            await act()
            return other.commit_id

        run.weather.rules["vers.commit"] = other_id
        await run.delete(LT)
        await run.gone(LT)
        assert [c.commit_id for c in run.world.commits.values() if c.parent_vm_id == machine.vm_id]
        taken = [e.message for e in run.controller.told if e.reason == "TookSnapshot"]
        assert len(taken) == 1
        assert other.commit_id not in taken[0]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_a_commit_that_the_platform_does_not_list_is_no_snapshot(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(deletionPolicy="Snapshot")
        machine = await run.ready()
        run.world.hidden_commits.add("00000000-0000-4000-9000-000000000001")
        await run.delete(LT)
        await run.until(lambda: bool(run.world.commits), "one was taken")
        await pass_time(SETTLE / 2)
        assert not machine.deleted
        await run.gone(LT)
        assert len(run.world.commits) == 2, "the second one is listed"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_a_dead_vm_with_a_snapshot_policy_waits_for_a_person(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(deletionPolicy="Snapshot")
        machine = await run.ready()
        await run.engine.declarations.delete(LT)
        machine.state, machine.pi = VmState.DEAD, None
        run.weather.rules["vers.commit"] = failing(lambda: Unreachable("connection refused"))
        await run.says(LT, "Stalled", "SnapshotFailed")
        assert not machine.deleted

    tell(tmp_path, story)


# --- retain, orphan, forget, NoDelete ---------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-05")
@pytest.mark.parametrize("spec", [{"deletionPolicy": "Retain"}, {"managementPolicy": "NoDelete"}], ids=["Retain", "NoDelete"])
def test_a_retained_vm_stays_as_ours_and_can_be_adopted_again(spec: dict[str, object], tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(**spec)
        machine = await run.ready()
        one = await run.task("one")
        await run.runs(one)
        await run.delete(LT)
        await run.gone(LT)
        assert run.task_record(one).phase == "Cancelled"
        assert machine.state is VmState.RUNNING
        assert not machine.deleted
        assert machine.labels["fleet.vers.sh/retained"] == "default/api"
        assert machine.labels["fleet.vers.sh/vm-id"] == machine.vm_id
        await pass_time(300)
        assert run.happened("OrphanVM") == 0
        heir = await run.lieutenant("heir", adopt={"vmId": machine.vm_id})
        assert await run.ready(heir) is machine
        assert machine.labels["fleet.vers.sh/retained"] == ""
        assert await run.ends(await run.task("two", to="heir")) == "Succeeded"

    assert tell(tmp_path, story).world.deletes == []


@pytest.mark.guarantee("G-05")
@pytest.mark.parametrize("how", ["Orphan", "forget"])
def test_an_orphaned_vm_is_nobodys_and_its_agent_goes_on_with_its_turn(how: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(deletionPolicy="Orphan" if how == "Orphan" else "Snapshot")
        machine = await run.ready()
        one = await run.task("one")
        await run.runs(one)
        pid = machine.pi.pid if machine.pi else 0
        await run.engine.declarations.delete(LT, verbs={"detached": "x"} if how == "forget" else None)
        await run.gone(LT)
        assert run.task_record(one).phase == "Cancelled"
        assert machine.pi is not None
        assert machine.pi.busy
        assert machine.pi.pid == pid
        assert set(ours(machine.labels)) <= {"fleet.vers.sh/epoch", "fleet.vers.sh/released-by"}
        assert machine.claim is None
        await pass_time(300)
        assert not machine.deleted
        assert run.world.commits == {}
        assert run.happened("OrphanVM") == 0

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_a_label_that_no_list_showed_goes_too(tmp_path: Path) -> None:
    """Of what the machine got at birth nothing is left on it, also where lists have told of no labels."""

    async def story(run: Stage) -> None:
        async def bare(act: Callable[[], Awaitable[VmList]]) -> VmList:
            found = await act()
            return replace(found, vms={vm_id: replace(vm, labels={}) for vm_id, vm in found.vms.items()})

        run.weather.rules["vers.list_vms"] = bare
        await run.lieutenant(deletionPolicy="Orphan")
        machine = await run.ready()
        assert "fleet.vers.sh/intent" in machine.labels
        await run.delete(LT)
        await run.gone(LT)
        assert set(ours(machine.labels)) <= {"fleet.vers.sh/epoch", "fleet.vers.sh/released-by"}

    tell(tmp_path, story)


def test_a_sleeping_vm_is_orphaned_without_being_woken(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(deletionPolicy="Orphan")
        machine = await run.ready()
        await run.lieutenant(deletionPolicy="Orphan", mode="Suspended")
        await run.says(LT, "Ready", "Suspended")
        await run.delete(LT)
        await run.gone(LT)
        assert machine.state is VmState.SUSPENDED
        assert set(ours(machine.labels)) <= {"fleet.vers.sh/epoch", "fleet.vers.sh/released-by"}
        assert any("claim file inside it stays" in e.message for e in run.controller.told)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-07")
def test_a_vm_that_another_installation_claims_can_be_forgotten_untouched(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        machine.labels["fleet.vers.sh/installation"] = "installation-2"
        labels = dict(machine.labels)
        await run.says(LT, "Stalled", "ClaimConflict")
        await run.engine.declarations.delete(LT, verbs={"detached": "x"})
        await run.gone(LT)
        assert machine.labels == labels
        assert not machine.deleted
        told = [event.message for event in run.controller.told if event.key == LT][-2:]
        assert machine.vm_id in told[0]
        assert told[0].endswith("it goes on costing money")
        assert told[1] == "it is not managed any more", "nothing else is claimed of what goes on"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_where_no_vm_may_be_deleted_a_dead_one_is_not_replaced(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(managementPolicy="NoDelete")
        machine = await run.ready()
        machine.state, machine.pi = VmState.DEAD, None
        await run.says(LT, "Stalled", "NoDelete")
        await pass_time(300)
        assert not machine.deleted
        await run.lieutenant()
        await run.ready()
        assert machine.deleted

    assert tell(tmp_path, story).world.created == 2


# --- protection ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-05")
def test_a_protected_object_is_deleted_only_when_that_is_confirmed(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        await protect(run)
        with pytest.raises(Refused, match="protected"):
            await run.engine.declarations.delete(LT)
        await run.engine.declarations.delete(LT, verbs={"delete-confirmed": "yes"})
        await run.gone(LT)

    assert tell(tmp_path, story).world.alive() == []


@pytest.mark.guarantee("G-05")
def test_a_protected_object_that_is_being_deleted_waits_and_its_agent_works_on(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        one = await run.task("one")
        await run.runs(one)
        await run.engine.declarations.delete(LT)
        await protect(run)  # as a cluster's API server takes a deletion that the controller then holds back
        await run.says(LT, "Stalled", "Protected")
        assert "delete-confirmed" in run.message(LT, "Stalled")
        assert not machine.deleted
        await run.engine.declarations.delete(LT, verbs={"delete-confirmed": "yes"})
        await run.gone(LT)
        assert machine.deleted

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_a_protected_dead_vm_is_replaced_once_for_each_confirmation(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        await protect(run)
        machine.state, machine.pi = VmState.DEAD, None
        await run.says(LT, "Stalled", "Protected")
        await pass_time(120)
        assert not machine.deleted
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/delete-confirmed": "a"})
        await run.until(lambda: run.record().slot.vm_id not in ("", machine.vm_id), "it has another machine")
        fresh = await run.ready()
        assert machine.deleted
        assert run.status()["handled"] == {"delete-confirmed": "a"}
        fresh.state, fresh.pi = VmState.DEAD, None
        await run.says(LT, "Stalled", "Protected")
        await pass_time(120)
        assert not fresh.deleted

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("answer", ["vm", "none"])
def test_a_person_settles_an_ambiguous_create(answer: str, tmp_path: Path) -> None:
    commit = "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c11"

    async def story(run: Stage) -> None:
        await run.declare(declared(Key("BootProfile", "default", "golden"), source={"commitId": commit}))
        lost = losing(lambda: Indeterminate("connection reset"))

        async def crowded(act: Callable[[], Awaitable[Any]]) -> Any:
            if run.world.created == 0:
                run.world.make({}, commit)
            return await lost(act)

        run.weather.rules["vers.create_vm"] = crowded
        await run.lieutenant(profileRef={"name": "golden"})
        await run.until(lambda: run.world.created == 2, "the create was sent")
        other = min(run.world.alive(), key=lambda m: m.vm_id)
        await run.says(LT, "Stalled", "CreateAmbiguous")
        assert other.vm_id in run.message(LT, "Stalled")
        await pass_time(120)
        token = f"vm={other.vm_id}:x" if answer == "vm" else "none:x"
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/resolve": token})
        machine = await run.ready()
        assert (machine is other) is (answer == "vm")
        assert run.record().slot.chosen == ""
        assert run.world.deletes == []

    run = tell(tmp_path, story)
    assert run.world.created == (2 if answer == "vm" else 3)


@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-65")
@pytest.mark.parametrize("effect", ["guest.inspect", "keeper.observe"])
def test_a_machine_that_answers_nonsense_does_not_keep_itself_from_being_deleted(effect: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        machine = await run.ready()
        await run.controller.down()
        run.weather.rules[effect] = failing(lambda: GuestFailed("looking at the machine failed with exit code 255", machine.vm_id))
        await run.alive()
        await run.until(lambda: run.condition(LT, "Ready") == "Unknown", "nothing is known of it")
        at = run.world.now()
        await run.delete(LT)
        await run.gone(LT)
        assert run.world.now() - at < 2 * SETTLE + 60
        assert machine.deleted

    tell(tmp_path, story)


@pytest.mark.guarantee("G-03")
def test_what_proves_that_a_machine_is_gone_is_asked_for_as_soon_as_it_counts(tmp_path: Path) -> None:
    """In virtual time: the first list after the settle window and one more, not the next two that are due anyway."""

    async def story(run: Stage) -> None:
        key = await run.lieutenant()
        await run.ready()
        asked = run.world.now()
        await run.delete(key)
        await run.gone(key)
        assert run.engine.settings.settle_seconds - run.engine.settings.resync_seconds <= run.world.now() - asked
        assert run.world.now() - asked <= run.engine.settings.settle_seconds + 4.0

    tell(tmp_path, story)
