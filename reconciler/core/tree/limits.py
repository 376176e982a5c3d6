"""What is more than a tree may have. Pure."""

from __future__ import annotations

from reconciler.core.tree.snapshot import TreeSnapshot


def beyond_limits(v: TreeSnapshot) -> dict[str, str]:
    """By place: why it is more than the tree may have (G-09), in words. Of too many children the first ones of the declaration may be."""
    limits, found = v.spec.limits, dict[str, str]()
    children: dict[str, int] = {}
    over: set[str] = set()
    for place in v.places:
        parent = place.node.parent
        if parent is not None:
            children[parent] = children.get(parent, 0) + 1
        if limits.max_depth is not None and place.depth > limits.max_depth:
            found[place.name] = f"{place.name} is on level {place.depth}, limits.maxDepth is {limits.max_depth}"
        elif parent is not None and limits.max_children is not None and children[parent] > limits.max_children:
            found[place.name] = f"{place.name} is child {children[parent]} of {parent}, limits.maxChildren is {limits.max_children}"
        elif parent is not None and parent in over:
            found[place.name] = f"{place.name} stands below one that is too many"
        else:
            continue
        over.add(place.node.name)
    return found
