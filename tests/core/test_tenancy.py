"""Which namespace may use what exists already (G-07)."""

from __future__ import annotations

import pytest

from reconciler.core.decisions import Refuse, Wait
from reconciler.core.keys import Key, SlotOwner
from reconciler.core.slot.claims import Owner, birth_labels, claim_labels, claim_over, released_labels
from reconciler.core.slot.tenancy import commit_name, not_allowed, origin_by_labels, origin_by_name, released_by, shared_with, was_released
from reconciler.core.snapshot.origin import UNMARKED, Made, Named, Origin, Sharing
from reconciler.core.snapshot.vm import Commit, Unknown, Vm, VmState

US, THEM = Owner("default", "ours/reconciler"), Owner("default", "theirs/reconciler")
SLOT = SlotOwner.of(Key("Lieutenant", "team-a", "api"), "uid")
VM, COPY = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
CLOSED = Sharing(frozenset())
SHARED = frozenset({"team-b"})


def vm(labels: dict[str, str], vm_id: str = VM) -> Vm:
    return Vm(vm_id, "account", 0.0, VmState.RUNNING, labels)


@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize(
    ("origin", "sharing", "reason"),
    [
        (Made("team-b"), CLOSED, ""),
        (Made("team-a"), CLOSED, "CommitOfAnotherNamespace"),
        (Made("team-a"), Sharing(), "CommitOfAnotherNamespace"),
        (Made("team-a", SHARED), CLOSED, ""),
        (Made("team-a", frozenset({"team-c"})), CLOSED, "CommitOfAnotherNamespace"),
        (Made("team-a", frozenset({"*"})), CLOSED, ""),
        (Made("team-a"), Sharing(frozenset(), frozenset({("team-a", "team-b")})), ""),
        (Made("team-a"), Sharing(frozenset(), frozenset({("team-a", "*")})), ""),
        (Made("team-a"), Sharing(frozenset(), frozenset({("*", "team-b")})), ""),
        (Made("team-a"), Sharing(frozenset(), frozenset({("team-b", "team-a")})), "CommitOfAnotherNamespace"),
        (UNMARKED, CLOSED, "UnownedNotAllowed"),
        (UNMARKED, Sharing(frozenset({"team-c"})), "UnownedNotAllowed"),
        (UNMARKED, Sharing(frozenset({"team-b"})), ""),
        (UNMARKED, Sharing(), ""),
        (Unknown("503"), Sharing(), "VMUnknown"),
    ],
)
def test_what_one_made_another_uses_only_when_it_is_granted(origin: Origin, sharing: Sharing, reason: str) -> None:
    decision = not_allowed(Named("commit", "c", origin), "team-b", sharing)
    assert (decision.reason if isinstance(decision, Refuse | Wait) else "") == reason


CLAIM = claim_labels(US, SLOT, 3, VM)
RELEASED = {**CLAIM, **released_labels(CLAIM), **released_by(US, VM, "team-a", SHARED)}


@pytest.mark.parametrize(
    ("labels", "origin"),
    [
        ({}, UNMARKED),
        (CLAIM, Made("team-a")),
        (birth_labels(US, SLOT, 3, "token"), Made("team-a")),
        (RELEASED, Made("team-a", SHARED)),
        ({**CLAIM, **shared_with(SHARED)}, Made("team-a", SHARED)),
        (claim_labels(THEM, SLOT, 3, VM), UNMARKED),
        (released_by(THEM, VM, "team-a", ()), UNMARKED),
    ],
)
def test_labels_tell_whose_a_vm_or_the_one_that_it_was_copied_from_is(labels: dict[str, str], origin: Origin) -> None:
    assert origin_by_labels(labels, US) == origin


def test_a_release_is_of_one_vm_and_ends_with_the_next_claim() -> None:
    assert was_released(vm(RELEASED))
    assert not was_released(vm(RELEASED, COPY))
    again = {**RELEASED, **claim_over(RELEASED, US, SLOT, 4, VM)}
    assert not was_released(vm(again))
    assert origin_by_labels({**again, **released_labels(again)}, US) == UNMARKED


def test_the_name_of_a_commit_tells_its_namespace_to_the_installation_that_took_it_alone() -> None:
    name = commit_name(US, "team-a", ["api", "token"])
    assert name.startswith("default.team-a.api.token.")
    assert origin_by_name(Commit("c", name, 0.0), US) == Made("team-a")
    for other in (THEM, Owner("default.team-a", US.installation), Owner("other", US.installation)):
        assert origin_by_name(Commit("c", name, 0.0), other) == UNMARKED
    for forged in ("default.team-a.api.token", "", "nightly", name.replace("default.", "", 1)):
        assert origin_by_name(Commit("c", forged, 0.0), US) == UNMARKED
