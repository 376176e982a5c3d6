"""By which labels objects and VMs are selected: those that were declared, and what is known of the machine beside them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from reconciler.api.annotations import PREFIX
from reconciler.core.keys import as_map, as_maps, lieutenant, machine
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.core.snapshot.vm import Vm
    from reconciler.engine.ports import StoredObject

STATE = f"{PREFIX}state"
"""The state of a VM, as the platform says: `running`, `suspended`, …"""
ORGAN, CAPABILITY = f"organ.{PREFIX}", f"capability.{PREFIX}"
"""Before the name of an organ or capability; the value is its state on that machine: `Verified`, `WithoutKey` or `NotVerified`."""
_DERIVED = (STATE, ORGAN, CAPABILITY)


def found_on(obj: StoredObject) -> dict[str, str]:
    """The organs and capabilities of its machine as labels, with what was verified of them there."""
    if obj.key.kind not in (lieutenant("", "").kind, machine("", "").kind):
        return {}
    boot = as_map(obj.status.get("boot"))
    pieces = ((ORGAN, as_maps(boot.get("organs"))), (CAPABILITY, as_maps(boot.get("capabilities"))))
    return {f"{prefix}{one.get('name')}": str(one.get("state", "NotVerified")) for prefix, found in pieces for one in found}


def selectable(obj: StoredObject) -> dict[str, str]:
    """What a selector may name of an object: its labels, and what was found on its machine."""
    return {**obj.labels, **found_on(obj)}


def labels_of_vm(vm: Vm, owner: StoredObject | None) -> dict[str, str]:
    """What a selector may name of a VM: the labels that the platform has on it and its state; of one that an object owns also that
    object's labels, which count before the platform's, and what was found on it. Nobody says the latter by a label of their own."""
    said = {name: value for name, value in vm.labels.items() if not name.startswith(_DERIVED)}
    return {**said, **(selectable(owner) if owner is not None else {}), STATE: vm.state.value}


_TERM = re.compile(r"!?[\w./-]+|[\w./-]+\s*(=|==|!=)\s*[\w.-]*")


def matches(labels: Mapping[str, str], selector: str) -> bool:
    """Whether labels fit a selector: `a=b,c!=d,e,!f`. Raises `UsageError`."""
    terms = [part.strip() for part in selector.split(",")]
    for term in terms:
        if not _TERM.fullmatch(term):
            what = f"{term!r} is no part of a selector" if term else "a selector has an empty part"
            raise UsageError(what, f"-l {selector}", "write NAME=VALUE, NAME!=VALUE, NAME or !NAME, separated by commas")
    for term in terms:
        name, unequal, value = term.partition("!=")
        if unequal:
            fits = labels.get(name.strip()) != value.strip()
        elif "=" in term:
            name, _, value = term.partition("=")
            fits = labels.get(name.strip()) == value.removeprefix("=").strip()
        else:
            fits = (term.removeprefix("!") in labels) != term.startswith("!")
        if not fits:
            return False
    return True
