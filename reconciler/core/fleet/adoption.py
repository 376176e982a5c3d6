"""Which of the VMs that no object owns can be adopted together, and as what: a proposal that a person reads before it is declared. Pure.

Nothing here takes over a machine. That is done by the objects which are declared, each for the one VM that it names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from reconciler.api.meta import DeletionPolicy, Mode
from reconciler.api.vmtree import Category
from reconciler.core.fleet.orphans import Standing, Stray
from reconciler.core.keys import Json, JsonValue, Key, lieutenant
from reconciler.core.snapshot.vm import Vm, VmMetadata, VmState

MOST = 500
"""So many machines are proposed at once, as a tree has nodes at most."""
LONGEST = 52
DEFAULT_PROFILE = "lightweight"
_SHORT = 8
"""Digits of a VM's id that tell it from others of its name."""

_CATEGORIES: Mapping[str, Category] = {
    **{category.value.lower(): category for category in Category},
    **{"worker": Category.SWARM, "golden": Category.RESOURCE, "custom": Category.AGENT},
    **{"infra_vm": Category.INFRA, "agent_vm": Category.AGENT, "swarm_vm": Category.SWARM, "resource_vm": Category.RESOURCE},
}
"""By the words of a label `role` or `category`, also as earlier systems wrote them."""
_PROFILES: Mapping[Category, str] = {Category.INFRA: "infra", Category.SWARM: "swarm"}
_WORDS = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}")
"""What of a label is taken into the text that an agent is told: words, no sentences of whoever wrote the label."""
_ADOPTABLE = (Standing.UNCLAIMED, Standing.RETAINED, Standing.ORPHAN)


@dataclass(frozen=True, slots=True)
class Found:
    """One VM that is proposed. `name`: of what adopts it; `why`: what it is to us now; `above`: the VM of the set that it was made from."""

    vm: Vm
    name: str
    why: str
    above: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """`refused`: VMs that were meant as well and can't be adopted, each with the reason; `declared`: those that something here is declared
    to adopt already, with what that is."""

    found: tuple[Found, ...]
    refused: tuple[tuple[str, str], ...] = ()
    declared: tuple[tuple[str, str], ...] = ()


def named(vm: Vm) -> str:
    """What a VM is called by its labels, '' when they do not say: the object that had it, else a label `name`."""
    return label(vm, "name")


def label(vm: Vm, word: str) -> str:
    """The label of this name, with or without a prefix before a slash; ours count before others'."""
    ours = {name: value for name, value in vm.labels.items() if name == f"fleet.vers.sh/{word}" and value}
    others = {name: value for name, value in sorted(vm.labels.items()) if name.rpartition("/")[2] == word and value}
    return next(iter((ours or others).values()), "")


def called(vm: Vm, pattern: str) -> bool:
    """Whether its name fits a pattern with `*` and `?`."""
    return fnmatchcase(named(vm), pattern)


def descends(vm_id: str, source: str, lineage: Mapping[str, VmMetadata]) -> bool:
    """Whether a VM was made from this VM or commit, or from one that was. `lineage`: by VM, as far as it could be read."""
    seen: set[str] = set()
    at: str | None = vm_id
    while at and at not in seen and (known := lineage.get(at)) is not None:
        seen.add(at)
        if source in (known.parent_commit_id, known.grandparent_vm_id):
            return True
        at = known.grandparent_vm_id
    return False


def propose(
    meant: Sequence[Stray], adopters: Mapping[str, str], taken: Iterable[str], lineage: Mapping[str, VmMetadata], longest: int = LONGEST
) -> Proposal:
    """`meant`: the VMs of a selection, none of which an object here owns. `adopters`: by VM, what is declared to adopt it. `taken`: names
    that are not free. `longest`: most characters of a name."""
    refused: list[tuple[str, str]] = []
    declared: list[tuple[str, str]] = []
    good: list[Stray] = []
    for stray in meant:
        vm_id = stray.vm.vm_id
        if who := adopters.get(vm_id):
            declared.append((vm_id, who))
        elif why := _against(stray):
            refused.append((vm_id, why))
        else:
            good.append(stray)
    names = _names(good, frozenset(taken), longest)
    ids = {stray.vm.vm_id for stray in good}
    found = [Found(stray.vm, names[stray.vm.vm_id], stray.said, _above(stray.vm.vm_id, lineage, ids)) for stray in good]
    return Proposal(tuple(found), tuple(refused), tuple(declared))


