"""Creates that may be on their way, in the status of the objects that they are made for: so that a lost store makes no second machine and
leaves none behind that somebody pays for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from reconciler.api.status.vmtree import NODES
from reconciler.core.keys import Json, JsonValue, Key, SlotOwner, as_map, as_maps
from reconciler.core.profile import bake, warm
from reconciler.core.records import NEXT, SPARE, LieutenantRecord
from reconciler.core.tree.places import place_of_machine, tree_of_machine
from reconciler.engine.ports import Intent
from reconciler.sources.kube import owned
from reconciler.sources.kube.restore import create_status

Pending = Callable[[SlotOwner], Intent | None]
"""The open create of a slot."""


def told_by(key: Key) -> Key:
    """The object whose status tells of the creates of this one."""
    return tree_of_machine(key) or bake.profile_of(key) or key


def beside(key: Key, uid: str, pending: Pending) -> list[JsonValue]:
    """The creates of the slots beside an object's own."""
    found = ((node, pending(SlotOwner.of(key, uid, node))) for node in (NEXT, SPARE))
    return [{**create_status(intent).dump(), "slot": node} for node, intent in found if intent is not None]


def naming(status: Json, record: LieutenantRecord) -> Json:
    """A status that is older than the machines which were just made, and names them all the same: their creates are told no more, and
    nothing on the platform says yet whose they are. The same where it names them."""
    for section, name, vm_id in (("vm", "id", record.slot.vm_id), ("replacement", "vm", record.next.vm_id)):
        told = as_map(status.get(section))
        if vm_id and told.get(name) != vm_id:
            status = {**status, section: {**told, name: vm_id}}
    return status


def of_nodes(
    tree: Key, uid: str, nodes: list[Json], pending: Pending, sending: Iterable[SlotOwner], made: Callable[[SlotOwner], str]
) -> list[JsonValue]:
    """The nodes of a tree, each with the creates of its own machine and of those beside it. `sending`: slots whose create is just being
    written down; `made`: the machine in a slot, which is named from the moment on at which its create is told no more. Where nodes are
    more than status may tell of, those with a create are told of first."""
    told: list[JsonValue] = []
    known: set[str] = set()
    for node in nodes:
        name = str(node.get("name", ""))
        known.add(name)
        creates = _of_node(tree, uid, name, pending)
        if "create" not in creates and not node.get("lieutenant") and (vm_id := made(owned.slot_of(tree, uid, name))):
            creates["vmId"] = vm_id
        told.append({**node, **creates})
    for name in dict.fromkeys(place_of_machine(slot.object) for slot in sending):
        if name and name not in known and (creates := _of_node(tree, uid, name, pending)):
            told.append({"name": name, **creates})
    return told if len(told) <= NODES else sorted(told, key=lambda node: not {"create", "creates"} & as_map(node).keys())[:NODES]


def _of_node(tree: Key, uid: str, name: str, pending: Pending) -> dict[str, JsonValue]:
    slot = owned.slot_of(tree, uid, name)
    own, others = pending(slot), beside(slot.object, slot.uid, pending)
    return {**({"create": create_status(own).dump()} if own is not None else {}), **({"creates": others} if others else {})}


def of_profile(uid: str, machines: Iterable[SlotOwner], pending: Pending) -> list[JsonValue]:
    """The creates of machines that a profile has itself. `uid`: the profile's."""
    found = ((name_of(uid, slot), pending(slot)) for slot in dict.fromkeys(machines))
    return [{**create_status(intent).dump(), "slot": name} for name, intent in found if name and intent is not None]


def name_of(uid: str, slot: SlotOwner) -> str:
    """How the status of a profile calls this machine of it: `bake-HASH` or `warm-NUMBER`; '' where it is of an earlier release, whose
    machines can't be told by their names alone."""
    if bake.is_oven(slot.object):
        beginning, rest = bake.oven_uid(uid, ""), "bake-"
        return rest + slot.uid.removeprefix(beginning) if slot.uid.startswith(beginning) else ""
    serial = warm.serial_of(slot.object)
    return f"warm-{serial}" if serial and slot.uid == warm.uid_of(uid, serial) else ""


def without(status: Json) -> Json:
    """A status as it is without what only the cluster's has."""
    return {name: _without(name, value) for name, value in status.items() if name != "creates"}


def _without(name: str, value: JsonValue) -> JsonValue:
    if name in ("vm", "bake") and isinstance(value, dict):
        return {inner: told for inner, told in value.items() if inner not in ("create", "creates")}
    if name == "nodes" and isinstance(value, list):
        return list(_bare(as_maps(value)))
    return value


def _bare(nodes: Iterable[Json]) -> Iterator[Json]:
    return ({name: told for name, told in node.items() if name not in ("create", "creates")} for node in nodes)
