"""A node taken out of a tree because a person asked for it: what changes in the declaration, and what needs a confirmation. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reconciler.api.parsing import load_spec
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.keys import JsonValue, short
from reconciler.core.tree.policies import some
from reconciler.core.tree.removal import NodeRemoval, removal
from reconciler.engine.ports import StoredObject
from reconciler.errors import Conflict, Refused, UsageError

Change = tuple[Sequence[str], JsonValue]


@dataclass(frozen=True, slots=True)
class Removing:
    """What taking out a node means, and the changes of the declaration that say so."""

    removal: NodeRemoval
    changes: list[Change]


def spec_of(tree: StoredObject) -> VMTreeSpec:
    """What is declared of a tree. Raises `UsageError` when it is none, `InvalidSpec`."""
    spec = load_spec(tree.key.kind, tree.spec, tolerant=True)
    if not isinstance(spec, VMTreeSpec):
        raise UsageError("only a vmtree has nodes", short(tree.key), "name a vmtree")
    return spec


def removing(
    tree: StoredObject, node: str, confirmed: bool, protected: Collection[str] = (), known: Collection[str] | None = None
) -> Removing:
    """The changes that take a node out of this tree, with what stands below it as `policy.onNodeRemoved` says. `protected`: nodes that are
    so besides those of the declaration; `known`: nodes of which the person was told that they go. Raises `UsageError` for a node
    that it does not have, `Refused` for what can't go or needs a confirmation, `Conflict` when other nodes would go than are known."""
    spec = spec_of(tree)
    found = removal(spec, node)
    if found is None:
        raise unknown(tree, spec, node)
    where = short(tree.key)
    if len(found.gone) == len(spec.nodes):
        raise Refused("nothing of it would be left", where, f"delete the whole: `reconciler delete {where}`")
    if found.branches:
        what = f"{some(found.branches)} stays, is made from its parent, and would have none (policy.onNodeRemoved is Reparent)"
        raise Refused(what, where, "give it another parent first, or `from: Profile`")
    guarded = [name for name in found.going if name in found.protected or name in protected]
    reasons = [f"{some(guarded)} of it is protected from deletion"] if guarded else []
    if found.unwanted:
        reasons.append(f"{some(found.unwanted)} stands below {node}, and policy.onNodeRemoved is Refuse")
    if reasons and not confirmed:
        raise Refused("; ".join(reasons), where, "confirm with --confirm that all of it goes")
    if known is not None and (others := [name for name in found.gone if name not in known]):
        raise Conflict(f"the tree was changed meanwhile; {some(others)} would go too", where, "look at it, and try again")
    at = {one.name: index for index, one in enumerate(spec.nodes)}
    moved: list[Change] = [(("nodes", str(at[name]), "parent"), found.onto or None) for name in found.moved]
    out: list[Change] = [(("nodes", str(index)), None) for index in sorted((at[name] for name in found.gone), reverse=True)]
    return Removing(found, [*moved, *out])


def unknown(tree: StoredObject, spec: VMTreeSpec, node: str) -> UsageError:
    """That it has no such node; one of several replicas is chosen by the controller."""
    several, _, ordinal = node.rpartition("-")
    for index, one in enumerate(spec.nodes):
        if one.name == several and one.replicas is not None and ordinal.isdigit():
            remedy = f"lower their number: `reconciler set {short(tree.key)} nodes.{index}.replicas={max(one.replicas - 1, 0)}`"
            return UsageError(f"{node!r} is one of {one.replicas} replicas; which of them go is decided by who works", "--node", remedy)
    return UsageError(f"there is no node {node!r}", short(tree.key), f"its nodes are: {some([one.name for one in spec.nodes])}")
