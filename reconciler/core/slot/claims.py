"""Whose VM is it? Claims as labels and as a file in the guest, and the pairing of creates of unknown outcome with the VMs
that appeared (design §5.2, vers-api §7). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.api.annotations import PREFIX
from reconciler.core.keys import SlotOwner
from reconciler.core.snapshot.vm import Vm, VmMetadata

FLEET, INSTALLATION, KIND, NAMESPACE, NAME, NODE, UID, EPOCH, VM_ID, INTENT = (
    PREFIX + word for word in ("fleet", "installation", "kind", "namespace", "name", "node", "uid", "epoch", "vm-id", "intent")
)
RETAINED = PREFIX + "retained"
"""On a VM that its deleted object left us: whose it was. The claim beside it stays valid."""

CLOCK_SLACK = 5.0
"""Seconds by which a VM's `created_at` may lie before the platform time noted in the intent."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who we are: the fleet's name and the uuid of this installation (the state directory, or the cluster)."""

    fleet: str
    installation: str


def birth_labels(owner: Owner, slot: SlotOwner, epoch: int, token: str) -> dict[str, str]:
    """What a fresh VM carries from birth, where the platform takes labels at birth. Not yet a claim: it names no VM id. The slot of a
    node is named too; an object's own slot has no such label, so claims of earlier releases are the same."""
    key = slot.object
    return {
        FLEET: owner.fleet,
        INSTALLATION: owner.installation,
        KIND: key.kind,
        NAMESPACE: key.namespace,
        NAME: key.name,
        **({NODE: slot.node} if slot.node else {}),
        UID: slot.uid,
        EPOCH: str(epoch),
        INTENT: token,
    }


def claim_labels(owner: Owner, slot: SlotOwner, epoch: int, vm_id: str) -> dict[str, str]:
    """A claim, valid only on the VM that it names."""
    labels = birth_labels(owner, slot, epoch, "")
    del labels[INTENT]
    return {**labels, VM_ID: vm_id}


def claim_over(labels: Mapping[str, str], owner: Owner, slot: SlotOwner, epoch: int, vm_id: str) -> dict[str, str]:
    """Our claim, and what takes the rest of an earlier one off a VM with these labels."""
    earlier = {name: "" for name in (RETAINED, NODE) if labels.get(name)}
    return {**earlier, **claim_labels(owner, slot, epoch, vm_id)}


def claim_file(owner: Owner, slot: SlotOwner, epoch: int, vm_id: str) -> dict[str, str]:
    """The same claim, as the guest's claim file holds it."""
    return {name.removeprefix(PREFIX): value for name, value in claim_labels(owner, slot, epoch, vm_id).items()}


def released_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """What takes our claim off a VM. Labels can only be written over (vers-api §2.1), so they become empty; the epoch stays, so
    that whoever claims the VM next counts on."""
    ours = (FLEET, INSTALLATION, KIND, NAMESPACE, NAME, NODE, UID, VM_ID, INTENT, RETAINED)
    return {name: "" for name in ours if labels.get(name)}


def epoch_on(labels: Mapping[str, str]) -> int:
    """The epoch that the labels tell of, 0 when they tell none."""
    told = labels.get(EPOCH, "")
    return int(told) if told.isdecimal() and len(told) < 16 else 0


def valid_claim(vm: Vm) -> bool:
    """The VM carries a claim that names this very VM; a copy inherited from a parent does not."""
    return vm.labels.get(VM_ID) == vm.vm_id


def is_ours(vm: Vm, owner: Owner) -> bool:
    return valid_claim(vm) and vm.labels.get(INSTALLATION) == owner.installation and vm.labels.get(FLEET) == owner.fleet


def names(labels: Mapping[str, str], slot: SlotOwner) -> bool:
    """The labels name this slot, whatever epoch and VM they tell of."""
    return labels.get(UID) == slot.uid and labels.get(NODE, "") == slot.node


