"""VMs without an owner, told apart: by the controller, and by somebody who sees less than it does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.fleet.orphans import Sight, Standing, strays
from reconciler.core.slot.claims import RETAINED, birth_labels, claim_labels
from reconciler.core.slot.pairing import Pending
from reconciler.core.snapshot.vm import Vm
from reconciler.sources.kube.restore import vms_of
from tests.core.test_claims import KEY, SLOT, THEM, US, labelled, vm
from tests.core.views import NOW, OTHER, VM

OLD = NOW - 1000.0
SETTLED = NOW - 60.0
CLAIM = claim_labels(US, SLOT, 3, VM)
CLAIMED = labelled(vm(created_at=OLD), CLAIM)
NOT_READ = Sight(frozenset({"elsewhere"}), frozenset())
LIVE = Sight(frozenset({"default"}), frozenset({"uid-1"}))
GONE = Sight(frozenset({"default"}), frozenset({"uid-2"}))


def told(found: Vm, owned: set[str] | None = None, seen: float = OLD, sight: Sight | None = None) -> Standing | None:
    found_strays = strays([found], US, owned or set(), {found.vm_id: seen}, SETTLED, sight)
    return found_strays[0].standing if found_strays else None


@pytest.mark.guarantee("G-07")
@pytest.mark.parametrize(
    ("found", "standing"),
    [
        (CLAIMED, Standing.ORPHAN),
        (labelled(vm(), {**CLAIM, RETAINED: "default/api"}), Standing.RETAINED),
        (labelled(vm(), claim_labels(THEM, SLOT, 3, VM)), Standing.FOREIGN),
        (labelled(vm(), claim_labels(replace(US, fleet="other"), SLOT, 3, VM)), Standing.FOREIGN),
        (labelled(vm(OTHER), {**CLAIM}), Standing.SUSPECTED),
        (labelled(vm(), birth_labels(US, SLOT, 1, "t")), Standing.SUSPECTED),
        (labelled(vm(), birth_labels(THEM, SLOT, 1, "t")), Standing.UNCLAIMED),
        (vm(), Standing.UNCLAIMED),
    ],
)
def test_each_is_what_its_labels_say(found: Vm, standing: Standing | None) -> None:
    assert told(found) is standing
    assert told(found, {found.vm_id}) is None, "what is owned is no stray"
    for sight in (NOT_READ, LIVE):
        assert told(found, sight=sight) is (Standing.UNKNOWN if standing is Standing.ORPHAN else standing)
    assert told(found, sight=GONE) is standing


def test_one_that_may_be_on_its_way_to_an_owner_is_left_out() -> None:
    assert told(CLAIMED, seen=NOW) is None
    assert told(CLAIMED, seen=NOW, sight=LIVE) is Standing.UNKNOWN, "nothing is deleted because of that"
    assert told(vm(), seen=NOW) is Standing.UNCLAIMED


@pytest.mark.guarantee("G-07")
def test_one_that_a_node_takes_back_is_no_stray() -> None:
    assert strays([CLAIMED], US, set(), {VM: OLD}, SETTLED, awaited=lambda labels: labels == CLAIMED.labels) == []
    assert strays([CLAIMED], US, set(), {VM: OLD}, SETTLED, awaited=lambda _: False)[0].standing is Standing.ORPHAN


def test_one_that_is_about_to_be_taken_over_is_no_stray() -> None:
    born = labelled(vm(), birth_labels(US, SLOT, 3, "token"))
    assert strays([born], US, set(), {VM: OLD}, SETTLED, coming={"token"}) == []
    assert strays([born], US, set(), {VM: OLD}, SETTLED, coming={"other"})[0].standing is Standing.SUSPECTED
    assert strays([CLAIMED], US, set(), {VM: OLD}, SETTLED, coming={"token"})[0].standing is Standing.ORPHAN


@pytest.mark.guarantee("G-07")
def test_one_that_fits_an_open_create_is_suspected_and_none_that_carries_somebodys_claim() -> None:
    create = Pending("t", "some-commit", OLD, OLD, namespace="default")
    plain, later = vm(created_at=OLD), vm(created_at=OLD - 100.0)

    def judged(found: Vm, create: Pending) -> Standing:
        return strays([found], US, set(), {found.vm_id: OLD}, SETTLED, creates=(create,))[0].standing

    assert judged(plain, create) is Standing.SUSPECTED
    assert judged(later, create) is Standing.UNCLAIMED, "it was there before"
    assert judged(plain, replace(create, commit="")) is Standing.UNCLAIMED, "a fresh machine would be marked"
    assert judged(plain, replace(create, account="another")) is Standing.UNCLAIMED
    assert judged(labelled(plain, claim_labels(THEM, SLOT, 3, VM)), create) is Standing.FOREIGN


@pytest.mark.guarantee("G-04")
def test_without_a_store_a_lieutenant_owns_what_any_sign_says() -> None:
    """Its newest claim, the VM in its status and the one it is to adopt; an older claim alone is none."""
    older = labelled(vm(OTHER), {**claim_labels(US, SLOT, 2, OTHER)})
    vms = {one.vm_id: one for one in (CLAIMED, older)}
    assert vms_of(KEY, "uid-1", {}, {}, vms, US) == {VM}
    assert vms_of(KEY, "uid-1", {}, {"vm": {"id": OTHER}}, vms, US) == {VM, OTHER}
    assert vms_of(KEY, "uid-1", {"adopt": {"vmId": OTHER}}, {}, vms, US) == {VM, OTHER}
    assert vms_of(KEY, "uid-2", {}, {}, vms, US) == set()
    assert vms_of(KEY, "uid-1", {}, {}, vms, replace(US, installation="other")) == set()
