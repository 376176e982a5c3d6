"""The acts and the observation of slots, on a kind with many: each node of a tree has a VM of its own, and nothing of them mixes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import Field

from reconciler.core.decisions import SlotAction, Wait
from reconciler.core.keys import Key, SlotOwner
from reconciler.core.records import Record, SlotRecord
from reconciler.core.slot import policies
from reconciler.core.slot.item import SlotDeclaration, SlotUse
from reconciler.core.snapshot.machine import CommitSource, RootSource, VmShape, VmSource
from reconciler.core.snapshot.slot import DesiredState, EffectiveDeletion
from reconciler.engine.act.slot import SlotActs
from reconciler.engine.kinds.stock import STOCK
from reconciler.engine.state.declared import Declared
from reconciler.errors import Indeterminate
from tests.engine.stage import SETTINGS, Stage, failing, losing, pass_time
from tests.faults.harness import virtual
from tests.world import FOREIGN, Machine, World

TREE = Key("VMTree", "default", "tree")
NODES = [{"name": name, "category": "Infra", "profileRef": {"name": "lightweight"}} for name in ("left", "right")]
COMMIT = "00000000-0000-4000-9000-0000000000c1"


class TreeRecord(Record):
    nodes: Mapping[str, SlotRecord] = Field(default_factory=dict)

    def slots(self) -> Mapping[str, SlotRecord]:
        return self.nodes


@dataclass(frozen=True)
class Blueprint:
    source: VmSource
    shape: VmShape
    machine_hash: str = "made-from"
    seals: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeSlot:
    """A node's slot, as a plug-in for trees would have it."""

    owner: SlotOwner
    record: SlotRecord
    declared: SlotDeclaration
    conversation: str = ""

    def changed(self, record: Record, slot: SlotRecord) -> Record:
        assert isinstance(record, TreeRecord)
        return record.but(nodes={**record.nodes, self.owner.node: slot})

    def filled(self, record: Record, slot: SlotRecord, machine: str) -> Record:
        return self.changed(record, slot)

    def emptied(self, record: Record, slot: SlotRecord, lost: str) -> Record:
        return self.changed(record, slot)

    @property
    def session(self) -> str:
        return ""

    def released(self, record: Record) -> Record | None:
        assert isinstance(record, TreeRecord)
        left = {name: slot for name, slot in record.nodes.items() if name != self.owner.node}
        return record.but(nodes=left) if left else None


class Tree:
    """Drives the slots of one tree as a plug-in would: observe, decide by the policies of every slot, act."""

    def __init__(self, run: Stage) -> None:
        self.run = run
        self.acts = SlotActs(run.engine.tools)
        self.wanted = SlotDeclaration(DesiredState.RUNNING)
        self.blueprint = Blueprint(RootSource(), VmShape())

    def record(self, node: str) -> SlotRecord:
        item = self.run.engine.table.get(TREE)
        assert item is not None
        return item.record.slots().get(node, SlotRecord())

    def slot(self, node: str) -> NodeSlot:
        item = self.run.engine.table.get(TREE)
        assert item is not None
        return NodeSlot(SlotOwner.of(TREE, item.uid, node), self.record(node), self.wanted)

    def machine(self, node: str) -> Machine:
        return self.run.world.machines[self.record(node).vm_id]

    async def step(self, node: str) -> str:
        """One look at one node and what follows; the name of the decision."""
        slots, slot = self.run.engine.gatherer.slots, self.slot(node)
        seen = await slots.slot(slot, await slots.observe_vm(slot), SlotUse(), self.blueprint.source, self.run.world.now())
        decided = policies.plan(seen)
        if isinstance(decided, SlotAction):
            await self.acts.act(slot, seen.vm, self.blueprint, decided)
        elif isinstance(decided, Wait):
            await pass_time(1)
        return type(decided).__name__

    async def until(self, node: str, *names: str) -> None:
        for _ in range(400):
            if self.run.engine.table.get(TREE) is None or await self.step(node) in names:
                return
        raise AssertionError(f"{node} never came to {names}; {self.record(node)}")