def claimed_for(vm: Vm, owner: Owner, slot: SlotOwner, epoch: int) -> bool:
    """It carries exactly the claim that this slot wants on it."""
    return is_ours(vm, owner) and names(vm.labels, slot) and vm.labels.get(EPOCH) == str(epoch)


def named(labels: Mapping[str, str]) -> str:
    """The slot that the labels name, in words: `namespace/name`, with its node where it has one."""
    words = [labels.get(NAMESPACE, "?"), labels.get(NAME, "?"), labels.get(NODE, "")]
    return "/".join(words if words[2] else words[:2])


def other_claim(vm: Vm, owner: Owner) -> str:
    """Another installation's valid claim, in words; '' when there is none."""
    if not valid_claim(vm) or vm.labels.get(INSTALLATION) == owner.installation:
        return ""
    return f"fleet {vm.labels.get(FLEET, '?')}, installation {vm.labels.get(INSTALLATION, '?')}"


def claimant(labels: Mapping[str, str]) -> str:
    """Whom a claim names, with fleet and installation, in words."""
    kind = labels.get(KIND, "?").lower()
    return f"{kind}/{named(labels)} of fleet {labels.get(FLEET, '?')}, installation {labels.get(INSTALLATION, '?')}"


def born_ours(vm: Vm, owner: Owner) -> bool:
    """It was made by one of our creates, says its birth label (or a copy of it)."""
    return vm.labels.get(INSTALLATION) == owner.installation and INTENT in vm.labels


@dataclass(frozen=True, slots=True)
class Pending:
    """An open create, as pairing needs it. `commit`: the commit restored, '' for a fresh VM with labels from birth.
    `since`: platform clock noted before the call; `sent_at`: ours."""

    token: str
    commit: str
    since: float | None
    sent_at: float


def pair(
    pending: Iterable[Pending],
    vms: Mapping[str, Vm],
    owned: frozenset[str],
    first_seen: Mapping[str, float],
    lineage: Mapping[str, VmMetadata],
    account_owner: str,
) -> dict[str, tuple[str, ...] | None]:
    """For each open create: the VMs it may have made. Fresh VMs are told by their birth label. Restored ones carry nothing
    from birth, so unowned VMs of the same commit that appeared since are paired oldest with oldest; only more VMs than
    creates is ambiguous, and then every create of that commit gets all of them. None: their lineage could not be read."""
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
                    if vm.labels.get(INTENT) == create.token and vm.vm_id not in owned and vm.labels.get(VM_ID, vm.vm_id) == vm.vm_id
                )
            )
    for commit, creates in by_commit.items():
        found: list[Vm] = []
        unread = False
        for vm in strangers(creates, vms, owned, first_seen, account_owner):
            known = lineage.get(vm.vm_id)
            unread |= known is None
            if known is not None and known.parent_commit_id == commit:
                found.append(vm)
        found.sort(key=lambda vm: (vm.created_at, vm.vm_id))
        for index, create in enumerate(creates):
            if unread:
                result[create.token] = None
            elif len(found) > len(creates):
                result[create.token] = tuple(vm.vm_id for vm in found)
            else:
                result[create.token] = (found[index].vm_id,) if index < len(found) else ()
    return result


def strangers(
    creates: Iterable[Pending], vms: Mapping[str, Vm], owned: frozenset[str], first_seen: Mapping[str, float], account_owner: str
) -> list[Vm]:
    """VMs nobody owns that appeared since the oldest of these creates was sent: whose lineage must be read."""
    creates = list(creates)
    oldest = min((c.sent_at for c in creates), default=0.0)
    since = min((c.since for c in creates if c.since is not None), default=None)
    return [
        vm
        for vm in vms.values()
        if vm.vm_id not in owned
        and not valid_claim(vm)
        and first_seen.get(vm.vm_id, oldest) >= oldest
        and (since is None or vm.created_at >= since - CLOCK_SLACK)
        and (not account_owner or vm.owner_id == account_owner)
    ]
