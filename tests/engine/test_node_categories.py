"""A node whose category changes between one with an agent and one without (G-14): what it has works on until its other machine is ready
and has the files; only then does it go."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.keys import Key, lieutenant, machine_of_node
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.planning import plan_everything
from tests.engine.stage import Stage, pass_time, tell
from tests.engine.test_profiles import BEFORE, PROFILE, profile
from tests.engine.test_replacement import BROKEN
from tests.engine.test_snapshots import commits
from tests.engine.test_trees import TREE, agent, infra, nodes, stands, tree, vm_of
from tests.world import Machine, false_fails

MADE = "/root/workspace/made.txt"
OWN = {"name": PROFILE.name}
BOTH = pytest.mark.parametrize("had", ["agent", "none"])
IN_PLACE = {"onNoRoom": "InPlace"}


def of(had: str, name: str = "a", **more: object) -> dict[str, object]:
    """The node as it was declared first."""
    return agent(name, **more) if had == "agent" else infra(name, **more)


def turned(had: str, name: str = "a", **more: object) -> dict[str, object]:
    """The node as it is declared then."""
    return of("none" if had == "agent" else "agent", name, **more)


def key_of(had: str, name: str = "a") -> Key:
    return lieutenant("default", f"prod-{name}") if had == "agent" else machine_of_node(TREE, name)


def other_key(had: str, name: str = "a") -> Key:
    return key_of("none" if had == "agent" else "agent", name)


async def worked(s: Stage, had: str, **spec: object) -> Machine:
    """A tree of one node, on whose machine something was made; while that is nowhere else this machine has to stay."""
    s.world.commands = false_fails
    update = spec.pop("update", None)
    await tree(s, of(had, **({"update": update} if update else {})), **spec)
    await stands(s)
    old = s.world.machines[vm_of(s, "a")]
    old.files[MADE] = b"by hand"
    return old


def watch(s: Stage) -> list[int]:
    """The most machines there ever are from now on. What was made has to be on one of them at every moment."""
    most = [0]

    def look(*_: object) -> None:
        most[0] = max(most[0], len(s.world.alive()))
        if not any(m.files.get(MADE) == b"by hand" for m in s.world.alive()):
            s.world.violations.append("what was made is on no machine")

    s.engine.table.on_change.append(look)
    return most


async def changed(s: Stage, old: Machine) -> Machine:
    """Until the node has another machine, with what was made, and there is nothing beside it."""
    await s.until(lambda: old.deleted and len(s.world.alive()) == 1, "the former machine is gone")
    await stands(s)
    (now,) = s.world.alive()
    assert vm_of(s, "a") == now.vm_id
    return now


@pytest.mark.guarantee("G-14")
@BOTH
def test_what_a_node_has_works_on_until_the_other_one_is_ready_and_has_its_files(tmp_path: Path, had: str) -> None:
    async def story(s: Stage) -> None:
        s.world.boot_seconds = 20.0
        old = await worked(s, had)
        most = watch(s)
        await tree(s, turned(had))
        await s.until(lambda: s.engine.table.get(other_key(had)) is not None, "the other object is declared")
        await pass_time(10)
        assert s.condition(key_of(had), "Ready") == "True"
        assert s.condition(TREE, "Ready") == "False"
        assert old.vm_id in str(nodes(s)["a"]["message"])
        assert (await changed(s, old)).files.get(MADE) == b"by hand"
        assert most == [2]
        assert s.world.created == 2
        assert s.engine.table.get(key_of(had)) is None

    tell(tmp_path, story)


@pytest.mark.guarantee("G-10")
@pytest.mark.guarantee("G-14")
def test_an_agent_that_works_is_not_cut_off_and_gets_no_more_once_the_other_machine_is_ready(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.work_seconds = 300.0
        old = await worked(s, "agent")
        watch(s)
        one = await s.task("one", to="prod-a")
        await s.runs(one)
        await tree(s, turned("agent"))
        await s.until(lambda: s.condition(other_key("agent"), "Ready") == "True", "the other machine is ready")
        await s.task("two", to="prod-a")
        assert s.task_record(one).phase == "Running"
        assert await s.ends(one) == "Succeeded"
        assert (await changed(s, old)).files.get(MADE) == b"by hand"
        assert s.prompts("two") == []

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_a_new_agent_gets_no_work_before_the_files_are_there(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        old = await worked(s, "none")
        watch(s)
        there: list[bool] = []
        one = await s.task("one", to="prod-a")

        def look(*_: object) -> None:
            if s.prompts("one") and not there:
                there.append(s.machine(other_key("none")).files.get(MADE) == b"by hand")

        s.engine.table.on_change.append(look)
        await tree(s, turned("none"))
        assert await s.ends(one) == "Succeeded"
        await changed(s, old)
        assert there == [True]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-09")
@pytest.mark.guarantee("G-14")
@pytest.mark.parametrize("there", ["Wait", "InPlace"])
@BOTH
def test_without_room_for_both_it_waits_or_goes_first_as_declared(tmp_path: Path, had: str, there: str) -> None:
    async def story(s: Stage) -> None:
        old = await worked(s, had, limits={"maxVMs": 1})
        await tree(s, turned(had, **({"update": IN_PLACE} if there == "InPlace" else {})), limits={"maxVMs": 1})
        if there == "Wait":
            await pass_time(900)
            assert s.world.alive() == [old]
            assert s.condition(key_of(had), "Ready") == "True"
            watch(s)
            await tree(s, turned(had), limits={"maxVMs": 2})
            assert (await changed(s, old)).files.get(MADE) == b"by hand"
            return
        assert (await changed(s, old)).vm_id != old.vm_id

    tell(tmp_path, story)


def test_with_room_for_both_in_place_takes_nothing_first(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        old = await worked(s, "none", limits={"maxVMs": 2, "maxConcurrentCreates": 1})
        watch(s)
        await tree(s, turned("none", update=IN_PLACE), limits={"maxVMs": 2, "maxConcurrentCreates": 1})
        assert (await changed(s, old)).files.get(MADE) == b"by hand"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
@pytest.mark.parametrize("at_once", [1, 2])
def test_so_many_nodes_change_at_a_time_and_a_person_may_hold_them(tmp_path: Path, at_once: int) -> None:
    async def story(s: Stage) -> None:
        s.world.boot_seconds = 10.0
        more = {"strategy": {"maxUnavailable": at_once}, "limits": {"maxConcurrentCreates": 5}}
        await tree(s, agent("a"), agent("b", "a"), infra("c", "a"), **more)
        await stands(s)
        before = {m.vm_id for m in s.world.alive()}
        most = [0]
        s.engine.table.on_change.append(lambda *_: most.__setitem__(0, max(most[0], len(s.world.alive()))))
        await s.engine.declarations.annotate(TREE, {"fleet.vers.sh/paused": "yes"})
        await tree(s, infra("a"), infra("b", "a"), agent("c", "a"), **more)
        await pass_time(300)
        assert {m.vm_id for m in s.world.alive()} == before
        assert "paused" in s.message(TREE, "Ready")
        await s.engine.declarations.annotate(TREE, {"fleet.vers.sh/paused": ""})
        await stands(s)
        assert before.isdisjoint(m.vm_id for m in s.world.alive())
        assert len(s.world.alive()) == 3
        assert most == [3 + at_once]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
@BOTH
def test_a_change_that_is_taken_back_costs_neither_the_machine_nor_its_files(tmp_path: Path, had: str) -> None:
    async def story(s: Stage) -> None:
        s.world.boot_seconds = 20.0
        old = await worked(s, had)
        await tree(s, turned(had))
        await s.until(lambda: len(s.world.alive()) == 2, "another machine is made")
        await tree(s, of(had))
        await s.until(lambda: s.engine.table.get(other_key(had)) is None and s.world.alive() == [old], "the other one is gone")
        await stands(s)
        assert old.files.get(MADE) == b"by hand"
        assert s.record(key_of(had)).slot.vm_id == old.vm_id
        if had == "agent":
            assert await s.ends(await s.task("one", to="prod-a")) == "Succeeded"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
@BOTH
def test_a_machine_that_can_not_be_prepared_costs_none_that_works(tmp_path: Path, had: str) -> None:
    async def story(s: Stage) -> None:
        old = await worked(s, had)
        await profile(s, **BROKEN)
        await tree(s, turned(had, profileRef=OWN))
        await s.says(TREE, "Stalled", "NodesStalled")
        await pass_time(900)
        assert old in s.world.alive()
        assert s.condition(key_of(had), "Ready") == "True"
        watch(s)
        await profile(s, **BEFORE)
        assert (await changed(s, old)).files.get(MADE) == b"by hand"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-11")
@pytest.mark.guarantee("G-14")
@BOTH
def test_before_it_goes_a_commit_of_it_is_listed_where_that_is_declared(tmp_path: Path, had: str) -> None:
    async def story(s: Stage) -> None:
        snapshots = {"beforeMutate": True, "verify": "None"}
        old = await worked(s, had, snapshots=snapshots)
        await tree(s, turned(had), snapshots=snapshots)
        await changed(s, old)
        assert [commit.parent_vm_id for commit in commits(s)] == [old.vm_id]

    tell(tmp_path, story)


@pytest.mark.guarantee("G-08")
@pytest.mark.guarantee("G-14")
@BOTH
def test_a_tree_that_is_suspended_meanwhile_sleeps_and_goes_on_when_it_runs(tmp_path: Path, had: str) -> None:
    async def story(s: Stage) -> None:
        s.world.boot_seconds = 20.0
        old = await worked(s, had)
        watch(s)
        await tree(s, turned(had))
        await s.until(lambda: len(s.world.alive()) == 2, "another machine is made")
        await tree(s, turned(had), mode="Suspended")
        await s.until(lambda: all(m.state is VmState.SUSPENDED for m in s.world.alive()), "all of it sleeps")
        await pass_time(600)
        assert old in s.world.alive()
        assert all(m.state is VmState.SUSPENDED for m in s.world.alive())
        await tree(s, turned(had))
        assert (await changed(s, old)).files.get(MADE) == b"by hand"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_an_agent_that_rests_is_woken_for_its_files(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        own = {"role": "a", "idle": {"suspendAfterSeconds": 120}}
        await tree(s, agent("a", lieutenant=own))
        await stands(s)
        old = s.world.machines[vm_of(s, "a")]
        old.files[MADE] = b"by hand"
        watch(s)
        await s.until(lambda: old.state is VmState.SUSPENDED, "it rests")
        await tree(s, infra("a"))
        assert (await changed(s, old)).files.get(MADE) == b"by hand"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-41")
def test_a_plan_says_that_another_machine_is_made_and_what_goes_then(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        old = await worked(s, "agent")
        await s.engine.stop()
        await tree(s, turned("agent"))
        steps = (await plan_everything(s.engine)).steps
        told = {step.action.verb: step for step in steps}
        assert old.vm_id in told["ChangeNode"].action.because
        assert told["Create"].key == other_key("agent")
        assert s.world.created == 1

    tell(tmp_path, story)
