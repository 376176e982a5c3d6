"""What taking a node out of a tree means, under every `policy.onNodeRemoved`."""

from __future__ import annotations

import pytest

from reconciler.api.parsing import load_spec
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.keys import Json, JsonValue
from reconciler.core.tree.removal import NodeRemoval, more_than, removal


def spec(policy: str = "Cascade", **changed: JsonValue) -> VMTreeSpec:
    """root over back over (db, worker), and worker over leaf."""
    parents = {"root": "", "back": "root", "db": "back", "worker": "back", "leaf": "worker", "front": "root"}
    nodes: list[JsonValue] = []
    for name, parent in parents.items():
        node: Json = {"name": name, "category": "Resource", "profileRef": {"name": "full"}, "protected": name in ("db", "root")}
        nodes.append({**node, **({"parent": parent} if parent else {})})
    found = load_spec("VMTree", {"nodes": nodes, "policy": {"onNodeRemoved": policy}, **changed})
    assert isinstance(found, VMTreeSpec)
    return found


@pytest.mark.parametrize(
    ("policy", "node", "meant"),
    [
        ("Cascade", "front", NodeRemoval(("front",))),
        ("Cascade", "back", NodeRemoval(("leaf", "worker", "db", "back"), protected=("db",))),
        ("Refuse", "front", NodeRemoval(("front",))),
        ("Refuse", "back", NodeRemoval(("leaf", "worker", "db", "back"), protected=("db",), unwanted=("leaf", "worker", "db"))),
        ("Reparent", "back", NodeRemoval(("back",), moved=("db", "worker"), onto="root")),
        ("Reparent", "root", NodeRemoval(("root",), moved=("back", "front"), protected=("root",))),
        ("Orphan", "back", NodeRemoval(("back",), released=("leaf", "worker", "db"))),
        ("Orphan", "none", None),
    ],
)
@pytest.mark.guarantee("G-13")
def test_a_node_goes_with_what_stands_below_it_as_the_policy_says(policy: str, node: str, meant: NodeRemoval | None) -> None:
    assert removal(spec(policy), node) == meant


def test_more_goes_when_something_else_is_missing_or_has_fewer_replicas() -> None:
    before = spec()
    after = load_spec("VMTree", {"nodes": [{"name": "root", "category": "Resource", "profileRef": {"name": "full"}}]})
    assert more_than(before, after, ("back", "db", "worker", "leaf", "front")) == []
    assert more_than(before, after, ("back", "db", "worker", "leaf")) == ["node front"]
