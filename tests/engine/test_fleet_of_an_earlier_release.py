"""A store that the first release left in the middle of its work is brought forward, and its fleet goes on.

How `fixtures/fleet-0001.sql` and `fleet-0001.json` were made, with that release's own engine, doubles and virtual
time: lieutenants of every sort were made ready (declared by file, by command and by a cluster; on a VM, on an adopted
VM, on the controller's host), some did a task, one task expired, one lieutenant was suspended, one crashed until it
was given up, one turn was steered and interrupted for making no progress. Then the platform and the keepers began to
fail, and these things were asked for: three deletions (one with a deletion that fails, one that lets go of its VM,
one with a snapshot whose answer was lost), a task whose delivery was not answered, a create whose answer was lost,
two restores of one commit of which only the first took effect, and a create that was refused for want of room. At
that moment the controller was killed: store and world were written down as they were.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.fleet.breaker import BREAKER
from reconciler.core.keys import Key
from reconciler.core.lieutenant.local import Hosting
from tests.earlier_world import dumped, world_of
from tests.engine.stage import SETTINGS, Stage, pass_time
from tests.faults.harness import virtual
from tests.store.earlier import FIXTURES, store_of
from tests.world import ACCOUNT, Machine

HOSTED = replace(SETTINGS, hosting=Hosting.ALLOWED, local_root="/srv/agents", host="this-state-directory")
MADE = 12
"""VMs that the first release had made, with the one made by hand."""


def lieutenant(name: str) -> Key:
    return Key("Lieutenant", "default", name)


def task(name: str) -> Key:
    return Key("Task", "default", name)


def go_on(tmp_path: Path, story: Callable[[Stage], Awaitable[None]]) -> Stage:
    """Bring the store forward, start over the world as it was, and play a story."""
    store = store_of("fleet-0001", tmp_path / "state.db")
    at, raw = dumped(FIXTURES / "fleet-0001.json")

    async def main() -> Stage:
        run = Stage(world_of(raw), Path(store), HOSTED)
        run.controller._tokens, run.controller._uids = itertools.count(1000), itertools.count(1000)
        try:
            await run.alive()
            await story(run)
        finally:
            await run.controller.down()
        assert run.world.violations == []
        assert run.world.foreign_effects == 0
        assert run.controller.wrong == []
        return run

    return virtual(main, start=at)


def vm(run: Stage, number: int) -> Machine:
    return run.world.machines[f"00000000-0000-4000-8000-{number:012}"]


def ours(machine: Machine) -> dict[str, str]:
    return {name: value for name, value in machine.labels.items() if name.startswith("fleet.vers.sh/") and value}


@pytest.mark.guarantee("G-63")
def test_what_was_known_is_known_when_it_starts(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        table = run.engine.table
        assert table.broken == {}
        assert len(table.all_keys()) == 30
        assert {str(slot) for slot in table.owned().values()} == {
            f"Lieutenant/default/{name}"
            for name in ("api", "found", "sleepy", "crashy", "stuck", "safe", "doomed", "freed", "snap", "kubed")
        }
        assert run.record(lieutenant("doomed")).slot.marked_for_deletion
        assert run.record(lieutenant("freed")).detached
        assert [one.action for one in run.task_record(task("stuck")).escalation_steps] == ["Steer", "Abort"]
        assert run.engine.gatherer.slots.hold.breaker.reason == "netlink error: Address in use"
        assert (await run.engine.store.load()).meta[BREAKER]

    go_on(tmp_path, story)


@pytest.mark.guarantee("G-20")
def test_tasks_under_way_end_once_and_those_that_waited_follow(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        for name in ("running", "delivering", "stuck", "queued", "after"):
            assert await run.ends(task(name)) == "Succeeded", name
        await pass_time(120)
        for name in ("running", "delivering", "stuck", "queued", "after", "done-api", "done-scribe", "done-found", "done-sleepy", "brief"):
            assert len(run.prompts(name)) == 1, f"{name}: {run.prompts(name)}"
        assert run.task_record(task("stuck")).attempt == 1
        assert [one["action"] for one in run.status(task("stuck"))["escalation"]] == ["Steer", "Abort"]
        assert run.phase(task("stopped")) == "Cancelled"
        assert run.phase(task("held")) == "Pending"
        again = await run.task("brief", to="safe", ttlSecondsAfterFinished=1)
        await run.until(lambda: run.reason(again, "Ready") == "AlreadyDone" or run.phase(again) == "(gone)", "it has its result")
        assert len(run.prompts("brief")) == 1, "what is remembered of it is enough not to do it twice"

    go_on(tmp_path, story)


@pytest.mark.guarantee("G-02")
def test_open_creates_are_resolved_and_nothing_is_made_twice(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        lost, first, second, late = (lieutenant(name) for name in ("lost", "branch-a", "branch-b", "late"))
        await run.until(lambda: run.record(lost).slot.vm_id != "", "the one that was made is found by its birth label")
        assert run.machine(lost) is vm(run, 12)
        await run.until(lambda: run.record(first).slot.vm_id != "", "the one that was restored is paired with the older create")
        assert run.machine(first) is vm(run, 13)
        for key in (lost, first, second, late):
            await run.ready(key)
        await pass_time(300)
        assert run.world.created == MADE + 4, "the create that had no effect, the one that was refused, and both nodes of the tree"
        assert (await run.engine.store.load()).intents == ()

    go_on(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_deletions_go_on_each_by_its_own_policy(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        for name in ("doomed", "freed", "snap"):
            await run.gone(lieutenant(name))
        await pass_time(120)
        assert sorted(run.world.deletes) == [vm(run, 5).vm_id, vm(run, 10).vm_id]
        kept = [commit for commit in run.world.commits.values() if commit.name != "internal"]  # the platform's own, of a live copy
        assert len(kept) == 1, "the snapshot whose answer was lost is found, not taken again"
        assert not vm(run, 9).deleted
        assert set(ours(vm(run, 9))) == {"fleet.vers.sh/epoch", "fleet.vers.sh/released-by"}

    go_on(tmp_path, story)


@pytest.mark.guarantee("G-07")
def test_everybody_else_stays_where_they_are_and_can_be_dismissed(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        vms = {name: run.record(lieutenant(name)).slot.vm_id for name in ("api", "found", "sleepy", "crashy", "stuck", "safe", "kubed")}
        await pass_time(300)
        assert {name: run.record(lieutenant(name)).slot.vm_id for name in vms} == vms
        assert all(run.record(lieutenant(name)).slot.epoch == 1 for name in vms), "no machine was claimed anew"
        assert run.record(lieutenant("scribe")).local.state == "Home"
        assert run.record(lieutenant("scribe")).slot.vm_id == ""
        assert run.phase(lieutenant("sleepy")) == "Suspended"
        assert run.reason(lieutenant("crashy"), "Stalled") == "CrashLoop"
        await run.retrying(lambda: run.engine.declarations.annotate(lieutenant("crashy"), {"fleet.vers.sh/retry": "t9"}))
        assert await run.ends(task("held")) == "Succeeded"
        confirmed = {"delete-confirmed": "t9"}
        await run.retrying(lambda: run.engine.declarations.delete(lieutenant("safe"), verbs=confirmed))
        for name in ("api", "found", "sleepy", "crashy", "stuck", "kubed", "scribe", "lost", "branch-a", "branch-b", "late"):
            await run.delete(lieutenant(name))
        for item in run.engine.table.of_kind("VMTree"):
            await run.delete(item.key)
        await run.until(lambda: not run.engine.table.of_kind("Lieutenant"), "all are gone")
        await run.until(lambda: not run.engine.table.of_kind("VMTree"), "the tree is gone too")
        await pass_time(120)
        left = [machine.vm_id for machine in run.world.machines.values() if not machine.deleted and machine.owner == ACCOUNT]
        assert left == [vm(run, 2).vm_id, vm(run, 9).vm_id], "the one to be retained and the one that was let go of"
        assert run.world.homes == {}

    go_on(tmp_path, story)
