"""A snapshot of a machine without an agent, and the way back to one, when a person asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import Key, machine_of_node
from reconciler.core.snapshot.vm import VmState
from tests.engine.stage import Stage, pass_time, tell
from tests.engine.test_snapshots import commits
from tests.engine.test_tree_machines import MADE, the
from tests.engine.test_trees import TREE, agent, infra, stands, tree
from tests.world import Machine

DB = machine_of_node(TREE, "db")


async def ask(s: Stage, verb: str, token: str, key: Key = DB) -> None:
    await s.engine.declarations.annotate(key, {f"fleet.vers.sh/{verb}": token})


def state(s: Stage) -> str:
    return str(s.status(DB).get("rollback", {}).get("state", ""))


async def committed(s: Stage, **spec: object) -> Machine:
    """A node whose machine has a file, of which a snapshot was taken then, and another one since."""
    await tree(s, infra("root"), infra("db", "root", **spec), agent("above", "db"))
    await stands(s)
    there = the(s, "db")
    there.files[MADE] = b"early"
    await ask(s, "snapshot", "one")
    await s.until(lambda: len(commits(s)) == 1, "a snapshot is taken")
    there.files[MADE] = b"late"
    return there


@pytest.mark.guarantee("G-11")
def test_one_is_taken_once_for_each_token_without_a_schedule(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        there = await committed(s)
        (kept,) = s.record(DB).slot.commits
        assert (kept.vm_id, kept.cause) == (there.vm_id, "Requested")
        assert kept.name.startswith("default.default.prod/db.")
        await ask(s, "snapshot", "one")
        await pass_time(300)
        assert len(commits(s)) == 1
        await ask(s, "snapshot", "two")
        await s.until(lambda: len(commits(s)) == 2, "another one")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-11")
@pytest.mark.guarantee("G-14")
def test_it_goes_back_to_one_and_what_stands_below_it_is_not_touched(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        old = await committed(s)
        others = [m for m in s.world.alive() if m is not old]
        (commit,) = commits(s)
        await ask(s, "rollback", f"{commit.commit_id}:t")
        await s.until(lambda: state(s) == "Done", "it is back")
        await stands(s)
        await pass_time(120)
        new = the(s, "db")
        assert new.parent_commit == commit.commit_id
        assert new.files[MADE] == b"early"
        assert old.deleted
        assert {m.vm_id for m in s.world.alive()} == {new.vm_id, *(m.vm_id for m in others)}
        assert new.claim is not None
        assert new.claim["vm-id"] == new.vm_id
        assert s.happened("RolledBack") == 1
        await pass_time(3600)
        assert the(s, "db") is new, "one token, one way back"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_a_commit_that_is_not_its_own_is_refused_and_it_stays(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        there = await committed(s)
        (commit,) = commits(s)
        root = machine_of_node(TREE, "root")
        await ask(s, "rollback", f"{commit.commit_id}:t", root)
        await s.until(lambda: s.status(root).get("rollback", {}).get("state") == "Refused", "it is refused")
        assert "no snapshot that was taken of this" in s.status(root)["rollback"]["message"]
        await pass_time(300)
        assert the(s, "db") is there
        assert s.happened("RollbackRefused") == 1
        await stands(s)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_a_protected_machine_is_given_up_for_one_only_when_somebody_confirms_it(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        old = await committed(s, protected=True)
        (commit,) = commits(s)
        await ask(s, "rollback", f"{commit.commit_id}:t")
        await s.until(lambda: state(s) == "Refused", "it is refused")
        await pass_time(60)
        assert not old.deleted
        await ask(s, "delete-confirmed", "yes")
        await ask(s, "rollback", f"{commit.commit_id}:again")
        await s.until(lambda: state(s) == "Done", "it is back")
        await s.until(lambda: old.deleted, "the old one goes")
        assert the(s, "db").files[MADE] == b"early"

    tell(tmp_path, story)


def test_a_machine_that_died_is_left_for_the_restored_one(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        old = await committed(s)
        old.state = VmState.DEAD
        await s.until(lambda: s.record(DB).slot.vm_id not in ("", old.vm_id), "another machine")
        await stands(s)
        assert the(s, "db").files[MADE] == b"early", "a lost machine comes back from its newest snapshot"

    tell(tmp_path, story)
