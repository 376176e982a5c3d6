"""The nodes of a VMTree as people name them, found among stored objects. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.api.parsing import load_spec
from reconciler.api.status.vmtree import VMTreeStatus
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.keys import Key
from reconciler.core.tree.owned import NODE, TREE
from reconciler.core.tree.places import MACHINE, depths
from reconciler.engine.ports import StoredObject
from reconciler.errors import InvalidSpec, UsageError
from reconciler.views.documents import Table
from reconciler.visible import one_line


@dataclass(frozen=True, slots=True)
class PlacedObject:
    """What a tree declares for one place. `name`: NODE, or NODE-ORDINAL of a node with replicas."""

    name: str
    node: str
    obj: StoredObject


def placed(tree: Key, objects: Iterable[StoredObject]) -> list[PlacedObject]:
    """The lieutenants and machines of a tree among these objects, by name."""
    found: list[PlacedObject] = []
    for obj in objects:
        node = obj.labels.get(NODE, "")
        start = f"{tree.name}/" if obj.key.kind == MACHINE else f"{tree.name}-"
        ours = obj.labels.get(TREE) == tree.name and obj.key.namespace == tree.namespace
        if node and ours and obj.key.kind in (MACHINE, "Lieutenant") and obj.key.name.startswith(start):
            found.append(PlacedObject(obj.key.name.removeprefix(start), node, obj))
    return sorted(found, key=lambda one: one.name)


def of_node(tree: Key, places: Iterable[PlacedObject], node: str) -> list[PlacedObject]:
    """Those that a person means by `--node`: one place, or all replicas of a node. Raises `UsageError` when there is none."""
    every = list(places)
    found = [one for one in every if one.name == node] or [one for one in every if one.node == node]
    if not found:
        known = ", ".join(one.name for one in every) or "none yet"
        raise UsageError(f"vmtree/{tree.name} has no node {node!r} that is made", f"--node {node}", f"its nodes are: {known}")
    return found


def node_table(status: VMTreeStatus) -> Table | None:
    """The nodes as the tree's status tells of them, the worst first."""
    rows = tuple(
        (
            node.name,
            node.category or "<none>",
            node.phase,
            "True" if node.ready else "False",
            node.reason,
            node.lieutenant or "<none>",
            node.vm_id or "<none>",
            one_line(node.message),
        )
        for node in status.nodes or ()
    )
    return Table(("NAME", "CATEGORY", "PHASE", "READY", "REASON", "LIEUTENANT", "VM", "MESSAGE"), rows) if rows else None


def tree_spec(tree: StoredObject) -> VMTreeSpec | None:
    """What is declared of a tree; None when that is not valid."""
    try:
        spec = load_spec("VMTree", tree.spec, tolerant=True)
    except InvalidSpec:
        return None
    assert isinstance(spec, VMTreeSpec)
    return spec


def limit_table(spec: VMTreeSpec, status: VMTreeStatus) -> Table:
    """Every limit beside how much of it there is; `N or more` where the status does not tell of all nodes."""
    nodes = status.nodes or ()
    machines = sum(bool(node.vm_id) for node in nodes)
    making = sum(node.phase == "Provisioning" for node in nodes)
    working = sum(node.phase == "Working" for node in nodes)
    limits = spec.limits
    more = " or more" if status.counts is not None and status.counts.nodes > len(nodes) else ""
    most = (
        ("maxVMs", limits.max_vms, f"{machines}{more}"),
        ("maxConcurrentCreates", limits.max_concurrent_creates, f"{making}{more}"),
        ("maxWorking", limits.max_working, f"{working}{more}"),
        ("maxDepth", limits.max_depth, str(max(depths(spec).values(), default=0))),
        ("maxChildren", limits.max_children, str(max(_children(spec), default=0))),
    )
    return Table(("LIMIT", "AT MOST", "NOW"), tuple((name, "<none>" if bound is None else str(bound), now) for name, bound, now in most))


def _children(spec: VMTreeSpec) -> Iterator[int]:
    for node in spec.nodes:
        yield sum(1 if one.replicas is None else one.replicas for one in spec.nodes if one.parent == node.name)
