"""What the status of a tree tells while places come and go."""

from __future__ import annotations

from reconciler.api.parsing import load_spec
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.decisions import Steady
from reconciler.core.keys import vm_tree
from reconciler.core.lasterror import NONE
from reconciler.core.tree.places import wanted_places
from reconciler.core.tree.snapshot import Found, TreeSnapshot
from reconciler.core.tree.status import tree_status
from reconciler.core.treerecords import PlaceRecord, TreeRecord


def test_places_that_go_are_counted_among_those_that_change_and_no_number_falls_below_zero() -> None:
    spec = load_spec("VMTree", {"nodes": [{"name": "root", "category": "Infra", "profileRef": {"name": "full"}}]})
    assert isinstance(spec, VMTreeSpec)
    going = ("a", "b", "c")
    record = TreeRecord(places=tuple(PlaceRecord(name=name, node=name) for name in ("root", *going)))
    found = {"root": Found(ours=True, ready=True), **{name: Found(ours=True, ready=True, deleting=True) for name in going}}
    view = TreeSnapshot(vm_tree("default", "prod"), spec, record, wanted_places(spec, record, {}), found=found)
    counts = tree_status(view, Steady(), {}, 1, 0.0, NONE).counts
    assert counts is not None
    assert (counts.nodes, counts.ready, counts.reconciling, counts.stalled) == (1, 1, 3, 0)

    foreign = TreeSnapshot(view.key, spec, record, view.places, found={"root": Found(ours=False)})
    counts = tree_status(foreign, Steady(), {}, 1, 0.0, NONE).counts
    assert counts is not None
    assert (counts.ready, counts.reconciling) == (0, 1)
