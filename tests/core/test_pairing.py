"""Which VM did an unanswered create make: the pairing of creates with the VMs that appeared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.keys import SlotOwner
from reconciler.core.slot.claims import INTENT, birth_labels, claim_labels
from reconciler.core.slot.pairing import CLOCK_SLACK, Pending, pair, strangers
from reconciler.core.snapshot.vm import Vm, VmMetadata
from tests.core.test_claims import ACCOUNT, KEY, NODE_SLOT, SLOT, THEM, US, labelled, vm
from tests.core.views import NOW, OTHER, VM

COMMIT = "commit-1"
FRESH = Pending("t1", "", NOW, NOW, account=ACCOUNT)
RESTORED = Pending("t1", COMMIT, NOW, NOW, account=ACCOUNT)
AT = Pending("t1", "ref:repo:tag", NOW, NOW, account=ACCOUNT)


def lineage(*vms: Vm, commit: str = COMMIT) -> dict[str, VmMetadata]:
    return {one.vm_id: VmMetadata(one.vm_id, one.created_at, one.state, commit) for one in vms}


def pairs(pending: list[Pending], vms: list[Vm], owned: frozenset[str] = frozenset(), known: dict[str, VmMetadata] | None = None) -> object:
    return pair(pending, {one.vm_id: one for one in vms}, owned, {}, lineage(*vms) if known is None else known)


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
    second = replace(RESTORED, token="t2", sent_at=NOW + 1)
    found = pairs([second, RESTORED], [vm(OTHER, NOW + 2), vm(VM, NOW + 1)])
    assert found == {"t1": (VM,), "t2": (OTHER,)}
    assert pairs([second, RESTORED], [vm(VM, NOW + 1)]) == {"t1": (VM,), "t2": ()}


def test_more_vms_than_creates_is_ambiguous_for_each() -> None:
    assert pairs([RESTORED], [vm(OTHER, NOW + 2), vm(VM, NOW + 1)]) == {"t1": (VM, OTHER)}


@pytest.mark.guarantee("G-02")
def test_creates_of_different_nodes_are_paired_like_those_of_different_objects() -> None:
    """Two nodes of one tree restored from one commit, and a third that is made fresh: each VM goes to one of them."""
    lead, worker, fresh = (
        Pending(token, commit, NOW, NOW + at, account=ACCOUNT) for token, commit, at in (("l", COMMIT, 0), ("w", COMMIT, 1), ("f", "", 2))
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
    assert strangers([RESTORED], {VM: stranger}, frozenset(), {}) == []


def test_one_seen_before_the_create_was_sent_is_no_candidate() -> None:
    assert strangers([RESTORED], {VM: vm()}, frozenset(), {VM: NOW - 1}) == []
    assert strangers([RESTORED], {VM: vm()}, frozenset(), {VM: NOW}) == [vm()]


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
    found = pair(pending, bare, frozenset(), {}, known)
    given_away = [candidates[0] for candidates in found.values() if candidates is not None and len(candidates) == 1]
    assert len(given_away) == len(set(given_away))
    assert set(found) == {one.token for one in pending}
    shuffled = pair(reversed(pending), dict(reversed(bare.items())), frozenset(), {}, known)
    assert shuffled == found


# --- as narrow as the platform allows -----------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize(
    ("create", "made", "fits"),
    [
        (RESTORED, vm(created_at=NOW - CLOCK_SLACK - 1), False),
        (RESTORED, vm(created_at=NOW - CLOCK_SLACK), True),
        (replace(RESTORED, until=NOW + 60), vm(created_at=NOW + 60 + CLOCK_SLACK), True),
        (replace(RESTORED, until=NOW + 60), vm(created_at=NOW + 60 + CLOCK_SLACK + 1), False),
        (RESTORED, vm(owner="another key"), False),
        (replace(RESTORED, account="the key before this one"), vm(), False),
        (replace(RESTORED, account="key-0123"), vm(owner="whatever the platform calls it"), True),
        (RESTORED, labelled(vm(), claim_labels(THEM, SLOT, 1, VM)), False),
    ],
    ids=["older", "at once", "within the window", "after it", "another key's", "sent by another key", "a key that hides it", "claimed"],
)
def test_a_create_is_paired_by_time_key_and_claim(create: Pending, made: Vm, fits: bool) -> None:
    assert pairs([create], [made]) == {"t1": (VM,) if fits else ()}


@pytest.mark.guarantee("G-07")
def test_each_create_is_held_to_its_own_time() -> None:
    """The VM was seen before the second create was sent; that the first one may have made it does not make it the second one's."""
    second = replace(RESTORED, token="t2", sent_at=NOW + 10, since=NOW + 10)
    early, late = vm(OTHER, NOW + 1), vm(VM, NOW + 12)
    seen = {OTHER: NOW + 2, VM: NOW + 13}
    both = pair([RESTORED, second], {one.vm_id: one for one in (early, late)}, frozenset(), seen, lineage(early, late))
    assert both == {"t1": (OTHER,), "t2": (VM,)}
    assert pair([RESTORED, second], {OTHER: early}, frozenset(), seen, lineage(early)) == {"t1": (OTHER,), "t2": ()}
    assert pair([second], {OTHER: early}, frozenset(), seen, lineage(early)) == {"t2": ()}


@pytest.mark.guarantee("G-02")
def test_a_create_from_a_reference_may_have_made_any_restored_vm_and_no_fresh_one() -> None:
    assert pairs([AT], [vm()], known=lineage(vm(), commit="whatever it pointed to")) == {"t1": (VM,)}
    assert pairs([AT], [vm()], known=lineage(vm(), commit="")) == {"t1": ()}


# --- live copies ------------------------------------------------------------------------------------------------------------------------

ORIGINAL = "00000000-0000-4000-8000-00000000000a"
BRANCHED = Pending("t1", f"vm:{ORIGINAL}", NOW, NOW, account=ACCOUNT)


def branched(*vms: Vm, original: str = ORIGINAL) -> dict[str, VmMetadata]:
    return {one.vm_id: VmMetadata(one.vm_id, one.created_at, one.state, f"internal-{one.vm_id}", original) for one in vms}


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-33")
def test_live_copies_of_one_machine_are_paired_oldest_with_oldest() -> None:
    second, two = replace(BRANCHED, token="t2", sent_at=NOW + 1), [vm(OTHER, NOW + 2), vm(VM, NOW + 1)]
    assert pairs([second, BRANCHED], two, known=branched(*two)) == {"t1": (VM,), "t2": (OTHER,)}
    assert pairs([second, BRANCHED], two[1:], known=branched(*two)) == {"t1": (VM,), "t2": ()}
    assert pairs([BRANCHED], two, known=branched(*two)) == {"t1": (VM, OTHER)}


def test_a_copy_of_another_machine_or_from_before_is_none_of_it() -> None:
    late, early = vm(VM, NOW + 1), vm(OTHER, NOW - 60)
    assert pairs([BRANCHED], [late], known=branched(late, original=OTHER)) == {"t1": ()}
    assert pairs([BRANCHED], [early], known=branched(early)) == {"t1": ()}
    assert pairs([BRANCHED], [late], known={}) == {"t1": None}


def test_what_another_create_restores_from_a_commit_of_the_machine_is_no_live_copy() -> None:
    one, two = vm(VM, NOW + 1), vm(OTHER, NOW + 2)
    known = {**branched(two), VM: VmMetadata(VM, NOW + 1, one.state, COMMIT, ORIGINAL)}
    assert pairs([BRANCHED, replace(RESTORED, token="t2")], [one, two], known=known) == {"t1": (OTHER,), "t2": (VM,)}
