"""Which namespace may use a commit or a VM that exists already: what one made, another gets only when it is granted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.api.annotations import PREFIX
from reconciler.api.reasons import Reason
from reconciler.core.decisions import Decision, Refuse, Wait
from reconciler.core.profile.digests import digest
from reconciler.core.slot.claims import INSTALLATION, NAMESPACE, RELEASED, SHARED, Owner
from reconciler.core.snapshot.origin import EVERY, UNMARKED, Made, Missing, Named, Origin, Sharing, Unmarked
from reconciler.core.snapshot.vm import Commit, Unknown, Vm

SHARE = PREFIX + "share-with"
"""Annotation of an object: the namespaces that may use what it leaves behind, separated by commas."""

BOOK = "commit/"
"""Rows of the store: `commit/ID` says for whom that commit was taken, and with whom it is shared; empty once it is gone."""


def not_allowed(named: Named | None, namespace: str, sharing: Sharing) -> Decision | None:
    """Why this namespace may not use what its declaration names; None when it may, or when nothing is named."""
    if named is None:
        return None
    match named.origin:
        case Unknown(why, unread):
            return Wait(unread, f"whose {named} is can't be read: {why}")
        case Missing(why):
            return Wait(Reason.REFERENCE_NOT_FOUND, f"{named} points to no commit: {why}")
        case Made(owner, shared):
            if owner == namespace or {namespace, EVERY} & shared or sharing.granted(owner, namespace):
                return None
            reason = Reason.VM_OF_ANOTHER_NAMESPACE if named.kind == "VM" else Reason.COMMIT_OF_ANOTHER_NAMESPACE
            return Refuse(reason, f"{named} belongs to namespace {owner}, which does not share it with {namespace}")
        case Unmarked():
            if {namespace, EVERY} & sharing.unowned:
                return None
            return Refuse(
                Reason.UNOWNED_NOT_ALLOWED, f"{named} carries no mark of this fleet, and namespace {namespace} may not use such ids"
            )


def told(text: str) -> frozenset[str]:
    """The namespaces in an annotation or a label."""
    return frozenset(name for part in text.split(",") if (name := part.strip()))


# --- marks ------------------------------------------------------------------------------------------------------------------------


def released_by(owner: Owner, vm_id: str, namespace: str, shared: Iterable[str]) -> dict[str, str]:
    """What stays on a VM that is let go: whose it was, and with whom that one shares it."""
    return {RELEASED: f"{vm_id} {owner.installation} {namespace}", **shared_with(shared)}


def shared_with(shared: Iterable[str]) -> dict[str, str]:
    """What says on a VM that stays with whom it is shared."""
    with_whom = ",".join(sorted(shared))
    return {SHARED: with_whom} if with_whom else {}


def was_released(vm: Vm) -> bool:
    """This very VM, and not one that it was copied from, was let go by an object."""
    return vm.labels.get(RELEASED, "").partition(" ")[0] == vm.vm_id


def origin_by_labels(labels: Mapping[str, str], owner: Owner) -> Origin:
    """Whose a VM is, as it says itself: a claim or a birth label of ours, copies of it, or our mark of its release. What is on a copy
    tells whose disk was copied."""
    shared = told(labels.get(SHARED, ""))
    if labels.get(INSTALLATION) == owner.installation and (namespace := labels.get(NAMESPACE)):
        return Made(namespace, shared)
    words = labels.get(RELEASED, "").split(" ")
    if len(words) == 3 and words[1] == owner.installation:
        return Made(words[2], shared)
    return UNMARKED


def commit_name(owner: Owner, namespace: str, rest: Iterable[str]) -> str:
    """The name of a commit that we take. Its end says that it is of this installation, so the namespace in it can be believed."""
    return ".".join([owner.fleet, namespace, *rest, _seal(owner)])


def origin_by_name(commit: Commit, owner: Owner) -> Origin:
    """Whose a commit is, as its name says."""
    ours = commit.name.startswith(f"{owner.fleet}.") and commit.name.endswith(f".{_seal(owner)}")
    namespace = commit.name.removeprefix(f"{owner.fleet}.").partition(".")[0] if ours else ""
    return Made(namespace) if namespace else UNMARKED


def _seal(owner: Owner) -> str:
    return digest([owner.fleet, owner.installation])
