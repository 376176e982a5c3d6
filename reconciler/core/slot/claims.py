"""Whose VM is it? Claims as labels and as a file in the guest (design §5.2, vers-api §7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.api.annotations import PREFIX
from reconciler.core.keys import SlotOwner
from reconciler.core.snapshot.vm import Vm

FLEET, INSTALLATION, KIND, NAMESPACE, NAME, NODE, UID, EPOCH, VM_ID, INTENT = (
    PREFIX + word for word in ("fleet", "installation", "kind", "namespace", "name", "node", "uid", "epoch", "vm-id", "intent")
)
_IN_FILE = {label: label.removeprefix(PREFIX) for label in (FLEET, INSTALLATION, KIND, NAMESPACE, NAME, NODE, UID, EPOCH, VM_ID)}
RETAINED = PREFIX + "retained"
"""On a VM that its deleted object left us: whose it was. The claim beside it stays valid."""

RELEASED, SHARED = PREFIX + "released-by", PREFIX + "shared-with"
"""On a VM that its object let go of: which VM, by which installation and namespace; the namespaces that it was shared with."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who we are: the fleet's name and the uuid of this installation (the state directory, or the cluster)."""

    fleet: str
    installation: str


def birth_labels(owner: Owner, slot: SlotOwner, epoch: int, token: str) -> dict[str, str]:
    """What a fresh VM carries from birth, where the platform takes labels at birth. Not yet a claim: it names no VM id. The slot of a
    node is named too; an object's own slot has no such label, so claims of earlier releases are the same."""
    labels = _whose(owner, slot, epoch)
    labels[INTENT] = token
    return labels


def claim_labels(owner: Owner, slot: SlotOwner, epoch: int, vm_id: str) -> dict[str, str]:
    """A claim, valid only on the VM that it names."""
    labels = _whose(owner, slot, epoch)
    labels[VM_ID] = vm_id
    return labels


def _whose(owner: Owner, slot: SlotOwner, epoch: int) -> dict[str, str]:
    kind, namespace, name = slot.key.object
    labels = {FLEET: owner.fleet, INSTALLATION: owner.installation, KIND: kind, NAMESPACE: namespace, NAME: name}
    if slot.key.node:
        labels[NODE] = slot.key.node
    labels[UID], labels[EPOCH] = slot.uid, str(epoch)
    return labels


def claim_over(labels: Mapping[str, str], owner: Owner, slot: SlotOwner, epoch: int, vm_id: str) -> dict[str, str]:
    """Our claim, and what takes the rest of an earlier one off a VM with these labels."""
    earlier = {name: "" for name in (RETAINED, RELEASED, SHARED, NODE) if labels.get(name)}
    return {**earlier, **claim_labels(owner, slot, epoch, vm_id)}


def claim_file(owner: Owner, slot: SlotOwner, epoch: int, vm_id: str) -> dict[str, str]:
    """The same claim, as the guest's claim file holds it."""
    labels = claim_labels(owner, slot, epoch, vm_id)
    return dict(zip(map(_IN_FILE.__getitem__, labels), labels.values(), strict=True))


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
    labels = vm.labels  # what `is_ours` and `names` say, in one: it is asked at every look
    ours = valid_claim(vm) and labels.get(INSTALLATION) == owner.installation and labels.get(FLEET) == owner.fleet
    return ours and labels.get(UID) == slot.uid and labels.get(EPOCH) == str(epoch) and labels.get(NODE, "") == slot.node


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
