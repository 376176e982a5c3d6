"""Whose VM is it: claims."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.keys import Key, SlotOwner
from reconciler.core.slot.claims import (
    EPOCH,
    INTENT,
    NODE,
    RETAINED,
    UID,
    VM_ID,
    Owner,
    birth_labels,
    born_ours,
    claim_file,
    claim_labels,
    claim_over,
    claimed_for,
    is_ours,
    named,
    names,
    other_claim,
    released_labels,
    valid_claim,
)
from reconciler.core.snapshot.vm import Vm, VmState
from tests.core.views import NOW, OTHER, VM

US, THEM = Owner("prod", "installation-1"), Owner("prod", "installation-2")
KEY = Key("Lieutenant", "default", "api")
SLOT = SlotOwner.of(KEY, "uid-1")
NODE_SLOT = SlotOwner.of(Key("VMTree", "default", "tree"), "uid-1", "lead")
ACCOUNT = "account"


def vm(vm_id: str = VM, created_at: float = NOW, owner: str = ACCOUNT, **labels: str) -> Vm:
    return Vm(vm_id, owner, created_at, VmState.RUNNING, labels)


def labelled(found: Vm, labels: dict[str, str]) -> Vm:
    return replace(found, labels=labels)


OURS = labelled(vm(), claim_labels(US, SLOT, 3, VM))


@pytest.mark.guarantee("G-07")
def test_a_claim_is_valid_on_the_vm_it_names_and_nowhere_else() -> None:
    assert valid_claim(OURS)
    assert is_ours(OURS, US)
    branch = labelled(vm(OTHER), dict(OURS.labels))
    assert not valid_claim(branch)
    assert not is_ours(branch, US)
    assert other_claim(branch, THEM) == ""


@pytest.mark.guarantee("G-07")
def test_another_installations_claim_is_named() -> None:
    assert other_claim(OURS, THEM) == "fleet prod, installation installation-1"
    assert other_claim(OURS, US) == ""
    assert other_claim(vm(), US) == ""


def test_the_claim_a_slot_wants_has_its_uid_and_epoch() -> None:
    assert claimed_for(OURS, US, SLOT, 3)
    assert not claimed_for(OURS, US, SLOT, 4)
    assert not claimed_for(OURS, US, SlotOwner.of(KEY, "uid-2"), 3)
    assert not claimed_for(OURS, THEM, SLOT, 3)


@pytest.mark.parametrize("label", sorted(claim_labels(US, NODE_SLOT, 3, VM)))
@pytest.mark.parametrize("value", ["", "another"])
def test_a_claim_with_another_word_in_it_is_as_little_the_one_wanted_as_it_is_ours_or_names_the_slot(label: str, value: str) -> None:
    ours = labelled(vm(), claim_labels(US, NODE_SLOT, 3, VM))
    changed = labelled(ours, {**ours.labels, label: value})
    assert claimed_for(ours, US, NODE_SLOT, 3)
    assert claimed_for(changed, US, NODE_SLOT, 3) is (
        is_ours(changed, US) and names(changed.labels, NODE_SLOT) and changed.labels[EPOCH] == "3"
    )


def test_birth_labels_are_no_claim_and_the_claim_drops_the_intent() -> None:
    born = labelled(vm(), birth_labels(US, SLOT, 1, "t1"))
    assert not valid_claim(born)
    assert born_ours(born, US)
    assert INTENT not in claim_labels(US, SLOT, 1, VM)


@pytest.mark.guarantee("G-67")
def test_the_file_in_the_guest_says_the_same_with_the_whole_id() -> None:
    said = claim_file(US, SLOT, 3, VM)
    assert said == {
        "fleet": "prod", "installation": "installation-1", "kind": "Lieutenant", "namespace": "default", "name": "api", "uid": "uid-1",
        "epoch": "3", "vm-id": VM,
    }  # fmt: skip


# --- the slot of a node -------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-07")
def test_the_claim_of_a_node_names_it_and_is_no_other_slots() -> None:
    nodes = labelled(vm(), claim_labels(US, NODE_SLOT, 3, VM))
    assert nodes.labels[NODE] == "lead"
    assert is_ours(nodes, US)
    assert claimed_for(nodes, US, NODE_SLOT, 3)
    for other in ("", "other"):
        assert not claimed_for(nodes, US, SlotOwner.of(NODE_SLOT.object, "uid-1", other), 3)
    assert claim_file(US, NODE_SLOT, 3, VM)["node"] == "lead"


@pytest.mark.guarantee("G-07")
def test_a_claim_of_an_earlier_release_is_that_of_the_objects_own_slot() -> None:
    """Written out as that release wrote it: nothing of it has changed, so no VM is claimed anew."""
    written = {
        "fleet.vers.sh/fleet": "prod",
        "fleet.vers.sh/installation": "installation-1",
        "fleet.vers.sh/kind": "Lieutenant",
        "fleet.vers.sh/namespace": "default",
        "fleet.vers.sh/name": "api",
        "fleet.vers.sh/uid": "uid-1",
        "fleet.vers.sh/epoch": "3",
        "fleet.vers.sh/vm-id": VM,
    }
    assert claimed_for(labelled(vm(), written), US, SLOT, 3)
    assert claim_labels(US, SLOT, 3, VM) == written


def test_a_claim_over_another_one_leaves_nothing_of_it() -> None:
    """Labels can only be written over: what the new claim does not say must be said to be empty."""
    kept = {**claim_labels(THEM, NODE_SLOT, 7, VM), RETAINED: "default/tree"}
    ours = {**kept, **claim_over(kept, US, SLOT, 8, VM)}
    assert ours[NODE] == ours[RETAINED] == ""
    assert claimed_for(labelled(vm(), ours), US, SLOT, 8)
    nodes = {**kept, **claim_over(kept, US, NODE_SLOT, 8, VM)}
    assert nodes[NODE] == "lead"
    assert claim_over({}, US, SLOT, 8, VM) == claim_labels(US, SLOT, 8, VM)


def test_a_released_node_slot_leaves_no_claim() -> None:
    labels = claim_labels(US, NODE_SLOT, 3, VM)
    left = {**labels, **released_labels(labels)}
    assert left[NODE] == left[UID] == left[VM_ID] == ""
    assert not valid_claim(labelled(vm(), left))


def test_whose_it_is_in_words_and_by_label() -> None:
    assert named(OURS.labels) == "default/api"
    assert named(claim_labels(US, NODE_SLOT, 3, VM)) == "default/tree/lead"
    assert named({}) == "?/?"
    assert names(OURS.labels, SLOT)
    assert not names(OURS.labels, SlotOwner.of(KEY, "uid-1", "lead"))
    assert not names({}, SLOT)
