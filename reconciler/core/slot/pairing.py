"""Which VM did a create of unknown outcome make? Creates are paired with the VMs that appeared (design §5.2, vers-api §7). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.core.slot.claims import INTENT, NAMESPACE, VM_ID, valid_claim
from reconciler.core.slot.tenancy import was_released
from reconciler.core.snapshot.vm import Vm, VmMetadata

CLOCK_SLACK = 5.0
"""Seconds by which a VM's `created_at` may lie outside of the times in which its create can have made it."""

REF = "ref:"
"""Before a reference `repository:tag`, where a commit would stand, in creates that earlier releases sent: what it pointed to is not
known."""

VM = "vm:"
"""Before the id of a VM, where a commit would stand: a live copy of it is made."""

OPAQUE = "key-"
"""Before an account that we named ourselves, because its key does not tell it: no VM says that it is of it."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An open create, as pairing needs it. `commit`: the commit restored, `vm:` and the VM that is copied live, `ref:` and a reference
    (earlier releases), or '' for a fresh VM with labels from birth. `since`, `until`: platform clock, between which it can have made a
    VM, None where that is not known; `sent_at`: ours. `account`: of the key that sent it; `namespace`: of the object that it is for."""

    token: str
    commit: str
    since: float | None
    sent_at: float
    until: float | None = None
    account: str = ""
    namespace: str = ""

    def bears(self, vm: Vm) -> bool:
        """It carries from birth what this create gave it."""
        return vm.labels.get(INTENT) == self.token and self.namespace in ("", vm.labels.get(NAMESPACE))

    def may_have_made(self, vm: Vm, first_seen: Mapping[str, float]) -> bool:
        """By time and account, for VMs that nobody owns: never one older than the create or seen before it, nor another key's."""
        return (
            first_seen.get(vm.vm_id, self.sent_at) >= self.sent_at
            and (self.since is None or vm.created_at >= self.since - CLOCK_SLACK)
            and (self.until is None or vm.created_at <= self.until + CLOCK_SLACK)
            and (not self.account or self.account.startswith(OPAQUE) or vm.owner_id == self.account)
        )

    def of_lineage(self, known: VmMetadata) -> bool:
        """It was restored from the commit that this create restores, from any where a reference was given, or from one of the VM that is
        copied."""
        if self.commit.startswith(VM):
            return known.grandparent_vm_id == self.commit.removeprefix(VM)
        return bool(known.parent_commit_id) if self.commit.startswith(REF) else known.parent_commit_id == self.commit


def pair(
    pending: Iterable[Pending],
    vms: Mapping[str, Vm],
    owned: frozenset[str],
    first_seen: Mapping[str, float],
    lineage: Mapping[str, VmMetadata],
) -> dict[str, tuple[str, ...] | None]:
    """For each open create: the VMs it may have made. Fresh VMs are told by their birth label. Restored ones carry nothing
    from birth, so unowned VMs of the same commit that fit are paired oldest with oldest; only more VMs than creates is ambiguous,
    and then every create of that commit gets all of them. None: their lineage could not be read."""
    result: dict[str, tuple[str, ...] | None] = {}
    by_commit: dict[str, list[Pending]] = {}
    for create in sorted(pending, key=lambda p: (p.sent_at, p.token)):
        if create.commit:
            by_commit.setdefault(create.commit, []).append(create)
        else:
            result[create.token] = tuple(
                sorted(
                    vm.vm_id
                    for vm in vms.values()
                    if create.bears(vm) and vm.vm_id not in owned and vm.labels.get(VM_ID, vm.vm_id) == vm.vm_id
                )
            )
    restored = frozenset(by_commit)
    for creates in by_commit.values():
        unknown = strangers(creates, vms, owned, first_seen)
        if creates[0].commit.startswith(VM):  # what another create restores from a commit of that VM is no live copy of it
            unknown = [vm for vm in unknown if vm.vm_id not in lineage or lineage[vm.vm_id].parent_commit_id not in restored]
        result.update(_restored(creates, unknown, first_seen, lineage))
    return result


def _restored(
    creates: list[Pending], unknown: list[Vm], first_seen: Mapping[str, float], lineage: Mapping[str, VmMetadata]
) -> dict[str, tuple[str, ...] | None]:
    """`creates`: all of one commit, oldest first."""
    if any(vm.vm_id not in lineage for vm in unknown):
        return {create.token: None for create in creates}
    found = [vm for vm in unknown if creates[0].of_lineage(lineage[vm.vm_id])]
    if len(found) > len(creates):
        return {create.token: tuple(vm.vm_id for vm in found) for create in creates}
    result: dict[str, tuple[str, ...] | None] = {}
    for create in creates:
        its = next((vm for vm in found if create.may_have_made(vm, first_seen)), None)
        result[create.token] = (its.vm_id,) if its is not None else ()
        found = [vm for vm in found if vm is not its]
    return result


def strangers(creates: Iterable[Pending], vms: Mapping[str, Vm], owned: frozenset[str], first_seen: Mapping[str, float]) -> list[Vm]:
    """VMs nobody owns that one of these creates may have made, oldest first: whose lineage must be read. One that an object let go of
    was that object's."""
    creates = list(creates)
    found = [
        vm
        for vm in vms.values()
        if vm.vm_id not in owned
        and not valid_claim(vm)
        and not was_released(vm)
        and any(create.may_have_made(vm, first_seen) for create in creates)
    ]
    return sorted(found, key=lambda vm: (vm.created_at, vm.vm_id))
