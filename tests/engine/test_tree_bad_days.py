"""Bad days of a hierarchy: each ends in a named reason, and harms nothing that works."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.api.annotations import PREFIX
from reconciler.core.keys import Key, machine_of_node
from reconciler.core.slot.claims import FLEET, NAME
from reconciler.core.snapshot.vm import VmState
from reconciler.errors import Indeterminate, Unreachable
from reconciler.serve.commands import without_node
from tests.engine.stage import Stage, failing, losing, pass_time, tell
from tests.engine.stage import declared as document
from tests.engine.test_profiles import PROFILE
from tests.engine.test_tree_machines import the
from tests.engine.test_trees import TREE, agent, infra, nodes, stands, tree, vm_of
from tests.world import FOREIGN

LATER = {"name": PROFILE.name}


def reason(s: Stage, name: str) -> str:
    """What the tree says of one node; '' while it says nothing."""
    told = s.status(TREE).get("nodes") or ()
    return next((str(node["reason"]) for node in told if node["name"] == name), "")


def ids(s: Stage) -> set[str]:
    return {machine.vm_id for machine in s.world.alive()}


def test_a_profile_that_does_not_exist_yet_keeps_one_node_waiting_and_is_used_when_it_comes(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("db", profileRef=LATER), infra("root"), agent("a", "root", profileRef=LATER))
        await s.until(lambda: {reason(s, name) for name in ("db", "a")} == {"ProfileNotFound"}, "two say what they lack")
        await pass_time(300)
        assert s.world.created == 1, "the node that has its profile stands"
        assert nodes(s)["root"]["ready"] is True
        await s.declare(document(PROFILE, extends={"name": "lightweight"}))
        await stands(s)
        assert s.world.created == 3

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_a_branch_of_a_parent_that_sleeps_or_goes_is_waited_for_or_given_up(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        copy = {"name": "copy", "category": "Infra", "parent": "db", "from": "Parent", "mode": "Running"}
        await tree(s, infra("root"), infra("db", "root", mode="Suspended"), copy)
        await s.until(lambda: reason(s, "copy") in ("ForkSourceUnavailable", "ParentNotReady"), "it waits")
        await pass_time(300)
        assert s.world.created == 1, "neither the sleeping one, which has none yet, nor its copy"
        await tree(s, infra("root"), policy={"onNodeRemoved": "Cascade"})
        await stands(s)
        assert s.world.created == 1
        assert ids(s) == {vm_of(s, "root")}

    tell(tmp_path, story)


@pytest.mark.guarantee("G-09")
def test_beyond_depth_children_and_number_at_once_what_fits_stands_and_each_says_why_not(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        deep = (infra("a"), infra("b", "a"), infra("c", "b"))
        wide = (infra("x", "a"), infra("z", "a"))
        await tree(s, *deep, *wide, limits={"maxDepth": 2, "maxChildren": 2, "maxVMs": 2})
        await s.says(TREE, "Stalled", "LimitExceeded")
        await s.until(lambda: s.status(TREE)["counts"]["ready"] == 2, "two stand")
        await pass_time(300)
        told = {name: (str(node["reason"]), str(node["message"])) for name, node in nodes(s).items()}
        assert told["c"] == ("LimitExceeded", "c is on level 3, limits.maxDepth is 2")
        assert told["z"] == ("LimitExceeded", "z is child 3 of a, limits.maxChildren is 2")
        assert sorted(told[name][0] for name in ("b", "x"))[0] == "Capacity"
        assert s.world.created == 2

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-13")
@pytest.mark.parametrize("confirmed", [False, True])
def test_a_branch_with_a_protected_child_stays_whole_until_that_is_confirmed(confirmed: bool, tmp_path: Path) -> None:
    """As a file or a cluster may ask for it, which no command refused before."""

    async def story(s: Stage) -> None:
        root = infra("root")
        await tree(s, root, infra("mid", "root"), infra("leaf", "mid", protected=True), policy={"onNodeRemoved": "Cascade"})
        await stands(s)
        kept = {vm_of(s, name) for name in ("root", "mid", "leaf")}
        await tree(s, root, policy={"onNodeRemoved": "Cascade"})
        await s.says(TREE, "Stalled", "NodesStalled")
        assert "leaf (Protected)" in s.message(TREE, "Stalled")
        await pass_time(300)
        assert ids(s) == kept, "what stands above a protected one waits for it"
        if confirmed:
            await s.engine.declarations.annotate(TREE, {f"{PREFIX}delete-confirmed": "yes"})
            await stands(s)
            assert ids(s) == {vm_of(s, "root")}
            assert s.world.deletes == [vm_id for vm_id in s.world.deletes if vm_id in kept], "nothing else went"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-13")
def test_a_working_agent_ends_with_its_branch_when_a_person_takes_that_down(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("root"), agent("a", "root"), agent("b", "a"))
        await stands(s)
        lasting = [vm_of(s, name) for name in ("b", "a")]
        work = await s.task("work", to="prod-b")
        await s.runs(work)
        asked = {"node": "a", "nodes": ["a", "b"], "verbs": {"delete-confirmed": "t"}}
        verbs = {f"{PREFIX}delete-confirmed": "t"}
        await s.engine.declarations.patch_spec(TREE, lambda obj: without_node(obj, asked), None, verbs)  # type: ignore[arg-type]
        await stands(s)
        assert s.world.deletes == lasting, "leaves first"
        assert s.task_record(work).phase == "Cancelled"
        assert ids(s) == {vm_of(s, "root")}

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
@pytest.mark.parametrize("lost", [False, True])
def test_a_tree_that_is_deleted_while_it_grows_leaves_nothing(lost: bool, tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        if lost:  # the create takes effect, and its answer never comes
            s.weather.rules["vers.create_vm"] = losing(lambda: Indeterminate("no answer", "POST /vm"), times=2)
        await tree(s, infra("root"), agent("a", "root"), agent("w", "a", replicas=3))
        await s.until(lambda: s.world.created >= 1, "the first is made")
        await s.delete(TREE)
        await s.gone(TREE)
        made = s.world.created
        await pass_time(300)
        assert s.world.alive() == []
        assert s.world.created == made
        assert [key for key in s.engine.table.all_keys() if key.kind in ("Lieutenant", "Machine")] == []

    tell(tmp_path, story)


def test_a_schedule_that_never_fires_is_told_and_costs_the_tree_nothing(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("root"), snapshots={"schedule": "0 0 30 2 *"})
        await s.until(lambda: s.reason(machine_of_node(TREE, "root"), "SnapshotsFailing") != "", "it says that none is ever taken")
        assert s.reason(machine_of_node(TREE, "root"), "SnapshotsFailing") == "NeverDue"
        await stands(s)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_who_answers_403_to_the_deletion_of_a_machine_that_is_gone_stalls_no_tree(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("root"), infra("db", "root"))
        await stands(s)
        gone, root = the(s, "db"), infra("root")

        async def somebody_was_faster(act: object) -> object:
            gone.deleted = True
            return await act()  # type: ignore[operator]

        s.weather.rules["vers.delete_vm"] = somebody_was_faster
        await tree(s, root)
        await stands(s)
        assert ids(s) == {vm_of(s, "root")}
        assert s.world.deletes == []

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
def test_a_machine_that_is_deleted_behind_our_back_is_made_again_in_its_place_and_the_others_stay(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("root"), infra("db", "root"), agent("a", "db"))
        await stands(s)
        lost = the(s, "db")
        others = ids(s) - {lost.vm_id}
        lost.deleted = True
        await s.until(lambda: s.record(machine_of_node(TREE, "db")).slot.vm_id not in ("", lost.vm_id), "another one is made")
        await stands(s)
        assert ids(s) == {*others, vm_of(s, "db")}
        assert s.world.created == 4

    tell(tmp_path, story)


@pytest.mark.guarantee("G-08")
@pytest.mark.parametrize("asleep", [False, True])
def test_a_machine_that_somebody_suspended_or_woke_is_put_right(asleep: bool, tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        mode = {"mode": "Suspended"} if asleep else {}
        await tree(s, infra("root"), infra("db", "root"))
        await stands(s)
        await tree(s, infra("root"), infra("db", "root", **mode))
        await stands(s)
        there = the(s, "db")
        wanted = VmState.SUSPENDED if asleep else VmState.RUNNING
        await s.until(lambda: there.state is wanted, "as declared")
        there.state = VmState.RUNNING if asleep else VmState.SUSPENDED
        await pass_time(120)
        assert there.state is wanted
        await stands(s)
        assert s.world.created == 2

    tell(tmp_path, story)


@pytest.mark.guarantee("G-07")
def test_a_machine_of_somebody_else_with_our_labels_is_neither_taken_nor_touched(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        labels = {FLEET: "default", NAME: "prod/db", f"{PREFIX}tree": "prod", f"{PREFIX}node": "db"}
        theirs = s.world.make(labels, owner=FOREIGN)
        unclaimed = s.world.make(labels)  # of our account, and no claim of ours: a label alone says nothing
        await tree(s, infra("root"), infra("db", "root"))
        await stands(s)
        assert vm_of(s, "db") not in (theirs.vm_id, unclaimed.vm_id)
        await s.delete(TREE)
        await s.gone(TREE)
        await pass_time(300)
        assert ids(s) == {unclaimed.vm_id}
        assert not theirs.deleted
        assert s.world.foreign_effects == 0

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_a_lieutenant_of_a_tree_that_goes_all_the_same_is_declared_again(tmp_path: Path) -> None:
    """As a cluster may let it go, which nobody here could refuse."""

    async def story(s: Stage) -> None:
        await tree(s, infra("root"), agent("a", "root"))
        await stands(s)
        key = Key("Lieutenant", "default", "prod-a")
        before = the(s, "a")
        await s.engine.declarations.withdraw(key, "kubectl delete")
        await s.until(lambda: before.deleted, "its machine goes as the tree's deletionPolicy says")
        await stands(s)
        item = s.engine.table.get(key)
        assert item is not None
        assert item.obj.source == "vmtree/prod"
        assert ids(s) == {vm_of(s, "root"), vm_of(s, "a")}
        assert s.world.created == 3

    tell(tmp_path, story)


@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-06")
def test_deletions_that_keep_failing_are_counted_told_and_hold_back_what_is_to_be_made(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        names = [f"n-{number}" for number in range(4)]
        await tree(s, *(infra(name) for name in names))
        await stands(s)
        s.weather.rules["vers.delete_vm"] = failing(lambda: Unreachable("500 could not delete"))
        await s.delete(TREE)
        await s.until(lambda: s.engine.fleet_state().failing_deletes == 4, "each is counted")
        assert {"could not delete" in s.message(machine_of_node(TREE, name), "Ready") for name in names} == {True}
        waiting = await s.lieutenant("late")
        await s.says(waiting, "Ready", "PlatformBlocked")
        assert "4 deletions keep failing" in s.message(waiting, "Ready")
        await pass_time(600)
        assert s.world.created == 4
        del s.weather.rules["vers.delete_vm"]
        await s.gone(TREE)
        late = await s.ready(waiting)
        assert s.engine.fleet_state().failing_deletes == 0
        assert s.world.alive() == [late]

    tell(tmp_path, story)
