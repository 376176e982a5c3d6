"""A store that was lost: what is declared again finds its machine by the claim on it, and goes on with its conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.vmtree import Category, VMTreeSpec
from reconciler.core.fleet.orphans import Standing
from reconciler.core.keys import Key
from tests.engine.stage import LT, SETTINGS, Stage, pass_time, tell
from tests.engine.test_trees import TREE, agent, infra, nodes, stands, tree


async def lose_the_store(s: Stage) -> None:
    """The controller ends, its store is gone, and another life begins with an empty one, which reads the claims first."""
    await s.controller.down()
    for file in s.controller.path.parent.glob(f"{s.controller.path.name}*"):
        file.unlink()
    await s.controller.up()
    s.engine.declarations.claimed = await s.engine.restore.claimed()


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-32")
def test_a_lieutenant_finds_its_machine_and_goes_on_with_its_conversation(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant()
        machine = await s.ready()
        assert await s.ends(await s.task("one", "remember 42")) == "Succeeded"
        said = machine.session
        await lose_the_store(s)
        await s.lieutenant()
        assert await s.ready() is machine
        await pass_time(300)
        assert s.world.alive() == [machine]
        assert machine.session.startswith(said)
        assert await s.ends(await s.task("two", "and now?")) == "Succeeded"
        assert machine.session.startswith(said)
        assert s.record(LT).slot.vm_id == machine.vm_id

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
def test_every_node_of_a_tree_finds_its_machine(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        whole = (infra("root"), agent("a", "root"), agent("w", "a", replicas=2))
        await tree(s, *whole)
        await stands(s)
        before = {name: node["vmId"] for name, node in nodes(s).items()}
        await lose_the_store(s)
        await tree(s, *whole)
        await stands(s)
        await pass_time(300)
        assert {name: node["vmId"] for name, node in nodes(s).items()} == before
        assert len(s.world.alive()) == 4
        assert s.engine.table.get(TREE) is not None

    tell(tmp_path, story)


@pytest.mark.guarantee("G-02")
def test_a_claim_is_taken_up_once(tmp_path: Path) -> None:
    """Deleted and declared again in the same life, it is another object with a machine and a conversation of its own."""

    async def story(s: Stage) -> None:
        await s.lieutenant()
        first = await s.ready()
        await lose_the_store(s)
        await s.lieutenant()
        assert await s.ready() is first
        before = s.engine.table.get(LT)
        await s.delete(LT)
        await s.gone(LT)
        assert s.world.alive() == []
        await s.lieutenant()
        after = s.engine.table.get(LT)
        assert before is not None
        assert after is not None
        assert after.uid != before.uid
        assert s.record(LT).slot.vm_id != first.vm_id
        second = await s.ready()
        assert second is not first
        assert s.world.alive() == [second]

    tell(tmp_path, story)


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