def _against(stray: Stray) -> str:
    """Why a VM can't be adopted as it is, '' when nothing is against it."""
    if stray.standing is Standing.SUSPECTED:
        return f"{stray.said}; it may be on its way to an object here"
    if stray.standing not in _ADOPTABLE:
        return stray.said
    return "is dead; there is nothing to take over" if stray.vm.state is VmState.DEAD else ""


def _names(found: Sequence[Stray], taken: frozenset[str], longest: int) -> dict[str, str]:
    """By VM. The same VM has the same name in whatever order they are listed: one that is not free, or that several have, gets digits of
    the VM's id, or all of it where those are not enough."""
    wished = {stray.vm.vm_id: _as_name(named(stray.vm), longest) for stray in found}
    for digits in (_SHORT, None):
        often = Counter(wished.values())
        for vm_id, name in wished.items():
            if often[name] > 1 or name in taken or not name:
                end = vm_id if digits is None else vm_id[:digits]
                wished[vm_id] = f"{(_as_name(name, longest) or 'vm')[: longest - len(end) - 1].rstrip('-')}-{end}"
    return wished


def _as_name(text: str, longest: int) -> str:
    """As the name of an object may be; '' when nothing is left of it."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:longest].strip("-")


def _above(vm_id: str, lineage: Mapping[str, VmMetadata], ids: set[str]) -> str:
    """The VM of the set that it was made from; never a ring, whatever the platform says."""
    seen = {vm_id}
    at: str | None = vm_id
    nearest = ""
    while at is not None and (known := lineage.get(at)) is not None:
        at = known.grandparent_vm_id
        if at in seen:
            return ""
        if at is not None:
            seen.add(at)
            nearest = nearest or (at if at in ids else "")
    return nearest


# --- what is declared for them ------------------------------------------------------------------------------------------------------


def category(vm: Vm) -> Category:
    """What a VM is for, by its labels; a lieutenant's unless they say something else."""
    words = (label(vm, word).lower() for word in ("category", "role"))
    return next((_CATEGORIES[word] for word in words if word in _CATEGORIES), Category.LIEUTENANT)


def lieutenants(found: Iterable[Found], namespace: str, profile: str = "", role: str = "") -> list[tuple[Key, Json]]:
    """A lieutenant for each: what it is, and its spec. What is declared lets go of the VM when it is deleted, so that nothing is lost by a
    mistake; a VM that sleeps goes on sleeping."""
    return [
        (lieutenant(namespace, one.name), {"role": role or _role(one.vm), **_machine(one.vm, profile or DEFAULT_PROFILE), **_LET_GO})
        for one in found
    ]


def tree(found: Sequence[Found], profile: str = "", role: str = "") -> Json:
    """The spec of one VMTree with a node for each, of the category that its labels say, below the one that it was made from."""
    by_vm = {one.vm.vm_id: one.name for one in found}
    each_says = any(one.vm.state is VmState.SUSPENDED for one in found)  # else one that sleeps would send those below it to sleep
    nodes: list[JsonValue] = []
    for one in found:
        what = category(one.vm)
        node: Json = {"name": one.name, "category": what.value}
        if one.above:
            node["parent"] = by_vm[one.above]
        node |= _machine(one.vm, profile or _PROFILES.get(what, DEFAULT_PROFILE))
        if each_says:
            node.setdefault("mode", Mode.RUNNING.value)
        if what not in (Category.INFRA, Category.RESOURCE):
            node["lieutenant"] = {"role": role or _role(one.vm)}
        nodes.append(node)
    return {"nodes": nodes, **_LET_GO}


_LET_GO: Json = {"deletionPolicy": DeletionPolicy.ORPHAN.value}


def _machine(vm: Vm, profile: str) -> Json:
    asleep: Json = {"mode": Mode.SUSPENDED.value} if vm.state is VmState.SUSPENDED else {}
    return {"profileRef": {"name": profile}, "adopt": {"vmId": vm.vm_id}, **asleep}


def _role(vm: Vm) -> str:
    said = label(vm, "role")
    return f"Keep up the work on this machine, {vm.vm_id}" + (f" ({said})." if _WORDS.fullmatch(said) else ".")
