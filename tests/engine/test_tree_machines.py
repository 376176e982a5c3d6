"""Nodes without an agent: their snapshots are looked at, their machines are replaced for a changed profile, they take what is kept
ready, and live copies are made of them and for them, all as it is for a lieutenant."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from reconciler.core.keys import Key, machine_of_node
from reconciler.core.lieutenant.replacement import PATIENCE
from reconciler.core.slot import claims
from reconciler.engine.planning import plan_everything
from reconciler.errors import GuestUnreachable, Indeterminate
from tests.conformance.kstatus import conditions_of
from tests.engine.stage import Stage, failing, losing, pass_time, tell, tell_hours
from tests.engine.stage import declared as document
from tests.engine.test_profiles import AFTER, BEFORE, PROFILE, made, profile
from tests.engine.test_replacement import BROKEN
from tests.engine.test_rollout import machines
from tests.engine.test_snapshots import at_the_hour, commits
from tests.engine.test_trees import TREE, agent, infra, nodes, stands, tree
from tests.engine.test_warm import are_ready, keeping
from tests.world import Machine, false_fails

OWN = {"name": PROFILE.name}
RECREATE = {"onProfileChange": "Recreate"}
ROOT = Path(__file__).parents[2]
MADE = "/root/workspace/made.txt"


def key_of(name: str) -> Key:
    return machine_of_node(TREE, name)


def the(s: Stage, name: str) -> Machine:
    """The machine of a node."""
    return s.world.machines[str(nodes(s)[name]["vmId"])]


async def three(s: Stage, first: dict[str, object], **spec: object) -> dict[str, str]:
    """A tree of three machines without an agent, of one profile; their machines, by node."""
    s.world.commands = false_fails
    await profile(s, **first)
    await tree(s, *(infra(name, profileRef=OWN, update=RECREATE) for name in ("a", "b", "c")), **spec)
    await stands(s)
    return machines(s)


async def are_others(s: Stage, before: dict[str, str]) -> None:
    await s.until(
        lambda: set(machines(s).values()).isdisjoint(before.values()) and len(s.world.alive()) == len(before), "all are of the new one"
    )


# --- snapshots ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-11")
def test_a_snapshot_of_it_is_restored_for_a_look_and_status_says_which(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("db"), snapshots={"schedule": "0 * * * *", "keep": 3, "verify": "All"})
        await stands(s)
        there = the(s, "db")
        for _ in range(2):
            await at_the_hour(s)
            await pass_time(60)
        assert [c.check for c in s.record(key_of("db")).slot.commits] == ["Restored", "Restored"]
        assert s.status(key_of("db"))["snapshots"]["verified"] == "Restored"
        assert s.world.alive() == [there]
        assert s.world.created == 3
        await stands(s)

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-11")
def test_a_snapshot_of_it_that_can_not_be_restored_is_told_and_the_one_before_stays(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("db"), snapshots={"schedule": "0 * * * *", "keep": 1, "verify": "All"})
        await stands(s)
        there = the(s, "db")
        await at_the_hour(s)
        await pass_time(60)
        (good,) = commits(s)
        await pass_time(3590 - s.world.now() % 3600)
        there.claim = {**(there.claim or {}), "uid": "another"}
        await pass_time(900)
        assert good in commits(s), "the last one that is known to be good"
        assert s.reason(key_of("db"), "SnapshotsFailing") == "NotRestorable"
        assert s.world.alive() == [there]

    tell_hours(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_a_tree_that_goes_takes_the_machine_that_is_looked_at_along(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("db"), snapshots={"schedule": "0 * * * *", "verify": "All"})
        await stands(s)
        await s.until(lambda: s.world.created == 2, "one is restored for a look")
        await s.delete(TREE)
        await s.gone(TREE)
        assert s.world.alive() == []

    tell_hours(tmp_path, story)


def test_nothing_that_is_told_of_it_is_of_an_agent(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("base"), infra("db", parent="base"))
        await stands(s)
        s.weather.rules["keeper.observe"] = failing(lambda: GuestUnreachable("no answer"))
        await s.until(lambda: s.reason(key_of("db"), "Ready") == "KeeperUnreachable", "its keeper does not answer")
        assert s.status(key_of("db"))["phase"] == "Unreachable"
        told = {event.reason for event in s.controller.told}
        assert "InstalledTools" in told
        shown = {str(one["reason"]) for status in s.controller.statuses for one in conditions_of(status).values()}
        assert [reason for reason in told | shown if "Agent" in reason] == []

    tell(tmp_path, story)


# --- a rollout ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-14")
@pytest.mark.guarantee("G-44")
@pytest.mark.parametrize("at_once", [1, 2])
def test_so_many_at_a_time_get_another_machine_with_their_files(tmp_path: Path, at_once: int) -> None:
    async def story(s: Stage) -> None:
        s.world.boot_seconds = 10.0
        before = await three(s, BEFORE, strategy={"maxUnavailable": at_once}, limits={"maxConcurrentCreates": 5})
        the(s, "b").files[MADE] = b"by hand"
        most = [0]
        s.engine.table.on_change.append(lambda *_: most.__setitem__(0, max(most[0], len(s.world.alive()))))
        await profile(s, **AFTER)
        await are_others(s, before)
        await stands(s)
        assert most[0] == 3 + at_once
        assert the(s, "b").files.get(MADE) == b"by hand"
        assert "rollout" not in s.status(TREE)
        assert s.happened("Replaced") == 3

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
@pytest.mark.guarantee("G-44")
def test_without_it_being_declared_a_machine_keeps_the_profile_that_it_was_made_with(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await profile(s, **BEFORE)
        await tree(s, infra("db", profileRef=OWN))
        await stands(s)
        before = the(s, "db")
        await profile(s, **AFTER)
        await pass_time(900)
        assert the(s, "db") is before
        assert s.reason(key_of("db"), "UpToDate") == "ProfileChanged"
        assert s.world.created == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_the_first_that_does_not_come_through_stops_it_and_costs_no_machine(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        before = await three(s, BEFORE)
        await profile(s, **BROKEN)
        await s.until(lambda: s.status(TREE).get("rollout", {}).get("state") == "Stopped", "it stops")
        await pass_time(600)
        assert machines(s) == before
        assert len(s.status(TREE)["rollout"]["failed"]) == 1
        assert s.world.created == 4
        assert len(s.world.alive()) == 3
        await profile(s, **BEFORE)
        await stands(s)
        assert machines(s) == before

    tell(tmp_path, story)


def test_a_person_holds_it_and_lets_it_go_on(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        before = await three(s, BEFORE)
        await s.engine.declarations.annotate(TREE, {"fleet.vers.sh/paused": "yes"})
        await profile(s, **AFTER)
        await s.until(lambda: s.status(TREE).get("rollout", {}).get("state") == "Paused", "it is held")
        await pass_time(300)
        assert machines(s) == before
        await s.engine.declarations.annotate(TREE, {"fleet.vers.sh/paused": ""})
        await are_others(s, before)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_another_profile_of_the_node_is_undone_by_declaring_the_one_before(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.commands = false_fails
        await profile(s, **BROKEN)
        good = infra("db", update=RECREATE)
        await tree(s, good)
        await stands(s)
        before = the(s, "db")
        await tree(s, {**good, "profileRef": OWN})
        await s.until(lambda: s.status(TREE).get("rollout", {}).get("state") == "Stopped", "it stops")
        assert the(s, "db") is before
        await tree(s, good)
        await stands(s)
        assert the(s, "db") is before
        assert len(s.world.alive()) == 1

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_the_old_machine_is_taken_back_when_the_new_one_falls_silent(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await profile(s, **BEFORE)
        await tree(s, infra("db", profileRef=OWN, update=RECREATE))
        await stands(s)
        before = the(s, "db")

        def mute(*_: object) -> None:
            if s.record(key_of("db")).replacement.state == "Taken":
                s.world.machines[s.record(key_of("db")).slot.vm_id].reachable = False

        s.engine.table.on_change.append(mute)
        await profile(s, **AFTER)
        await s.until(lambda: s.record(key_of("db")).replacement.state == "Taken", "it is in the slot")
        assert not before.deleted
        await pass_time(PATIENCE + 120)
        await s.until(lambda: s.world.alive() == [before], "the old one is back, alone")
        assert s.reason(key_of("db"), "UpToDate") == "ReplacementFailed"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-11")
@pytest.mark.guarantee("G-14")
def test_before_it_is_replaced_a_commit_of_it_is_listed_where_that_is_declared(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        before = await three(s, BEFORE, snapshots={"beforeMutate": True, "verify": "None"})
        await profile(s, **AFTER)
        await are_others(s, before)
        assert {commit.parent_vm_id for commit in commits(s)} == set(before.values())

    tell(tmp_path, story)


@pytest.mark.guarantee("G-09")
@pytest.mark.guarantee("G-14")
@pytest.mark.parametrize("there", ["Wait", "InPlace"])
def test_without_room_for_both_it_waits_or_goes_first_as_declared(tmp_path: Path, there: str) -> None:
    async def story(s: Stage) -> None:
        await profile(s, **BEFORE)
        await tree(s, infra("db", profileRef=OWN, update={**RECREATE, "onNoRoom": there}), limits={"maxVMs": 1})
        await stands(s)
        before = the(s, "db")
        await profile(s, **AFTER)
        if there == "Wait":
            await pass_time(900)
            assert s.world.alive() == [before]
            return
        await s.until(lambda: before.deleted and len(s.world.alive()) == 1, "it is replaced in its place")
        await stands(s)

    tell(tmp_path, story)


@pytest.mark.guarantee("G-41")
def test_a_plan_says_that_it_is_replaced_and_a_second_one_has_nothing_to_do(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await profile(s, **BEFORE)
        await tree(s, infra("db", profileRef=OWN, update=RECREATE))
        await stands(s)
        await s.engine.stop()
        await profile(s, **AFTER)
        steps = (await plan_everything(s.engine)).steps
        verbs = [step.action.verb for step in steps if step.key == key_of("db")]
        assert verbs[0] == "BeginReplacement"
        assert "CarryOver" in verbs
        assert verbs.index("ConfirmReplacement") > verbs.index("CarryOver")
        assert s.world.created == 1

    tell(tmp_path, story)


# --- what is kept ready ---------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-02")
def test_a_node_takes_what_its_profile_keeps_ready(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await made(s, keeping(1))
        (spare,) = await are_ready(s, 1)
        created = s.world.created
        await tree(s, infra("db", profileRef=OWN))
        await stands(s)
        assert the(s, "db") is spare
        assert s.happened("TookWarmMachine") == 1
        assert spare.labels[claims.UID] == s.engine.table.lieutenant(key_of("db")).uid  # type: ignore[union-attr]
        await are_ready(s, 1)
        assert s.world.created == created + 1
        assert len(s.world.alive()) == 3

    tell(tmp_path, story)


@pytest.mark.guarantee("G-09")
@pytest.mark.guarantee("G-13")
def test_a_node_takes_none_before_its_turn_nor_beyond_the_limits_of_its_tree(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await made(s, keeping(2))
        await are_ready(s, 2)
        s.world.boot_seconds = 30.0
        await tree(s, infra("root"), infra("one", "root", profileRef=OWN), infra("two", "root", profileRef=OWN), limits={"maxVMs": 2})
        await pass_time(20)
        assert s.happened("TookWarmMachine") == 0, "the root comes first"
        await s.until(lambda: s.happened("TookWarmMachine") == 1, "one takes one")
        await pass_time(300)
        assert s.happened("TookWarmMachine") == 1
        assert sorted(node["reason"] for node in nodes(s).values() if not node["ready"]) == ["Capacity"]

    tell(tmp_path, story)


# --- live copies ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-33")
def test_a_live_copy_of_a_machine_without_an_agent_is_made_for_nodes_with_and_without_one(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        root = infra("db")
        await tree(s, root)
        await stands(s)
        source = the(s, "db")
        source.files["/srv/data"] = b"rows"
        copy = {"from": "Parent"}
        await tree(s, root, infra("replica", "db", **copy), agent("clerk", "db", **copy))
        await stands(s)
        for name in ("replica", "clerk"):
            assert the(s, name).branched_from == source.vm_id
            assert the(s, name).files["/srv/data"] == b"rows"
        assert s.world.created == 3
        assert s.status(Key("Lieutenant", "default", "prod-clerk"))["forkedFrom"]["name"] == "prod/db"
        assert await s.ends(await s.task("one", to="prod-clerk")) == "Succeeded"
        assert not s.record(key_of("db")).stand.vm_id, "it does not stand still any longer"
        assert s.world.alive()[0] is source
        assert the(s, "replica").pi is None

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_a_lieutenant_is_a_live_copy_of_the_node_that_it_names(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        clerk = await s.lieutenant("clerk", fork={"from": {"tree": "prod", "name": "db"}})
        await s.says(clerk, "Forked", "ForkSourceNotFound")
        await tree(s, infra("db"))
        await stands(s)
        assert (await s.ready(clerk)).branched_from == the(s, "db").vm_id
        assert s.world.created == 2

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
@pytest.mark.parametrize("told", [True, False])
def test_a_copy_of_it_whose_call_was_not_answered_is_not_made_twice(tmp_path: Path, told: bool) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("db"))
        await stands(s)
        rule = losing if told else failing
        s.weather.rules["vers.create_vm"] = rule(lambda: Indeterminate("connection reset"), times=1)
        await tree(s, infra("db"), infra("replica", "db", **{"from": "Parent"}))
        await stands(s)
        assert len(s.world.alive()) == 2
        assert the(s, "replica").branched_from == the(s, "db").vm_id

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_of_a_suspended_machine_no_copy_is_made_until_it_runs(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, infra("db", mode="Suspended"))
        await stands(s)
        clerk = await s.lieutenant("clerk", fork={"from": {"tree": "prod", "name": "db"}})
        await s.says(clerk, "Forked", "ForkSourceUnavailable")
        await pass_time(120)
        assert s.world.created == 0
        await tree(s, infra("db"))
        assert (await s.ready(clerk)).branched_from == the(s, "db").vm_id

    tell(tmp_path, story)


# --- all of it --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-13")
@pytest.mark.guarantee("G-41")
def test_the_hierarchy_of_the_manifests_comes_to_be_as_its_plan_says(tmp_path: Path) -> None:
    """Every field of it: five categories, a branch of a live agent, replicas, limits, snapshots, a budget."""
    spec = yaml.safe_load((ROOT / "tests" / "manifests" / "valid" / "tree.yaml").read_text())["spec"]
    places = ["infra", "backend", "frontend", "worker-0", "worker-1", "worker-2", "db", "experiment"]

    async def story(s: Stage) -> None:
        await s.engine.stop()
        await s.declare(document(TREE, **spec))
        steps = (await plan_everything(s.engine)).steps
        made = [step.key.name.replace("/", "-").removeprefix("prod-") for step in steps if step.action.verb == "Create"]
        assert sorted(made) == sorted(places)
        assert made.index("infra") < made.index("backend") < min(made.index(name) for name in ("worker-0", "db", "experiment"))
        assert s.world.created == 0
        await s.controller.down()
        await s.alive()
        await stands(s)
        assert set(nodes(s)) == set(places)
        assert len(s.world.alive()) == s.world.created == len(places)
        assert the(s, "experiment").branched_from == the(s, "backend").vm_id
        assert [step.action.verb for step in (await plan_everything(s.engine)).steps] == []

    tell(tmp_path, story)
