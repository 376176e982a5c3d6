"""Taking a node out of a tree together with what stands below it, as `policy.onNodeRemoved` says. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from reconciler.api.meta import Model
from reconciler.api.vmtree import OnNodeRemoved, Origin, VMTreeSpec
from reconciler.core.prune import parts
from reconciler.core.tree.places import below, downwards


@dataclass(frozen=True, slots=True)
class NodeRemoval:
    """What taking out a node asks for. `going`: nodes whose machines are deleted, each before the one above it; `released`: nodes whose
    machines are let go of; `moved`: nodes that stay, under `onto` ('' for the root) from now on; `branches`: those of them that are made
    from their parent, which a root can't be. `protected`: of what is deleted; `unwanted`: nodes that the policy does not let go with it."""

    going: tuple[str, ...]
    released: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    onto: str = ""
    branches: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

    @property
    def gone(self) -> tuple[str, ...]:
        """Every node that is not declared any more."""
        return *self.released, *self.going


def removal(spec: VMTreeSpec, node: str) -> NodeRemoval | None:
    """What taking out this node means; None when the tree has no such node."""
    nodes = {one.name: one for one in spec.nodes}
    if node not in nodes:
        return None
    under = below({one.name: one.parent or "" for one in spec.nodes}, node)
    leaves_first = [name for name in reversed(downwards(spec)) if name in under]
    policy = spec.policy.on_node_removed
    going = (node,) if policy in (OnNodeRemoved.REPARENT, OnNodeRemoved.ORPHAN) else (*leaves_first, node)
    onto = nodes[node].parent or ""
    moved = [one for one in spec.nodes if one.parent == node] if policy is OnNodeRemoved.REPARENT else []
    return NodeRemoval(
        going=going,
        released=tuple(leaves_first) if policy is OnNodeRemoved.ORPHAN else (),
        moved=tuple(one.name for one in moved),
        onto=onto if moved else "",
        branches=tuple(one.name for one in moved if one.from_ is Origin.PARENT and not onto),
        protected=tuple(name for name in going if nodes[name].protected),
        unwanted=tuple(leaves_first) if policy is OnNodeRemoved.REFUSE else (),
    )


def more_than(before: Model, after: Model, nodes: Collection[str]) -> list[str]:
    """What of a tree would go, in words, besides these nodes, if it were declared so."""
    asked = {f"node {name}" for name in nodes}
    return [what for what, _, _ in parts(before, after) if what not in asked]
