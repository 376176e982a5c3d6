"""The places of a hierarchy: every node, and of a node with replicas every one of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.api.meta import Mode, Model
from reconciler.api.vmtree import Node, Reach, VMTreeSpec
from reconciler.core.keys import Key, lieutenant, machine, machine_of_node, vm_tree
from reconciler.core.treerecords import PlaceRecord, TreeRecord

MACHINE = machine("", "").kind
"""The kind of what a node without an agent has; it is kept in the store only."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place for one machine. `name`: NODE, or NODE-ORDINAL of a node with replicas; `depth`: 1 for a root; `mode`: what holds
    for it, by itself, by a node above it or by the tree; `above`: the nearest node above it that has a place, '' for none."""

    name: str
    node: Node
    ordinal: int | None
    depth: int
    mode: Mode
    above: str = ""

    @property
    def record(self) -> PlaceRecord:
        """What is remembered of it."""
        return PlaceRecord(
            name=self.name,
            node=self.node.name,
            ordinal=self.ordinal,
            parent=self.above,
            agent=self.node.has_agent,
            protected=self.node.protected,
        )


@dataclass(frozen=True, slots=True)
class Use:
    """How much a place is in use, as far as it matters when one too many goes. `made`: it has a machine, or asked for one; `working`: a
    task was sent to its agent and is not over, or nobody knows; `idle_since`: when it was last seen to have ended one."""

    made: bool = False
    working: bool = False
    idle_since: float = 0.0


def key_of(tree: Key, place: str, agent: bool) -> Key:
    """The object of a place: a Lieutenant, or a machine of the tree's own."""
    return lieutenant(tree.namespace, f"{tree.name}-{place}") if agent else machine_of_node(tree, place)


def uid_of(tree_uid: str, place: str) -> str:
    """The same for the same place of the same tree, whoever makes it: a claim on a machine names it, and a lost store is made again."""
    return f"{tree_uid}-{place}"


def protected_nodes(spec: Model) -> tuple[str, ...]:
    """The nodes of a tree that are never deleted without a confirmation; none of anything else."""
    return tuple(node.name for node in spec.nodes if node.protected) if isinstance(spec, VMTreeSpec) else ()


def newly_suspended(before: Model, after: Model) -> list[str]:
    """The protected nodes of a tree that run as it was declared, and are to be suspended as it is declared now."""
    if not isinstance(before, VMTreeSpec) or not isinstance(after, VMTreeSpec):
        return []
    earlier, now = modes(before), modes(after)
    return [name for name in protected_nodes(after) if earlier.get(name) is Mode.RUNNING and now[name] is Mode.SUSPENDED]


def tree_of_machine(key: Key) -> Key | None:
    """The tree of a machine without an agent; None: it is something else, for what people declare has no slash in its name."""
    return vm_tree(key.namespace, key.name.partition("/")[0]) if "/" in key.name else None


def place_of_machine(key: Key) -> str:
    """The place of a machine without an agent in its tree; '' of anything else."""
    return key.name.partition("/")[2]


def place_name(node: str, ordinal: int | None) -> str:
    return node if ordinal is None else f"{node}-{ordinal}"


def modes(spec: VMTreeSpec) -> dict[str, Mode]:
    """By node: its own mode; else that of the nearest node above that has one of its own, unless that is Suspended and `policy.suspend`
    is NodeOnly; else the tree's."""
    nodes = {node.name: node for node in spec.nodes}
    said: dict[str, Mode | None] = {}
    for name in downwards(spec):
        node = nodes[name]
        above = said.get(node.parent) if node.parent is not None else None
        said[name] = node.mode or (None if above is Mode.SUSPENDED and spec.policy.suspend is Reach.NODE_ONLY else above)
    return {name: mode or spec.mode for name, mode in said.items()}


def depths(spec: VMTreeSpec) -> dict[str, int]:
    """By node: 1 for a root."""
    nodes = {node.name: node for node in spec.nodes}
    found: dict[str, int] = {}
    for name in downwards(spec):
        parent = nodes[name].parent
        found[name] = 1 if parent is None else found[parent] + 1
    return found


def downwards(spec: VMTreeSpec) -> list[str]:
    """All nodes, each after the one above it, else in the order of the declaration. A valid spec has no cycle."""
    below: dict[str | None, list[str]] = {}
    for node in spec.nodes:
        below.setdefault(node.parent, []).append(node.name)
    order, level = [], below.get(None, [])
    while level:
        order += level
        level = [child for name in level for child in below.get(name, ())]
    return order


def wanted_places(spec: VMTreeSpec, record: TreeRecord, use: Mapping[str, Use]) -> tuple[Place, ...]:
    """Every place that is to be there, roots first. `use`: of the places that are there. Of too many replicas those stay that work, then
    those that worked last; one that works stays although it is one too many (G-10)."""
    nodes = {node.name: node for node in spec.nodes}
    mode, depth = modes(spec), depths(spec)
    there: dict[str, list[int]] = {}
    for place in record.places:
        if place.ordinal is not None and not place.going:
            there.setdefault(place.node, []).append(place.ordinal)
    found: list[Place] = []
    above: dict[str | None, str] = {None: ""}  # by node: itself where it has a place, else what stands above it
    for name in downwards(spec):
        node = nodes[name]
        ordinals: Sequence[int | None] = [None]
        if node.replicas is not None:
            ordinals = ordinals_of(name, node.replicas, sorted(there.get(name, ())), use)
        over = above[node.parent]
        above[name] = name if ordinals else over
        found += [Place(place_name(name, ordinal), node, ordinal, depth[name], mode[name], over) for ordinal in ordinals]
    return tuple(found)


def ordinals_of(node: str, replicas: int, there: Sequence[int], use: Mapping[str, Use]) -> list[int]:
    """The ordinals that are to be there: those that are, filled up with the lowest free ones, or without the most dispensable."""
    kept = set(there)
    if len(kept) > replicas:
        leaving = sorted(kept, key=lambda ordinal: dispensable(use.get(place_name(node, ordinal), Use()), ordinal))
        kept -= {one for one in leaving[: len(kept) - replicas] if not use.get(place_name(node, one), Use()).working}
    free = 0
    while len(kept) < replicas:
        if free not in kept:
            kept.add(free)
        free += 1
    return sorted(kept)


def dispensable(use: Use, ordinal: int) -> tuple[bool, bool, float, int]:
    """Which of several goes first: without a machine before with one, idle before working, longest idle first, highest ordinal first."""
    return use.working, use.made, use.idle_since, -ordinal


def below(parents: Mapping[str, str], node: str) -> set[str]:
    """Every node under this one. `parents`: of each node the one above it, '' for none."""
    found: set[str] = set()
    todo = [node]
    while todo:
        at = todo.pop()
        children = [name for name, parent in parents.items() if parent == at and name not in found]
        found.update(children)
        todo += children
    return found
