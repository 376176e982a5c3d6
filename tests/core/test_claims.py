"""Whose VM is it: claims, and the pairing of unanswered creates with the VMs that appeared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.keys import Key, SlotOwner
from reconciler.core.slot.claims import (
    INTENT,
    NODE,
    RETAINED,
    UID,
    VM_ID,
    Owner,
    Pending,
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
    pair,
    released_labels,
    strangers,
    valid_claim,
)
from reconciler.core.snapshot.vm import Vm, VmMetadata, VmState
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


# --- pairing ------------------------------------------------------------------------------------------------------------------

COMMIT = "commit-1"
FRESH = Pending("t1", "", NOW, NOW)
RESTORED = Pending("t1", COMMIT, NOW, NOW)


def lineage(*vms: Vm, commit: str = COMMIT) -> dict[str, VmMetadata]:
    return {one.vm_id: VmMetadata(one.vm_id, one.created_at, one.state, commit) for one in vms}


def pairs(pending: list[Pending], vms: list[Vm], owned: frozenset[str] = frozenset(), known: dict[str, VmMetadata] | None = None) -> object:
    return pair(pending, {one.vm_id: one for one in vms}, owned, {}, lineage(*vms) if known is None else known, ACCOUNT)


def test_a_fresh_vm_is_told_by_its_birth_label() -> None:
    born = vm(**{INTENT: "t1"})
    assert pairs([FRESH], [born, vm(OTHER, **{INTENT: "t2"})]) == {"t1": (VM,)}


def test_a_copy_of_a_birth_label_in_a_branch_is_not_it() -> None:
    parent = labelled(vm(), {**birth_labels(US, SLOT, 1, "t1"), **claim_labels(US, SLOT, 1, VM)})
    branch = labelled(vm(OTHER), dict(parent.labels))
    assert pairs([FRESH], [branch]) == {"t1": ()}


def test_an_owned_vm_fits_no_create() -> None:
    assert pairs([FRESH], [vm(**{INTENT: "t1"})], frozenset({VM})) == {"t1": ()}
    assert pairs([RESTORED], [vm()], frozenset({VM})) == {"t1": ()}


@pytest.mark.guarantee("G-02")
def test_restored_ones_are_paired_oldest_with_oldest() -> None:
    second = Pending("t2", COMMIT, NOW, NOW + 1)
    found = pairs([second, RESTORED], [vm(OTHER, NOW + 2), vm(VM, NOW + 1)])
    assert found == {"t1": (VM,), "t2": (OTHER,)}
    assert pairs([second, RESTORED], [vm(VM, NOW + 1)]) == {"t1": (VM,), "t2": ()}


def test_more_vms_than_creates_is_ambiguous_for_each() -> None:
    assert pairs([RESTORED], [vm(OTHER, NOW + 2), vm(VM, NOW + 1)]) == {"t1": (VM, OTHER)}


@pytest.mark.guarantee("G-02")
def test_creates_of_different_nodes_are_paired_like_those_of_different_objects() -> None:
    """Two nodes of one tree restored from one commit, and a third that is made fresh: each VM goes to one of them."""
    lead, worker, fresh = (
        Pending(token, commit, NOW, NOW + at) for token, commit, at in (("l", COMMIT, 0), ("w", COMMIT, 1), ("f", "", 2))
    )
    born = labelled(vm("vm-3", NOW + 5), birth_labels(US, SlotOwner.of(NODE_SLOT.object, "uid-1", "fresh"), 1, "f"))
    made = [vm(OTHER, NOW + 4), vm(VM, NOW + 3), born]
    known = lineage(*made[:2]) | lineage(born, commit="")
    assert pairs([fresh, worker, lead], made, known=known) == {"l": (VM,), "w": (OTHER,), "f": ("vm-3",)}
    assert pairs([fresh, worker, lead], made, frozenset({VM}), known) == {"l": (OTHER,), "w": (), "f": ("vm-3",)}


@pytest.mark.guarantee("G-04")
def test_without_the_lineage_nothing_is_known() -> None:
    assert pairs([RESTORED], [vm()], known={}) == {"t1": None}


def test_another_commit_is_not_it() -> None:
    assert pairs([RESTORED], [vm()], known=lineage(vm(), commit="another")) == {"t1": ()}


@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize(
    "stranger",
    [
        vm(owner="somebody else"),
        vm(created_at=NOW - 60),
        labelled(vm(), claim_labels(THEM, SlotOwner.of(KEY, "uid-9"), 1, VM)),
    ],
)
def test_somebody_elses_an_older_and_a_claimed_vm_are_no_candidates(stranger: Vm) -> None:
    assert strangers([RESTORED], {VM: stranger}, frozenset(), {}, ACCOUNT) == []


def test_one_seen_before_the_create_was_sent_is_no_candidate() -> None:
    assert strangers([RESTORED], {VM: vm()}, frozenset(), {VM: NOW - 1}, ACCOUNT) == []
    assert strangers([RESTORED], {VM: vm()}, frozenset(), {VM: NOW}, ACCOUNT) == [vm()]


some_pending = st.lists(
    st.builds(
        Pending, st.sampled_from(["t1", "t2", "t3", "t4"]), st.sampled_from(["", COMMIT, "commit-2"]), st.just(NOW), st.floats(NOW, NOW + 9)
    ),
    max_size=4,
    unique_by=lambda one: one.token,
)
some_vms = st.lists(
    st.builds(
        lambda n, at, token: vm(f"vm-{n}", at, **({INTENT: token} if token else {})),
        st.integers(1, 5),
        st.floats(NOW, NOW + 20),
        st.sampled_from(["", "t1", "t2"]),
    ),
    max_size=5,
    unique_by=lambda one: one.vm_id,
)


@pytest.mark.guarantee("G-02")
@given(some_pending, some_vms, st.lists(st.sampled_from([COMMIT, "commit-2"]), min_size=5, max_size=5))
def test_one_vm_is_never_given_to_two_creates(pending: list[Pending], vms: list[Vm], commits: list[str]) -> None:
    bare = {one.vm_id: one for one in vms}
    known = {one.vm_id: VmMetadata(one.vm_id, one.created_at, one.state, commit) for one, commit in zip(vms, commits, strict=False)}
    # a VM with a birth label came from an image, not from a commit
    known = {i: replace(m, parent_commit_id=None) if INTENT in bare[i].labels else m for i, m in known.items()}
    found = pair(pending, bare, frozenset(), {}, known, ACCOUNT)
    given_away = [candidates[0] for candidates in found.values() if candidates is not None and len(candidates) == 1]
    assert len(given_away) == len(set(given_away))
    assert set(found) == {one.token for one in pending}
    shuffled = pair(reversed(pending), dict(reversed(bare.items())), frozenset(), {}, known, ACCOUNT)
    assert shuffled == found
