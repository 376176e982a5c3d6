"""Names of objects and of their VM slots."""

from __future__ import annotations

from reconciler.core.keys import Key, SlotKey, SlotOwner
from reconciler.core.records import LieutenantRecord, SlotRecord, TaskRecord

KEY = Key("VMTree", "default", "tree")


def test_a_slot_prints_with_its_node_where_it_has_one() -> None:
    assert str(SlotKey(KEY)) == "VMTree/default/tree"
    assert str(SlotKey(KEY, "lead")) == "VMTree/default/tree/lead"


def test_slots_of_one_object_are_different_and_sorted_behind_it() -> None:
    slots = [SlotKey(KEY, "b"), SlotKey(KEY), SlotKey(Key("Lieutenant", "default", "z"), "z"), SlotKey(KEY, "a")]
    assert [str(one).removeprefix("VMTree/default/") for one in sorted(slots)] == ["Lieutenant/default/z/z", "tree", "tree/a", "tree/b"]
    assert len({*slots, SlotKey(KEY, "a")}) == 4


def test_an_owner_is_of_one_life_of_its_object() -> None:
    owner = SlotOwner.of(KEY, "uid-1", "lead")
    assert (owner.object, owner.node, owner.uid) == (KEY, "lead", "uid-1")
    assert owner == SlotOwner(SlotKey(KEY, "lead"), "uid-1")
    assert len({owner, SlotOwner.of(KEY, "uid-2", "lead"), SlotOwner.of(KEY, "uid-1")}) == 3


def test_a_record_tells_of_its_slots() -> None:
    slot = SlotRecord(vm_id="vm-1")
    assert LieutenantRecord(slot=slot).slots() == {"": slot}
    assert TaskRecord().slots() == {}
