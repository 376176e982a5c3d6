"""Snapshots of a lieutenant's machine: as scheduled, as asked for, so many kept, none of anybody else's removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.snapshot.machine import GuestCommand
from reconciler.core.snapshot.vm import Commit, VmState
from reconciler.errors import Indeterminate, NotFound, Rejected, Unreachable
from tests.engine.stage import LT, SETTINGS, SETTLE, Stage, failing, losing, pass_time, tell, tell_hours
from tests.engine.test_profiles import AFTER, BEFORE, RECREATE, Vault, made, profile
from tests.engine.test_trees import agent, stands, tree
from tests.world import Machine, World

HOUR = 3600.0
HOURLY = {"schedule": "0 * * * *", "keep": 2}


def commits(run: Stage) -> list[Commit]:
    return sorted(run.world.commits.values(), key=lambda commit: commit.created_at)


async def at_the_hour(run: Stage, hours: int = 1) -> None:
    """A minute past the next full hour, or of a later one."""
    await pass_time(HOUR * hours - run.world.now() % HOUR + 60)


@pytest.mark.guarantee("G-11")
def test_one_is_taken_when_its_time_has_come_and_is_named_as_ours(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots=HOURLY)
        machine = await run.ready()
        await run.ends(await run.task("one"))
        assert run.world.commits == {}
        await at_the_hour(run)
        (commit,) = commits(run)
        assert commit.parent_vm_id == machine.vm_id
        assert commit.name.startswith("default.default.api.")
        assert commit.created_at % HOUR < 30
        (kept,) = run.record().slot.commits
        assert (kept.commit_id, kept.cause) == (commit.commit_id, "Scheduled")
        assert run.happened("TookSnapshot") == 1
        await run.ends(await run.task("two"))

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_what_could_not_be_written_out_before_one_is_told_and_it_is_taken(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots=HOURLY)
        machine = await run.ready()
        run.world.commands = lambda command: int(command.argv == ("sync",))
        await at_the_hour(run)
        assert len(commits(run)) == 1
        told = [(event.type, event.message) for event in run.controller.told if event.reason == "GuestUnreachable"]
        why = "what was written last may not be in the snapshot: sync ended with exit code 1"
        assert told == [("Warning", f"VM {machine.vm_id}: {why}")]

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_only_the_newest_are_kept_and_nobody_elses_goes(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots=HOURLY)
        machine = await run.ready()
        theirs = Commit("00000000-0000-4000-9000-00000000beef", "somebody's", run.world.now(), machine.vm_id)
        run.world.commits[theirs.commit_id] = theirs
        for _ in range(4):
            await at_the_hour(run)
        mine = [commit for commit in commits(run) if commit is not theirs]
        assert len(mine) == 2
        assert theirs in commits(run)
        assert [c.commit_id for c in run.record().slot.commits] == [c.commit_id for c in mine]
        assert run.world.commits_made == 4

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_a_commit_that_is_in_use_is_kept_told_and_tried_later(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *", "keep": 1})
        await run.ready()
        await at_the_hour(run)
        (first,) = commits(run)
        user = run.world.make({}, parent=first.commit_id)
        await at_the_hour(run)
        assert first in commits(run)
        assert run.happened("CommitInUse") == 1
        await at_the_hour(run)
        assert run.happened("CommitInUse") == 1
        assert first in commits(run)
        user.deleted = True
        await at_the_hour(run)
        assert first not in commits(run)
        assert len(commits(run)) == 1

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_a_renamed_commit_is_nobody_s_to_remove(tmp_path: Path) -> None:
    """What the platform lists under the id is not what we made any more."""

    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *", "keep": 1})
        machine = await run.ready()
        await at_the_hour(run)
        (first,) = commits(run)
        renamed = Commit(first.commit_id, "release-1", first.created_at, machine.vm_id)
        run.world.commits[first.commit_id] = renamed
        await at_the_hour(run, 2)
        assert renamed in commits(run)

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_none_is_taken_in_a_turn_and_of_those_that_were_missed_one_is(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots=HOURLY, limits={"taskTimeoutSeconds": 0, "noProgressSeconds": 0})
        await run.ready()
        await at_the_hour(run)
        run.world.work_seconds = 3 * HOUR
        await run.runs(await run.task("long"))
        await at_the_hour(run, 2)
        assert len(commits(run)) == 1
        assert run.status()["snapshots"]["waiting"] is True
        run.world.work_seconds = 4.0
        await pass_time(HOUR)
        await run.ends(await run.task("short"))
        assert run.world.commits_made == 2
        assert commits(run)[1].created_at < run.world.now()
        await pass_time(300)
        assert run.world.commits_made == 2

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_one_whose_answer_is_lost_is_found_by_its_name_and_not_taken_again(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots=HOURLY)
        await run.ready()
        run.weather.rules["vers.commit"] = losing(lambda: Indeterminate("connection reset"))
        await at_the_hour(run)
        await pass_time(3 * SETTLE)
        assert len(commits(run)) == 1
        assert len(run.record().slot.commits) == 1

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_one_that_is_listed_under_another_id_than_was_answered_is_not_taken_again(tmp_path: Path) -> None:
    async def odd(act: Callable[[], Awaitable[object]]) -> object:
        await act()
        return "00000000-0000-4000-9000-00000000beef"

    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots=HOURLY)
        await run.ready()
        run.weather.rules["vers.commit"] = odd
        await at_the_hour(run)
        await pass_time(3 * SETTLE)
        assert run.world.commits_made == 1
        assert [kept.commit_id for kept in run.record().slot.commits] == [commit.commit_id for commit in commits(run)]

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_one_that_fails_is_told_and_tried_again_while_the_older_ones_stay(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *", "keep": 1})
        await run.ready()
        await at_the_hour(run)
        first = commits(run)
        run.weather.rules["vers.commit"] = failing(lambda: Rejected("S3 is full", "vm"))
        await at_the_hour(run)
        assert commits(run) == first
        assert run.reason(LT, "SnapshotsFailing") == "SnapshotFailed"
        assert "S3 is full" in run.message(LT, "SnapshotsFailing")
        assert run.condition(LT, "Ready") == "True"
        assert run.status()["snapshots"]["error"]
        tries = run.weather.count("vers.commit")
        await run.ends(await run.task("meanwhile"))
        await at_the_hour(run)
        assert 3 < run.weather.count("vers.commit") - tries < 30
        del run.weather.rules["vers.commit"]
        await pass_time(600)
        assert len(commits(run)) == 1
        assert commits(run) != first
        assert run.condition(LT, "SnapshotsFailing") == ""

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_one_that_somebody_removed_is_told_and_the_next_comes_as_scheduled(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots=HOURLY)
        await run.ready()
        await at_the_hour(run)
        (first,) = commits(run)
        del run.world.commits[first.commit_id]
        await at_the_hour(run)
        await pass_time(3 * SETTLE)
        assert run.happened("CommitVanished") == 1
        (kept,) = run.record().slot.commits
        assert kept.commit_id != first.commit_id

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_one_list_without_it_does_not_make_a_snapshot_forgotten(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots=HOURLY)
        await run.ready()
        await at_the_hour(run)
        (first,) = commits(run)
        run.world.hidden_commits.add(first.commit_id)
        await pass_time(HOUR - run.world.now() % HOUR + 5)
        assert [c.commit_id for c in run.record().slot.commits if c.missing_since] == [first.commit_id]
        run.world.hidden_commits.clear()
        await pass_time(3 * SETTLE)
        assert [c.missing_since for c in run.record().slot.commits] == [0.0, 0.0]
        assert run.happened("CommitVanished") == 0

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_a_suspended_machine_has_none_taken_and_one_when_it_is_back(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots=HOURLY)
        machine = await run.ready()
        await run.lieutenant(snapshots=HOURLY, mode="Suspended")
        await run.until(lambda: machine.state is VmState.SUSPENDED, "it is suspended")
        await at_the_hour(run, 5)
        assert commits(run) == []
        await run.lieutenant(snapshots=HOURLY)
        await run.ready()
        await pass_time(60)
        assert run.world.commits_made == 1

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_a_schedule_that_never_comes_is_told(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 0 30 2 *"})
        await run.ready()
        assert run.reason(LT, "SnapshotsFailing") == "NeverDue"

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_an_outage_at_its_time_is_waited_for(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots=HOURLY)
        await run.ready()
        run.weather.rules["vers.commit"] = failing(lambda: Unreachable("503"), times=1)
        await at_the_hour(run)
        await pass_time(4 * SETTLE)
        assert len(commits(run)) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_without_health_probes_its_time_is_not_missed(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots=HOURLY)
        await run.ready()
        await at_the_hour(run)
        assert len(commits(run)) == 1

    tell_hours(tmp_path, story, World(), replace(SETTINGS, health_probes=False))


@pytest.mark.guarantee("G-11")
def test_its_time_is_that_of_the_declared_zone(tmp_path: Path) -> None:
    """Half an hour from UTC, so that a full hour there is none here."""

    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *", "timeZone": "Asia/Kolkata"})
        await run.ready()
        await pass_time(2 * HOUR)
        assert {round(commit.created_at % HOUR / 60) for commit in commits(run)} == {30}

    tell_hours(tmp_path, story)


# --- as a person asks -------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-11")
def test_one_that_a_person_asks_for_is_taken_once_for_each_token(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        await run.ready()
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/snapshot": "first"})
        await run.until(lambda: len(run.record().slot.commits) == 1, "it is taken")
        await pass_time(HOUR)
        assert len(commits(run)) == 1
        assert run.status()["handled"]["snapshot"] == "first"
        (kept,) = run.record().slot.commits
        assert kept.cause == "Requested"
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/snapshot": "second"})
        await run.until(lambda: len(run.record().slot.commits) == 2, "another")
        assert run.status()["snapshots"]["count"] == 2

    tell_hours(tmp_path, story)


# --- before something is lost -----------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-11")
def test_before_a_deletion_one_is_taken_that_must_succeed(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"beforeMutate": True})
        machine = await run.ready()
        run.weather.rules["vers.commit"] = failing(lambda: Rejected("S3 is full", "vm"))
        await run.delete(LT)
        await pass_time(HOUR)
        assert not machine.deleted
        assert run.reason(LT, "Stalled") == "SnapshotFailed"
        del run.weather.rules["vers.commit"]
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "again"})
        await run.gone(LT)
        assert len(commits(run)) == 1

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
@pytest.mark.guarantee("G-14")
def test_before_a_replacement_one_is_taken_and_without_it_the_machine_works_on(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, BEFORE, update=RECREATE, snapshots={"beforeMutate": True})
        run.weather.rules["vers.commit"] = failing(lambda: Rejected("S3 is full", "vm"))
        await profile(run, **AFTER)
        await run.says(LT, "UpToDate", "ProfileChanged")
        await pass_time(600)
        await run.ends(await run.task("meanwhile"))
        assert not old.deleted
        assert run.reason(LT, "SnapshotsFailing") == "SnapshotFailed"
        del run.weather.rules["vers.commit"]
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "again"})
        await run.until(lambda: old.deleted, "it is replaced")
        await run.ready()
        (commit,) = commits(run)
        assert commit.parent_vm_id == old.vm_id
        assert run.record().slot.commits[0].cause == "Mutated"

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
@pytest.mark.guarantee("G-60")
def test_files_of_secrets_are_not_in_it_and_are_there_again_afterwards(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        machine = await made(
            run, {"files": [{"path": "/root/key", "contentFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}, snapshots=HOURLY
        )
        assert machine.files["/root/key"] == b"hush"

        def command(asked: GuestCommand) -> int:
            if asked.argv[0] == "rm":
                for path in asked.argv[3:]:
                    machine.files.pop(path, None)
            return 0

        run.world.commands = command
        pi = machine.pi
        await at_the_hour(run)
        (commit,) = commits(run)
        assert "/root/key" not in run.world.disks[commit.commit_id].files
        assert machine.files["/root/key"] == b"hush"
        assert machine.pi is pi, "it was not restarted for that"
        assert run.happened("SecretsInSnapshot") == 0

    tell_hours(tmp_path, story, secrets=Vault(s_k="hush"))


# --- verified restorable ------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-11")
def test_one_of_those_that_are_taken_is_restored_for_a_look_and_status_says_which(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *", "keep": 24})
        machine = await run.ready()
        for _ in range(3):
            await at_the_hour(run)
            await pass_time(60)
        first, second, third = run.record().slot.commits
        assert (first.check, second.check, third.check) == ("Restored", "", "")
        assert run.status()["snapshots"]["verified"] == "Listed"
        assert run.status()["snapshots"]["restored"] == first.commit_id
        assert run.happened("RestoredSnapshot") == 1
        assert run.world.alive() == [machine]
        assert run.world.created == 2
        assert run.condition(LT, "Ready") == "True"

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
@pytest.mark.parametrize(("verify", "looks"), [("All", 3), ("None", 0)])
def test_all_or_none_are_restored_as_declared(verify: str, looks: int, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *", "verify": verify})
        machine = await run.ready()
        for _ in range(3):
            await at_the_hour(run)
            await pass_time(60)
        assert [c.check for c in run.record().slot.commits] == ["Restored" if looks else ""] * 3
        assert run.status()["snapshots"]["verified"] == ("Restored" if looks else "Listed")
        assert run.world.created == 1 + looks
        assert run.world.alive() == [machine]

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
@pytest.mark.parametrize("wrong", ["another disk", "silent", "dead", "refused"])
def test_one_that_can_not_be_restored_is_told_and_older_ones_stay(wrong: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *", "keep": 1, "verify": "All"})
        machine = await run.ready()
        await at_the_hour(run)
        await pass_time(60)
        (good,) = commits(run)
        if wrong == "refused":
            run.weather.rules["vers.create_vm"] = failing(lambda: Rejected("the commit is damaged", "vm"))
        made = run.world.make

        def bad(*args: object, **more: object) -> Machine:
            new = made(*args, **more)  # type: ignore[arg-type]
            new.reachable = wrong != "silent"
            if wrong == "dead":
                new.state = VmState.DEAD
            return new

        run.world.make = bad  # type: ignore[method-assign]
        await pass_time(HOUR - run.world.now() % HOUR - 10)
        if wrong == "another disk":
            machine.claim = {**(machine.claim or {}), "uid": "another"}
        await pass_time(900)
        assert good in commits(run), "the last one that is known to be good"
        assert run.reason(LT, "SnapshotsFailing") == "NotRestorable"
        assert run.happened("NotRestorable") == 1
        assert run.world.alive() == [machine]
        assert run.condition(LT, "Ready") == "True"

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-09")
@pytest.mark.guarantee("G-11")
def test_a_look_that_has_no_room_holds_nothing_up(tmp_path: Path) -> None:
    """A limit of one machine: nothing is restored for a look; one more, and it is."""

    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *", "verify": "All"})
        machine = await run.ready()
        await at_the_hour(run)
        await pass_time(600)
        assert run.world.created == 1
        assert run.record().spare.purpose == ""
        assert run.status()["snapshots"]["verified"] == "Listed"
        (commit,) = commits(run)
        await go_back(run, commit.commit_id)
        await pass_time(600)
        assert rollback(run) == "Restoring", "it waits for room"
        assert run.world.alive() == [machine]
        await run.ends(await run.task("one"))

    tell_hours(tmp_path, story, World(), replace(SETTINGS, max_vms=1))


@pytest.mark.guarantee("G-13")
def test_in_a_tree_a_machine_that_was_looked_at_counts_and_waits_for_nobody_below(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        top = agent("top")
        top["lieutenant"] = {"role": "top", "snapshots": {"schedule": "0 * * * *", "verify": "All"}}
        limits = {"maxVMs": 2}
        await tree(run, top, agent("below", "top"), limits=limits)
        await stands(run)
        await at_the_hour(run)
        await pass_time(600)
        assert run.world.created == 2, "there is no room for a third one"
        run.world.work_seconds = 2 * HOUR
        await run.runs(await run.task("long", to="prod-below"))
        await tree(run, top, agent("below", "top", mode="Suspended"), limits={"maxVMs": 3})
        await run.until(lambda: run.world.created == 3, "now there is")
        await run.until(lambda: len(run.world.alive()) == 2, "and it goes, though the one below is still to be suspended")
        assert run.happened("RestoredSnapshot") == 1
        assert all(machine.state is VmState.RUNNING for machine in run.world.alive())

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_an_object_that_goes_takes_the_machine_beside_it_along(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *"})
        await run.ready()
        await run.until(lambda: run.world.created == 2, "one is restored for a look")
        await run.delete(LT)
        await run.gone(LT)
        assert run.world.alive() == []
        assert len(commits(run)) == 1

    tell_hours(tmp_path, story)


# --- a machine that is lost ---------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-11")
@pytest.mark.guarantee("G-32")
@pytest.mark.guarantee("G-37")
@pytest.mark.parametrize("how", ["dies", "vanishes"])
def test_a_lost_machine_is_replaced_from_its_newest_snapshot_and_the_conversation_goes_on(how: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, {**BEFORE, "files": [{"path": "/root/notes", "content": "n"}]}, snapshots=HOURLY)
        await run.ends(await run.task("one", "remember this"))
        old.files["/root/workspace/early"] = b"early"
        await at_the_hour(run)
        await pass_time(60)
        (commit,) = commits(run)
        await run.ends(await run.task("two", "and that"))
        old.files["/root/workspace/late"] = b"late"
        steps = run.weather.count("keeper.run")
        run.world.kill_pi(old)
        if how == "dies":
            old.state = VmState.DEAD
        else:
            old.deleted = True
        await run.until(lambda: run.record().slot.vm_id not in ("", old.vm_id), "another machine")
        new = await run.ready()
        assert new.parent_commit == commit.commit_id
        assert "/root/workspace/early" in new.files
        assert "/root/workspace/late" not in new.files
        assert run.weather.count("keeper.run") == steps, "its steps are not run again over what is there"
        assert b"remember this" in new.session
        assert b"and that" in new.session
        assert f"restored from commit {commit.commit_id}" in run.message(LT, "WorkspaceLost")
        assert run.status()["vm"]["restoredAt"].startswith("2027-01-15T09:00:")
        told = [event.message for event in run.controller.told if event.reason == "WorkspaceLost"]
        assert "restored as of 2027-01-15T09:00:" in told[0]
        await run.ends(await run.task("three"))
        assert "from a snapshot as of 2027-01-15T09:00:" in run.prompts("three")[0]
        assert run.status()["boot"]["outdated"] is False

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
@pytest.mark.guarantee("G-14")
def test_a_machine_that_is_lost_while_it_is_replaced_goes_on_from_its_snapshot_and_is_replaced_then(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, BEFORE, update=RECREATE, snapshots=HOURLY)
        await run.ends(await run.task("one", "remember this"))
        old.files["/root/workspace/early"] = b"early"
        await at_the_hour(run)
        await pass_time(60)
        run.world.work_seconds = 600.0
        await run.runs(await run.task("two"))
        await profile(run, **AFTER)
        await run.until(lambda: run.record().next.vm_id != "", "another machine is made")
        run.world.work_seconds = 4.0
        run.world.kill_pi(old)
        old.state = VmState.DEAD
        await run.until(lambda: run.happened("Replaced") == 1, "it is replaced in the end")
        new = await run.ready()
        await pass_time(60)
        assert run.world.alive() == [new]
        assert new.files["/root/workspace/early"] == b"early"
        assert b"remember this" in new.session

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-32")
def test_a_snapshot_that_is_gone_when_it_is_needed_makes_way_for_the_one_before(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *", "verify": "None"})
        old = await run.ready()
        await at_the_hour(run, 1)
        await at_the_hour(run, 1)
        first, second = commits(run)
        run.weather.rules["vers.create_vm"] = failing(lambda: NotFound("commit not found", second.commit_id), times=1)
        old.state = VmState.DEAD
        run.world.kill_pi(old)
        await run.until(lambda: run.record().slot.vm_id not in ("", old.vm_id), "another machine")
        assert run.machine().parent_commit == first.commit_id

    tell_hours(tmp_path, story)


# --- back to a snapshot ----------------------------------------------------------------------------------------------------------------


async def go_back(run: Stage, commit_id: str, token: str = "t") -> None:
    await run.engine.declarations.annotate(LT, {"fleet.vers.sh/rollback": f"{commit_id}:{token}"})


def rollback(run: Stage) -> str:
    return str(run.status().get("rollback", {}).get("state", ""))


@pytest.mark.guarantee("G-11")
@pytest.mark.guarantee("G-14")
@pytest.mark.guarantee("G-32")
def test_it_goes_back_with_machine_and_conversation_and_what_was_cut_stays_readable(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, BEFORE, snapshots={"schedule": "0 * * * *", "verify": "None"})
        await run.ends(await run.task("one", "remember this"))
        old.files["/root/workspace/early"] = b"early"
        await at_the_hour(run)
        (commit,) = commits(run)
        before = run.record().session.name
        await run.ends(await run.task("two", "and forget that"))
        old.files["/root/workspace/late"] = b"late"
        steps = run.weather.count("keeper.run")
        long = await run.task("three", "to the end")
        await run.runs(long)
        await go_back(run, commit.commit_id)
        await run.until(lambda: rollback(run) == "Waiting", "the restored one was looked at")
        assert run.machine() is old
        assert await run.ends(long) == "Succeeded", "its turn is not cut off"
        await run.until(lambda: rollback(run) == "Done", "it is back")
        new = await run.ready()
        await pass_time(120)
        assert old.deleted
        assert new.parent_commit == commit.commit_id
        assert run.world.alive() == [new]
        assert "/root/workspace/early" in new.files
        assert "/root/workspace/late" not in new.files
        assert b"remember this" in new.session
        assert b"and forget that" not in new.session
        assert b"to the end" not in new.session
        assert run.weather.count("keeper.run") == steps
        session = run.record().session
        assert session.earlier == (before,)
        kept = await run.engine.gatherer.transcripts.read(before)
        assert b"and forget that" in kept
        assert b"to the end" in kept
        assert run.happened("RolledBack") == 1
        await run.ends(await run.task("four", "go on"))
        assert b"go on" in new.session
        assert b"go on" in await run.engine.gatherer.transcripts.read(session.name)
        assert run.status()["vm"]["restoredFrom"] == commit.commit_id
        await pass_time(HOUR)
        assert run.machine() is new, "one token, one way back"

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
@pytest.mark.guarantee("G-14")
def test_a_replacement_that_has_not_moved_the_agent_makes_way_for_it(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        old = await made(run, BEFORE, update=RECREATE, snapshots={"schedule": "0 * * * *", "verify": "None"})
        await run.ends(await run.task("one", "remember this"))
        await at_the_hour(run)
        (commit,) = commits(run)
        run.world.work_seconds = 60.0
        long = await run.task("two", "to the end")
        await run.runs(long)
        await profile(run, **AFTER)
        await run.until(lambda: run.record().next.vm_id != "", "another machine is made for the profile")
        await go_back(run, commit.commit_id)
        assert len(run.world.alive()) == 2
        await run.until(lambda: run.record().spare.slot.vm_id != "", "then one from the snapshot")
        assert run.record().replacement.state == ""
        assert len(run.world.alive()) == 2
        await run.until(lambda: rollback(run) == "Done", "it is back")
        assert run.machine().parent_commit == commit.commit_id
        assert run.task_record(long).phase == "Succeeded", "its turn is not cut off"
        await run.until(lambda: run.happened("Replaced") == 1, "and is replaced for the profile after all")
        new = await run.ready()
        await pass_time(60)
        assert run.world.alive() == [new]
        assert old.deleted
        assert b"remember this" in new.session
        assert [kept.commit_id for kept in run.record().slot.commits] == [commit.commit_id]

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_a_foreign_commit_is_refused_with_the_reason_and_nothing_changes(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots=HOURLY)
        machine = await run.ready()
        theirs = Commit("00000000-0000-4000-9000-00000000beef", "somebody's", run.world.now(), machine.vm_id)
        run.world.commits[theirs.commit_id] = theirs
        await go_back(run, theirs.commit_id)
        await run.until(lambda: rollback(run) == "Refused", "it is refused")
        assert "no snapshot that was taken of this lieutenant" in run.status()["rollback"]["message"]
        await run.ends(await run.task("one"))
        assert run.machine() is machine

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-14")
@pytest.mark.parametrize("why", ["no room", "damaged"])
def test_without_a_machine_that_was_looked_at_it_works_on_where_it_is(why: str, tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *", "verify": "None"})
        machine = await run.ready()
        await at_the_hour(run)
        (commit,) = commits(run)
        if why == "no room":
            run.world.full = True
        else:
            run.weather.rules["vers.create_vm"] = failing(lambda: Rejected("the commit is damaged", "vm"))
        await go_back(run, commit.commit_id)
        await pass_time(120)
        await run.ends(await run.task("one"))
        assert run.machine() is machine
        if why == "no room":
            run.world.full = False
            await run.until(lambda: rollback(run) == "Done", "there is room")
            assert run.world.alive() == [run.machine()]
        else:
            assert rollback(run) == "Refused"
            assert "can't be restored" in run.status()["rollback"]["message"]
            assert run.world.alive() == [machine]

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_a_machine_that_died_is_left_for_the_restored_one(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *", "verify": "None"}, managementPolicy="Full", session={"onLost": "Fail"})
        machine = await run.ready()
        await run.ends(await run.task("one"))
        await at_the_hour(run)
        (commit,) = commits(run)
        machine.state = VmState.DEAD
        run.world.kill_pi(machine)
        await run.says(LT, "Stalled", "SessionLost")
        await go_back(run, commit.commit_id)
        await run.until(lambda: rollback(run) == "Done", "it is back")
        await run.ready()
        await pass_time(60)
        assert run.world.alive() == [run.machine()]

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_before_it_goes_back_its_present_state_is_committed_where_that_is_declared(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"beforeMutate": True, "verify": "None", "keep": 1})
        old = await run.ready()
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/snapshot": "first"})
        await run.until(lambda: len(run.record().slot.commits) == 1, "it is taken")
        (commit,) = commits(run)
        await run.ends(await run.task("one"))
        await go_back(run, commit.commit_id)
        await run.until(lambda: rollback(run) == "Done", "it is back")
        await run.ready()
        await pass_time(60)
        assert old.deleted
        assert [kept.cause for kept in run.record().slot.commits] == ["Requested", "Mutated"]
        await go_back(run, run.record().slot.commits[1].commit_id, "forth")
        await run.until(lambda: run.world.created == 3, "and forth again")
        await run.until(lambda: rollback(run) == "Done", "it is there")
        assert b"one attempt" in (await run.ready()).session

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_a_protected_machine_is_given_up_only_when_somebody_confirms_it(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant(snapshots={"schedule": "0 * * * *", "verify": "None"})
        old = await run.ready()
        await at_the_hour(run)
        (commit,) = commits(run)
        await run.engine.declarations.annotate(LT, {"fleet.vers.sh/deletion-protection": "enabled"})
        await go_back(run, commit.commit_id)
        await run.until(lambda: rollback(run) == "Refused", "it is refused")
        await pass_time(60)
        assert run.world.alive() == [old]
        assert run.world.created == 1
        confirmed = {"fleet.vers.sh/delete-confirmed": "yes", "fleet.vers.sh/rollback": f"{commit.commit_id}:again"}
        await run.engine.declarations.annotate(LT, confirmed)
        await run.until(lambda: rollback(run) == "Done", "it is back")
        new = await run.ready()
        await pass_time(60)
        assert old.deleted
        assert run.world.alive() == [new]
        assert new.parent_commit == commit.commit_id

    tell_hours(tmp_path, story)
