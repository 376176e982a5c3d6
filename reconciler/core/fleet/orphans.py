"""VMs that no object here owns, told apart: whose are they, and may they be deleted? Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.slot import claims, tenancy
from reconciler.core.slot.claims import Owner
from reconciler.core.slot.pairing import Pending
from reconciler.core.snapshot.origin import Made
from reconciler.core.snapshot.vm import Vm


class Standing(StrEnum):
    """How a VM without an owner here stands to us. Only an orphan can be deleted."""

    ORPHAN = "Orphan"  # our valid claim, and the object is gone
    SUSPECTED = "Suspected"  # not claimed, and made by one of our creates by its birth label (or a copy of it), or by its looks
    RETAINED = "Retained"  # its object left it to us on purpose
    FOREIGN = "Foreign"  # another installation or another fleet claims it
    UNCLAIMED = "Unclaimed"  # nobody says that it is his
    UNKNOWN = "Unknown"  # our valid claim, and whoever asks can't see whether its object owns it


@dataclass(frozen=True, slots=True)
class Stray:
    """One VM without an owner, and why it is thought to be what it is."""

    vm: Vm
    standing: Standing
    said: str


@dataclass(frozen=True, slots=True)
class Sight:
    """How far somebody sees who has objects and VMs, and not the store of their controller. `namespaces`: those whose objects were read
    (None: all); `uids`: of the objects that are there."""

    namespaces: Container[str] | None = None
    uids: Container[str] = ()

    def unsure(self, vm: Vm) -> str:
        """Why it can't be said that nothing owns this VM of ours, '' when it can."""
        if self.namespaces is not None and vm.labels.get(claims.NAMESPACE, "?") not in self.namespaces:
            return f"carries our claim for {claims.named(vm.labels)}, and the objects of that namespace could not be read"
        if vm.labels.get(claims.UID) in self.uids:
            return f"carries our claim for {claims.named(vm.labels)}, which has another one; only its controller knows whether it may go"
        return ""


def standing_of(vm: Vm, owner: Owner) -> tuple[Standing, str]:
    """What a VM that no object here owns is to us, and why."""
    if claims.is_ours(vm, owner):
        if kept_for := vm.labels.get(claims.RETAINED):
            return Standing.RETAINED, f"left by {kept_for}, which was deleted with deletionPolicy Retain"
        return Standing.ORPHAN, f"carries our claim for {claims.named(vm.labels)}, which does not own it"
    if claims.valid_claim(vm):
        return Standing.FOREIGN, f"claimed for {claims.claimant(vm.labels)}"
    if vm.labels.get(claims.INSTALLATION) == owner.installation:
        return Standing.SUSPECTED, "was made by one of our creates, or copied from one of our VMs"
    made = tenancy.origin_by_labels(vm.labels, owner)
    if isinstance(made, Made):
        return Standing.UNCLAIMED, f"was let go by namespace {made.namespace}, and nobody claims it"
    return Standing.UNCLAIMED, "nobody claims it"


def strays(
    vms: Iterable[Vm],
    owner: Owner,
    owned: Container[str],
    first_seen: Mapping[str, float],
    settled: float,
    sight: Sight | None = None,
    awaited: Callable[[Mapping[str, str]], bool] = lambda _: False,
    creates: Sequence[Pending] = (),
    coming: Container[str] = (),
) -> list[Stray]:
    """All of them, oldest first. One of ours that was first seen after `settled` (or never before) may still be on its way to an
    owner, and is left out. `sight`: of somebody without the controller's store; what they can't see is no orphan to them. `awaited`:
    whether an object that is there, or about to be made, takes back a machine with these labels; that is no stray. `creates`: those
    whose answer never came; `coming`: the tokens of those for objects that are there: what bears one is about to be taken over."""
    found: list[Stray] = []
    ownerless = [vm for vm in vms if vm.vm_id not in owned]
    for vm in sorted(ownerless, key=lambda vm: (vm.created_at, vm.vm_id)):
        told = standing_of(vm, owner)
        if told[0] is Standing.ORPHAN and awaited(vm.labels):
            continue
        if told[0] is Standing.SUSPECTED and vm.labels.get(claims.INTENT) in coming:
            continue
        if told[0] is Standing.UNCLAIMED and (fits := fitting(vm, creates, first_seen)):
            told = Standing.SUSPECTED, fits
        if told[0] is Standing.ORPHAN and sight is not None and (why := sight.unsure(vm)):
            told = Standing.UNKNOWN, why
        moving = told[0] in (Standing.ORPHAN, Standing.SUSPECTED) and first_seen.get(vm.vm_id, settled + 1) > settled
        if not moving:
            found.append(Stray(vm, *told))
    return found


def fitting(vm: Vm, creates: Iterable[Pending], first_seen: Mapping[str, float]) -> str:
    """Why this VM, which carries nothing of ours, may have been made by one of these creates; '' when none fits. A create of a fresh VM
    marks what it makes, so that only those which restore a commit leave a doubt."""
    if tenancy.was_released(vm):
        return ""
    found = next((one for one in creates if one.commit and one.may_have_made(vm, first_seen)), None)
    if found is None:
        return ""
    return f"fits a create for namespace {found.namespace or '?'} whose answer never came, and nobody claims it"
