"""A changed profile goes through a tree: so many nodes at a time, to the first that does not come through it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.core.keys import Json
from reconciler.core.tree.rollout import differences, good_before, rolled_out
from tests.engine.stage import Stage, pass_time, tell
from tests.engine.test_profiles import AFTER, BEFORE, PROFILE, profile
from tests.engine.test_replacement import BROKEN
from tests.engine.test_trees import TREE, agent, nodes, stands, tree
from tests.world import false_fails

PLACES = ("a", "b", "c")
RECREATE = {"role": "x", "update": {"onProfileChange": "Recreate"}}


async def three(s: Stage, first: dict[str, object], **spec: object) -> dict[str, str]:
    """A tree of three nodes of one profile; their machines, by node."""
    s.world.commands = false_fails
    await profile(s, **first)
    await tree(s, *(agent(name, profileRef={"name": PROFILE.name}, lieutenant=RECREATE) for name in PLACES), **spec)
    await stands(s)
    return machines(s)


def machines(s: Stage) -> dict[str, str]:
    return {name: str(node.get("vmId", "")) for name, node in nodes(s).items()}


@pytest.mark.guarantee("G-14")
def test_one_node_at_a_time_gets_another_machine(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        before = await three(s, BEFORE)
        most = [0]
        s.engine.table.on_change.append(lambda *_: most.__setitem__(0, max(most[0], len(s.world.alive()))))
        await profile(s, **AFTER)
        await s.until(lambda: set(machines(s).values()).isdisjoint(before.values()) and len(s.world.alive()) == 3, "all are of the new one")
        await stands(s)
        assert most[0] == 4

    tell(tmp_path, story)


@pytest.mark.guarantee("G-14")
def test_it_stops_at_the_first_that_does_not_come_through_and_nothing_that_worked_is_lost(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        before = await three(s, BEFORE)
        await profile(s, **BROKEN)
        await s.until(lambda: s.status(TREE).get("rollout", {}).get("state") == "Stopped", "it stops")
        await pass_time(600)
        assert machines(s) == before
        assert len(s.status(TREE)["rollout"]["failed"]) == 1
        await profile(s, **AFTER)
        await s.until(lambda: set(machines(s).values()).isdisjoint(before.values()) and len(s.world.alive()) == 3, "it goes on")

    tell(tmp_path, story)


def test_a_paused_one_begins_nothing_until_it_goes_on(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        before = await three(s, BEFORE)
        await s.engine.declarations.annotate(TREE, {"fleet.vers.sh/paused": "yes"})
        await profile(s, **AFTER)
        await s.until(lambda: s.status(TREE).get("rollout", {}).get("state") == "Paused", "it is held")
        await pass_time(300)
        assert machines(s) == before
        await s.engine.declarations.annotate(TREE, {"fleet.vers.sh/paused": ""})
        await s.until(lambda: set(machines(s).values()).isdisjoint(before.values()) and len(s.world.alive()) == 3, "it goes on")

    tell(tmp_path, story)


def test_more_nodes_at_a_time_where_the_strategy_says_so(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.boot_seconds = 10.0
        before = await three(s, BEFORE, strategy={"maxUnavailable": 2}, limits={"maxConcurrentCreates": 5})
        most = [0]
        s.engine.table.on_change.append(lambda *_: most.__setitem__(0, max(most[0], len(s.world.alive()))))
        await profile(s, **AFTER)
        await s.until(lambda: set(machines(s).values()).isdisjoint(before.values()) and len(s.world.alive()) == 3, "all are of the new one")
        assert most[0] == 5

    tell(tmp_path, story)


def test_what_all_were_ready_with_is_remembered_and_can_be_gone_back_to(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await tree(s, agent("a"), agent("b"))
        await stands(s)
        good = s.engine.table.get(TREE).obj.spec  # type: ignore[union-attr]
        await tree(s, agent("a", profileRef={"name": "nowhere"}), agent("b"), mode="Running")
        await s.says(TREE, "Reconciling", "NodesChanging")
        item = s.engine.table.get(TREE)
        assert item is not None
        before = good_before(item.record.revisions, item.obj.spec)  # type: ignore[attr-defined]
        assert before == rolled_out(good)
        changes = differences(rolled_out(item.obj.spec), before)
        assert changes == [(("nodes", "0", "profileRef", "name"), "lightweight")], "and its mode stays"

    tell(tmp_path, story)


def test_who_was_put_to_sleep_and_how_many_there_are_is_no_rollout() -> None:
    node: Json = {"name": "a", "profileRef": {"name": "own"}, "replicas": 2}
    now: Json = {"mode": "Running", "nodes": [{**node, "mode": "Suspended", "replicas": 3}]}
    kept = [json.dumps(one) for one in ({"nodes": [{**node, "profileRef": {"name": "old"}}]}, {"mode": "Suspended", "nodes": [node]}, now)]
    assert good_before(kept[1:], now) is None, "they differ in nothing that was rolled out"
    before = good_before(kept, now)
    assert before is not None
    assert differences(rolled_out(now), before) == [(("nodes", "0", "profileRef", "name"), "old")]


def test_an_undo_takes_no_node_back() -> None:
    assert differences({"nodes": [1, 2]}, {"nodes": [1]}) is None