def grow(tmp_path: Path, story: object) -> Stage:
    async def main() -> Stage:
        run = Stage(World(), tmp_path / "state.db", SETTINGS)
        run.controller.kinds = [replace(one, record=TreeRecord) if one.name == TREE.kind else one for one in STOCK]
        run.world.make({}, owner=FOREIGN)
        try:
            await run.alive()
            await run.declare(Declared(TREE, {"nodes": NODES}, {}, {}, "api"))  # type: ignore[dict-item]
            await story(run, Tree(run))  # type: ignore[operator]
        finally:
            await run.controller.down()
        assert run.world.violations == []
        assert run.world.foreign_effects == 0
        return run

    return virtual(main)


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-07")
def test_each_node_has_a_vm_of_its_own_with_a_claim_that_names_it(tmp_path: Path) -> None:
    async def story(run: Stage, tree: Tree) -> None:
        for node in ("left", "right"):
            await tree.until(node, "Steady")
        left, right = tree.machine("left"), tree.machine("right")
        assert left is not right
        for node, machine in (("left", left), ("right", right)):
            assert machine.labels["fleet.vers.sh/node"] == node
            assert machine.labels["fleet.vers.sh/name"] == "tree"
            slot = run.engine.table.owner_of(machine.vm_id)
            assert str(slot) == f"VMTree/default/tree/{node}"
        assert [event.message for event in run.controller.told if event.reason == "CreatedVM"] == [
            f"node left: VM {left.vm_id}",
            f"node right: VM {right.vm_id}",
        ]
        await run.controller.down()
        await run.alive()
        again = Tree(run)
        assert [again.machine(node) for node in ("left", "right")] == [left, right]
        assert [await again.step(node) for node in ("left", "right")] == ["Steady", "Steady"]
        assert run.world.created == 2

    grow(tmp_path, story)


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("source", [RootSource(), CommitSource(COMMIT)])
def test_unanswered_creates_of_two_nodes_each_find_their_own_vm(source: VmSource, tmp_path: Path) -> None:
    async def story(run: Stage, tree: Tree) -> None:
        tree.blueprint = Blueprint(source, VmShape())
        run.weather.rules["vers.create_vm"] = losing(lambda: Indeterminate("connection reset"), times=2)
        for node in ("left", "right"):
            assert await tree.step(node) == "Create"
        assert [one.owner.node for one in (await run.engine.store.load()).intents] == ["left", "right"]
        for node in ("right", "left"):  # the later one looks first
            await tree.until(node, "Steady")
        assert tree.machine("left").vm_id < tree.machine("right").vm_id, "the older VM is that of the older create"
        assert run.world.created == 2
        assert (await run.engine.store.load()).intents == ()

    grow(tmp_path, story)


@pytest.mark.guarantee("G-02")
def test_a_create_without_effect_of_one_node_is_given_up_and_the_other_keeps_its_vm(tmp_path: Path) -> None:
    async def story(run: Stage, tree: Tree) -> None:
        run.weather.rules["vers.create_vm"] = failing(lambda: Indeterminate("connection reset"), times=1)
        assert await tree.step("left") == "Create"
        await tree.until("right", "Steady")
        kept = tree.machine("right")
        await tree.until("left", "Steady")
        assert tree.machine("right") is kept
        assert tree.machine("left") is not kept
        assert run.world.created == 2

    grow(tmp_path, story)


@pytest.mark.guarantee("G-05")
def test_nodes_go_one_by_one_and_the_tree_with_the_last(tmp_path: Path) -> None:
    async def story(run: Stage, tree: Tree) -> None:
        for node in ("left", "right"):
            await tree.until(node, "Steady")
        left, right = tree.machine("left"), tree.machine("right")
        tree.wanted = SlotDeclaration(DesiredState.GONE, EffectiveDeletion.SNAPSHOT)
        await tree.until("left", "Release")
        (taken,) = run.world.commits.values()
        assert taken.name.startswith("default.default.tree.left.")
        assert left.deleted
        assert not right.deleted
        item = run.engine.table.get(TREE)
        assert item is not None
        assert set(item.record.slots()) == {"right"}
        tree.wanted = SlotDeclaration(DesiredState.GONE, EffectiveDeletion.RETAIN)
        await tree.until("right", "Release")
        assert run.engine.table.get(TREE) is None
        assert not right.deleted
        assert right.labels["fleet.vers.sh/retained"] == "default/tree/right"
        assert run.happened("Deleted") == 2

    grow(tmp_path, story)


def test_the_slot_of_an_earlier_life_of_the_tree_is_not_filled_by_the_present_one(tmp_path: Path) -> None:
    async def story(run: Stage, tree: Tree) -> None:
        await tree.until("left", "Steady")
        table, owner = run.engine.table, tree.slot("left").owner
        assert table.filled(owner)
        assert not table.filled(owner._replace(uid="uid-of-an-earlier-life"))
        assert not table.filled(tree.slot("right").owner)
        assert not table.filled(SlotOwner.of(TREE, owner.uid))

    grow(tmp_path, story)
