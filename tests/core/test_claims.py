"""Whose VM is it: claims, and the pairing of unanswered creates with the VMs that appeared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.keys import Key
from reconciler.core.slot.claims import (
    INTENT,
    Owner,
    Pending,
    birth_labels,
    born_ours,
    claim_file,
    claim_labels,
    claimed_for,
    is_ours,
    other_claim,
    pair,
    strangers,
    valid_claim,
)
from reconciler.core.snapshot.vm import Vm, VmMetadata, VmState
from tests.core.views import NOW, OTHER, VM

US, THEM = Owner("prod", "installation-1"), Owner("prod", "installation-2")
KEY = Key("Lieutenant", "default", "api")
ACCOUNT = "account"


def vm(vm_id: str = VM, created_at: float = NOW, owner: str = ACCOUNT, **labels: str) -> Vm:
    return Vm(vm_id, owner, created_at, VmState.RUNNING, labels)


def labelled(found: Vm, labels: dict[str, str]) -> Vm:
    return replace(found, labels=labels)


OURS = labelled(vm(), claim_labels(US, KEY, "uid-1", 3, VM))


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
    assert claimed_for(OURS, US, "uid-1", 3)
    assert not claimed_for(OURS, US, "uid-1", 4)
    assert not claimed_for(OURS, US, "uid-2", 3)
    assert not claimed_for(OURS, THEM, "uid-1", 3)


def test_birth_labels_are_no_claim_and_the_claim_drops_the_intent() -> None:
    born = labelled(vm(), birth_labels(US, KEY, "uid-1", 1, "t1"))
    assert not valid_claim(born)
    assert born_ours(born, US)
    assert INTENT not in claim_labels(US, KEY, "uid-1", 1, VM)


@pytest.mark.guarantee("G-67")
def test_the_file_in_the_guest_says_the_same_with_the_whole_id() -> None:
    said = claim_file(US, KEY, "uid-1", 3, VM)
    assert said == {
        "fleet": "prod", "installation": "installation-1", "kind": "Lieutenant", "namespace": "default", "name": "api", "uid": "uid-1",
        "epoch": "3", "vm-id": VM,
    }  # fmt: skip


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
    parent = labelled(vm(), {**birth_labels(US, KEY, "uid-1", 1, "t1"), **claim_labels(US, KEY, "uid-1", 1, VM)})
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
        labelled(vm(), claim_labels(THEM, KEY, "uid-9", 1, VM)),
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
