"""A cold start: the store is lost, and the platform's machines are all that is left of the fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.vmtree import Category, VMTreeSpec
from reconciler.core.fleet.orphans import Standing
from reconciler.core.keys import Key
from tests.engine.stage import SETTINGS, Stage, pass_time, tell
from tests.engine.test_lost_store import lose_the_store
from tests.engine.test_trees import TREE, agent, infra, nodes, stands, tree


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-03")
@pytest.mark.guarantee("G-07")
def test_a_cold_start_takes_back_a_tree_of_every_category_makes_nothing_for_a_window_and_deletes_nothing(tmp_path: Path) -> None:
    """With a machine that was being made when the store was lost: it carries no claim, so it is only suspected to be ours."""

    async def story(s: Stage) -> None:
        whole = (
            infra("base"),
            agent("lead", "base"),
            agent("helper", "lead", category="Agent"),
            agent("hand", "lead", category="Swarm", replicas=2),
            infra("db", "lead", category="Resource"),
        )
        await tree(s, *whole, limits={"maxConcurrentCreates": 5})
        await stands(s)
        before = {name: node["vmId"] for name, node in nodes(s).items()}
        assert {place.category for place in tree_of(s).nodes} == set(Category)
        s.weather.rules["vers.create_vm"] = never_answered
        await s.lieutenant("extra")
        await s.until(lambda: len(s.world.alive()) == 7, "it is made, and nobody knows")
        (unknown,) = [machine for machine in s.world.alive() if machine.vm_id not in before.values()]
        del s.weather.rules["vers.create_vm"]
        await lose_the_store(s)
        await tree(s, *whole, limits={"maxConcurrentCreates": 5})
        await s.lieutenant("extra")
        await pass_time(SETTINGS.empty_store_seconds - 5)
        assert len(s.world.alive()) == 7, "nothing is made before late effects of an earlier life would have shown"
        await stands(s)
        assert {name: node["vmId"] for name, node in nodes(s).items()} == before
        fresh = await s.ready(Key("Lieutenant", "default", "extra"))
        assert fresh is not unknown
        await pass_time(300)
        assert {vm_id: stray.standing for vm_id, stray in s.engine.orphans.found.items()} == {unknown.vm_id: Standing.SUSPECTED}
        assert "fleet.vers.sh/vm-id" not in unknown.labels
        assert s.world.deletes == []
        assert len(s.world.alive()) == 8

    tell(tmp_path, story)


async def never_answered(act: Callable[[], Awaitable[Any]]) -> Any:
    await act()
    await asyncio.Event().wait()


def tree_of(s: Stage) -> VMTreeSpec:
    item = s.engine.table.get(TREE)
    assert item is not None
    assert isinstance(item.spec, VMTreeSpec)
    return item.spec
