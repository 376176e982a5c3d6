"""Hierarchies as the cluster source sees them: what their status says of their machines holds them, and is never lost among many."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.api.reasons import Reason
from reconciler.api.status.vmtree import NODES
from reconciler.cli import kube
from reconciler.core.keys import Json, SlotOwner, as_map, vm_tree
from reconciler.engine.effects import Effects
from reconciler.errors import NotFound, Refused
from reconciler.sources.kube import owned, raw
from reconciler.sources.kube.client import collection, path_of
from reconciler.sources.kube.creates import of_nodes
from reconciler.sources.kube.seen import Seen
from reconciler.sources.kube.source import KubeSource
from tests.kube.double import ApiServer, Double

TREE = vm_tree("team", "prod")
ROOT: Json = {"name": "root", "category": "Infra", "profileRef": {"name": "lightweight"}}


def nowhere(slot: SlotOwner) -> str:
    """No machine is in it."""
    return ""


def nothing(slot: SlotOwner) -> None:
    """No create is under way for it."""


async def declared(api: Double, nodes: list[Json], status: Json) -> Json:
    """The tree in the cluster with our finalizer. Its limits are not valid."""
    head: Json = {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": TREE.kind}
    metadata: Json = {"name": TREE.name, "namespace": TREE.namespace}
    metadata["finalizers"] = list(raw.ours({**head, "metadata": metadata}))
    spec: Json = {"limits": {"maxVMs": "many"}, "nodes": list(nodes)}
    made = await api.create(collection(TREE.kind, TREE.namespace), {**head, "metadata": metadata, "spec": spec})
    return await api.replace(path_of(TREE, "status"), {**made, "status": status})


@pytest.mark.parametrize(
    ("node", "held"), [({"vmId": "vm-1"}, True), ({"create": {"token": "t", "attempt": 1}}, True), ({"phase": "Stalled"}, False)]
)
async def test_a_tree_that_no_longer_validates_is_held_by_the_machines_of_its_nodes(node: Json, held: bool) -> None:
    """The store is lost, the declaration is not understood, and it is deleted."""
    api = Double(ApiServer(time.time))
    made = await declared(api, [ROOT], {"nodes": [{"name": "root", **node}]})
    await api.delete(path_of(TREE), raw.uid(made))
    seen = Seen({TREE: await api.get(path_of(TREE))})
    engine = SimpleNamespace(effects=Effects(), table=SimpleNamespace(get=lambda _: None))
    source = KubeSource(cast(Any, api), cast(Any, engine), cast(Any, None), seen, "u")
    await source._reconcile(TREE)
    assert source.refused[TREE][0] == Reason.INVALID_SPEC
    if held:
        assert raw.finalizers(await api.get(path_of(TREE)))
        return
    with pytest.raises(NotFound):
        await api.get(path_of(TREE))


def test_a_create_is_in_the_status_of_a_tree_with_more_nodes_than_are_told_of() -> None:
    """The API server takes no longer list than the kind declares: what is cut is never a create."""
    intent = SimpleNamespace(token="t", attempt=1, sent_at=1.0, server_time=None, payload={})
    sending = {owned.slot_of(TREE, "u", "late"): cast(Any, intent)}
    nodes: list[Json] = [{"name": f"n-{number}"} for number in range(NODES)]
    told = [as_map(node) for node in of_nodes(TREE, "u", nodes, sending.get, sending, nowhere)]
    assert len(told) == NODES
    assert [node["name"] for node in told if "create" in node] == ["late"]
    assert [node["name"] for node in told[1:]] == [node["name"] for node in nodes[:-1]], "the others keep their order"
    fewer = [as_map(node) for node in of_nodes(TREE, "u", nodes[:1], sending.get, sending, nowhere)]
    assert [node["name"] for node in fewer] == ["n-0", "late"]


def test_a_machine_is_named_from_the_moment_on_at_which_its_create_is_told_no_more() -> None:
    """Nothing on the platform says yet whose it is, and the status of the tree is older."""
    nodes: list[Json] = [{"name": "root", "phase": "Provisioning"}]
    slot, intent = owned.slot_of(TREE, "u", "root"), SimpleNamespace(token="t", attempt=1, sent_at=1.0, server_time=None, payload={})
    (told,) = of_nodes(TREE, "u", nodes, {slot: cast(Any, intent)}.get, [], {slot: "vm-1"}.__getitem__)
    assert {"create", "vmId"} & as_map(told).keys() == {"create"}
    (told,) = of_nodes(TREE, "u", nodes, nothing, [], {slot: "vm-1"}.__getitem__)
    assert told == {**nodes[0], "vmId": "vm-1"}
    own: Json = {**nodes[0], "lieutenant": "prod-root", "vmId": "vm-2"}
    (told,) = of_nodes(TREE, "u", [own], nothing, [], {slot: "vm-1"}.__getitem__)
    assert told == own, "a machine that it had before its agent is none of its own"


async def test_a_tree_that_does_not_validate_is_deleted_by_command() -> None:
    """What of it is protected is all the same: that is read from what is declared."""
    api = Double(ApiServer(time.time))
    await declared(api, [{**ROOT, "protected": True}], {})
    with pytest.raises(Refused, match="root of vmtree/prod is protected"):
        await kube._delete(cast(Any, api), TREE, {})
    other = Double(ApiServer(time.time))
    await declared(other, [ROOT], {})
    await kube._delete(cast(Any, other), TREE, {})
    assert raw.deleting(await other.get(path_of(TREE)))
