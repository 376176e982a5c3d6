"""What is told of the nodes of a tree."""

from __future__ import annotations

from reconciler.api.status.vmtree import NodeStatus, TreeCounts, VMTreeStatus
from reconciler.views.nodes import limit_table, tree_spec
from tests.views.doubles import stored

SPEC = {"nodes": [{"name": "root", "category": "Infra", "profileRef": {"name": "lightweight"}}], "limits": {"maxVMs": 9}}


def now(count: int) -> dict[str, str]:
    """How much there is by limit; `count`: how many nodes there are, of which three are told of."""
    told = (NodeStatus(name="a", phase="Provisioning"), NodeStatus(name="b", phase="Working", vm_id="x"), NodeStatus(name="c", vm_id="y"))
    spec = tree_spec(stored("VMTree", "prod", dict(SPEC)))
    assert spec is not None
    return {row[0]: row[2] for row in limit_table(spec, VMTreeStatus(nodes=told, counts=TreeCounts(nodes=count))).rows}


def test_limits_stand_beside_what_there_is() -> None:
    assert now(3) == {"maxVMs": "2", "maxConcurrentCreates": "1", "maxWorking": "1", "maxDepth": "1", "maxChildren": "0"}


def test_where_not_all_nodes_are_told_of_there_may_be_more() -> None:
    every = {"maxVMs": "2 or more", "maxConcurrentCreates": "1 or more", "maxWorking": "1 or more", "maxDepth": "1", "maxChildren": "0"}
    assert now(300) == every


def test_a_tree_that_does_not_validate_declares_nothing() -> None:
    assert tree_spec(stored("VMTree", "prod", {"limits": {"maxVMs": "many"}})) is None
