"""VMs without an owner: told apart, told once, and deleted only when exactly that one was asked for and is an orphan."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from reconciler.core.keys import Key, SlotOwner
from reconciler.core.slot.claims import Owner, birth_labels, claim_labels
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.orphans import awaited
from reconciler.engine.ports import StoredObject
from reconciler.errors import Unreachable
from tests.engine import test_trees as trees
from tests.engine.stage import LT, SETTINGS, SETTLE, Stage, failing, pass_time, tell
from tests.world import FOREIGN, Machine

GONE = Key("Lieutenant", "default", "gone")


def orphan(run: Stage, owner: str = "installation-1") -> Machine:
    """A VM with a valid claim of an object that does not exist."""
    machine = run.world.make({})
    machine.state = VmState.RUNNING
    machine.labels.update(claim_labels(Owner(SETTINGS.fleet, owner), SlotOwner.of(GONE, "uid-of-gone"), 1, machine.vm_id))
    return machine


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
def test_an_orphan_is_told_and_stays_until_it_is_asked_for(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        lost, other = orphan(run), orphan(run)
        await run.until(lambda: run.happened("OrphanVM") == 2, "they are told")
        await pass_time(600)
        assert not lost.deleted
        await run.engine.orphans.ask([lost.vm_id])
        await run.until(lambda: run.happened("DeletedOrphan") == 1, "it is gone")
        assert lost.deleted
        await pass_time(300)
        assert not other.deleted
        assert run.happened("OrphanVM") == 2

    tell(tmp_path, story)


async def unanswered(act: Callable[[], Awaitable[object]]) -> object:
    """It happens, and no answer ever comes."""
    await act()
    return await asyncio.Event().wait()


@pytest.mark.parametrize("seen", [0.0, 15.0, 2 * SETTLE])
@pytest.mark.parametrize("away", [1.0, SETTLE + 5, 10 * SETTLE])
def test_a_machine_that_is_being_taken_over_after_a_crash_is_no_orphan(tmp_path: Path, seen: float, away: float) -> None:
    """The controller was killed before the answer to its create came; however long it was away, and whether or not a list had the VM."""

    async def story(run: Stage) -> None:
        run.weather.rules["vers.create_vm"] = unanswered
        await run.lieutenant()
        await run.until(lambda: run.world.created == 1, "it is made")
        await pass_time(seen)
        await run.controller.down()
        del run.weather.rules["vers.create_vm"]
        await pass_time(away)
        await run.alive()
        await run.ready()
        await pass_time(3 * SETTLE)
        assert run.world.created == 1
        assert run.happened("OrphanVM") == 0

    tell(tmp_path, story)


def test_what_a_create_made_for_an_object_that_is_gone_is_told(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        lost = run.world.make({})
        lost.state = VmState.RUNNING
        lost.labels.update(birth_labels(Owner(SETTINGS.fleet, "installation-1"), SlotOwner.of(GONE, "uid-of-gone"), 1, "token"))
        await run.until(lambda: run.happened("OrphanVM") == 1, "it is told")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_what_was_asked_for_survives_a_restart_and_an_outage(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        lost = orphan(run)
        await run.until(lambda: run.happened("OrphanVM") == 1, "it is told")
        run.weather.rules["vers.delete_vm"] = failing(lambda: Unreachable("503"))
        await run.engine.orphans.ask([lost.vm_id])
        await pass_time(60)
        assert not lost.deleted
        await run.controller.down()
        await run.alive()
        await pass_time(60)
        del run.weather.rules["vers.delete_vm"]
        await run.until(lambda: lost.deleted, "it is deleted")
        await run.until(lambda: run.happened("DeletedOrphan") == 1, "and that is told")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-07")
def test_nothing_but_an_orphan_is_deleted_whatever_was_asked_for(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await run.lieutenant()
        owned = await run.ready()
        theirs = orphan(run, "installation-2")
        nobodys = run.world.make({})
        foreign = next(m for m in run.world.machines.values() if m.owner == FOREIGN)
        kept = orphan(run)
        kept.labels["fleet.vers.sh/retained"] = "default/gone"
        copied = run.world.make(dict(orphan(run).labels))
        every = (owned, theirs, nobodys, foreign, kept, copied)
        await pass_time(60)
        await run.engine.orphans.ask([m.vm_id for m in every])
        await run.until(lambda: run.happened("NoOrphan") == len(every), "each is looked at")
        await pass_time(300)
        assert [m.vm_id for m in every if m.deleted] == []
        assert run.condition(LT, "Ready") == "True"

    assert tell(tmp_path, story).world.deletes == []


@pytest.mark.guarantee("G-07")
def test_a_machine_that_claims_a_node_of_a_tree_is_an_orphan_only_when_that_has_another_one(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        await trees.tree(run, trees.infra("db"))
        await trees.stands(run)
        key = Key("Machine", "default", "prod/db")
        item = run.engine.table.lieutenant(key)
        assert item is not None
        second = run.world.make({})
        second.state = VmState.RUNNING
        second.labels.update(claim_labels(Owner(SETTINGS.fleet, "installation-1"), item.slot_owner, 1, second.vm_id))
        labels, table = dict(second.labels), run.engine.table

        def get(wanted: Key) -> StoredObject | None:
            found = table.get(wanted)
            return found.obj if found is not None else None

        def without(wanted: Key) -> StoredObject | None:
            return None if wanted == key else get(wanted)

        assert not awaited(labels, get), "the node has one"
        assert awaited(labels, without), "the node's object is lost, and is made again"
        assert not awaited({**labels, "fleet.vers.sh/uid": "of-another-tree"}, without)
        assert not awaited({**labels, "fleet.vers.sh/kind": "Lieutenant"}, without)
        assert not awaited(labels, lambda _: None)
        await run.until(lambda: run.happened("OrphanVM") == 1, "the second one is told")
        await run.engine.orphans.ask([second.vm_id])
        await run.until(lambda: second.deleted, "and goes when asked for")
        assert trees.vm_of(run, "db") != second.vm_id

    tell(tmp_path, story)


@pytest.mark.guarantee("G-07")
def test_an_orphan_that_somebody_adopts_meanwhile_is_kept(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        lost = orphan(run)
        lost.reachable = True
        await run.lieutenant(adopt={"vmId": lost.vm_id})
        assert await run.ready() is lost
        await run.engine.orphans.ask([lost.vm_id])
        await run.until(lambda: run.happened("NoOrphan") == 1, "it is looked at")
        await pass_time(120)
        assert not lost.deleted

    tell(tmp_path, story)
