"""What a tree declares for a place: the spec of its Lieutenant, or of a machine without an agent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.api.annotations import PREFIX, PROTECTION
from reconciler.api.meta import Mode, Ref
from reconciler.api.parsing import plain
from reconciler.api.vmtree import Node, Origin, VMTreeSpec
from reconciler.core.keys import Json, Key
from reconciler.core.tree.places import Place, key_of, place_name

TREE, NODE, CATEGORY, PARENT = (PREFIX + word for word in ("tree", "node", "category", "parent"))
"""Labels of what a tree declares: its own name, the node's, its category, and the node above."""


@dataclass(frozen=True, slots=True)
class OwnedObject:
    """One object as a tree declares it."""

    key: Key
    spec: Json
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def owned_object(tree: Key, spec: VMTreeSpec, place: Place) -> OwnedObject:
    """The object of a place. A node that says nothing about a thing has it from the tree."""
    nodes = {node.name: node for node in spec.nodes}
    key = key_of(tree, place.name, place.node.has_agent)
    labels = {TREE: tree.name, NODE: place.node.name, CATEGORY: str(place.node.category)}
    if place.node.parent is not None:
        labels[PARENT] = place.node.parent
    return OwnedObject(key, _spec(tree, spec, nodes, place), labels, {PROTECTION: "enabled"} if place.node.protected else {})


def _spec(tree: Key, spec: VMTreeSpec, nodes: Mapping[str, Node], place: Place) -> Json:
    node = place.node
    made: Json = plain(node.lieutenant) if node.lieutenant is not None else {}
    made["profileRef"] = {"name": profile_of(nodes, node)}
    made.setdefault("role", f"Node {node.name} of tree {tree.name}, category {node.category}")
    if place.mode is not Mode.RUNNING:
        made["mode"] = str(place.mode)
    if "resources" in node.model_fields_set:
        made["resources"] = plain(node.resources)
    if "update" in node.model_fields_set:
        made.setdefault("update", plain(node.update))
    if "deletion_policy" in spec.model_fields_set:
        made.setdefault("deletionPolicy", str(spec.deletion_policy))
    if spec.snapshots is not None:
        made.setdefault("snapshots", plain(spec.snapshots))
    if node.has_agent and (context := context_of(nodes, node)):
        told = made.get("instructions")
        made["instructions"] = {**(told if isinstance(told, dict) else {}), "context": context}
    if node.adopt is not None:
        made["adopt"] = plain(node.adopt)
    if node.from_ is Origin.PARENT and node.parent is not None:
        made["fork"] = {"from": source_of(tree, nodes[node.parent])}
    return made


def profile_of(nodes: Mapping[str, Node], node: Node) -> str:
    """The node's profile; of a branch without one its parent's."""
    at: Node = node
    while at.profile_ref is None and at.parent is not None:
        at = nodes[at.parent]
    ref = at.profile_ref or Ref(name="")
    return ref.name


def source_of(tree: Key, parent: Node) -> Json:
    """Whose machine is branched, as `fork.from` says it: of several replicas the first."""
    place = place_name(parent.name, None if parent.replicas is None else 0)
    return {"name": key_of(tree, place, agent=True).name} if parent.has_agent else {"tree": tree.name, "name": place}


def context_of(nodes: Mapping[str, Node], node: Node) -> str:
    """What the agents above tell those below, then what is said to this one. It ends at a node that inherits nothing."""
    told: list[str] = []
    at: Node | None = node
    while at is not None:
        instructions = at.lieutenant.instructions if at.lieutenant is not None else None
        if instructions is not None and instructions.context.strip():
            told.append(instructions.context.strip())
        if instructions is not None and not instructions.inherit:
            break
        at = nodes[at.parent] if at.parent is not None else None
    return "\n\n".join(reversed(told))
