"""A done-mark is valid like a claim: on its machine, while that is in its slot (G-07)."""

from __future__ import annotations

import pytest

from reconciler.core.records import SlotRecord
from reconciler.core.slot.marks import MOST_SEALS, sealed, seals_of, valid
from tests.core.views import OTHER, VM

HERE = SlotRecord(vm_id=VM, epoch=5, filled=3)
EARLIER = SlotRecord(vm_id=VM, epoch=5)
MARK = {"prepared": sealed("digest", VM, HERE)}


def test_a_mark_is_valid_where_it_was_written() -> None:
    assert valid(MARK, VM, HERE) == {"prepared": "digest"}
    assert valid(MARK, VM, HERE.but(epoch=9)) == {"prepared": "digest"}, "an epoch raised for a move leaves the machine what it is"


@pytest.mark.parametrize(
    ("place", "slot"),
    [
        (OTHER, HERE.but(vm_id=OTHER)),
        (OTHER, EARLIER.but(vm_id=OTHER)),
        (VM, HERE.but(filled=4)),
        ("local-of-it", HERE),
    ],
    ids=["a copy of its disk", "a copy, read back from a cluster", "the same machine in another slot", "a directory here"],
)
def test_a_mark_is_valid_nowhere_else(place: str, slot: SlotRecord) -> None:
    assert valid(MARK, place, slot) == {}


def test_marks_of_an_earlier_release_hold_only_where_that_release_filled_the_slot() -> None:
    assert valid({"prepared": "digest"}, VM, EARLIER) == {"prepared": "digest"}
    assert valid({"prepared": "digest"}, VM, HERE) == {}
    assert valid(MARK, VM, EARLIER) == {"prepared": "digest"}


@pytest.mark.parametrize("text", ["", " ", "digest /", f"digest {VM}", f"digest {VM}/", f"digest {VM}/x", f"digest x{VM}/3", "a b c/3"])
def test_a_mark_that_makes_no_sense_is_none(text: str) -> None:
    assert valid({"prepared": text}, VM, HERE) == {}


@pytest.mark.guarantee("G-33")
def test_on_a_live_copy_what_was_put_and_run_counts_and_what_was_checked_does_not() -> None:
    copy = SlotRecord(vm_id=OTHER, epoch=2, filled=2, seals=(f"{VM}/3",))
    names = ("files", "organs", "step:tools", "verify:works", "prepared", "agent", "secrets")
    marks = {name: sealed(name, VM, HERE) for name in names}
    assert set(valid(marks, OTHER, copy)) == {"files", "organs", "step:tools"}
    assert valid(marks, "local-of-it", copy) == {}
    assert valid({"files": sealed("x", VM, HERE.but(filled=2))}, OTHER, copy) == {}, "of the machine in an earlier slot"


@pytest.mark.guarantee("G-11")
def test_on_a_machine_that_was_restored_all_marks_of_the_one_that_was_committed_hold() -> None:
    restored = SlotRecord(vm_id=OTHER, epoch=2, filled=2, seals=seals_of(HERE), restored_from="c")
    names = ("files", "step:tools", "verify:works", "prepared", "agent", "secrets")
    marks = {name: sealed(name, VM, HERE) for name in names}
    assert set(valid(marks, OTHER, restored)) == set(names)
    assert valid(marks, "local-of-it", restored) == {}
    assert seals_of(restored) == (f"{OTHER}/2", f"{VM}/3"), "what is made of that one in turn"
    assert len(seals_of(restored.but(seals=tuple(f"vm/{n}" for n in range(50))))) == MOST_SEALS
