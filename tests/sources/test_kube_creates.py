"""A create is in the status of its object before it is sent, also when nothing else was told of that object yet."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.core.keys import Json, Key, SlotOwner, as_map, as_maps, vm_tree
from reconciler.engine.effects import Effects
from reconciler.engine.ports import Intent
from reconciler.sources.kube import owned, raw
from reconciler.sources.kube.client import collection
from reconciler.sources.kube.seen import Seen
from reconciler.sources.kube.sink import KubeSink
from tests.kube.double import ApiServer, Double
from tests.sources.test_kube_answers import HEAD


async def told_of(key: Key, slot: str) -> Json:
    """The status in the cluster while a create for this place of it ('': itself) is written down."""
    api = Double(ApiServer(time.time), 0.0)
    obj = await api.create(collection(key.kind, key.namespace), {**HEAD, "kind": key.kind, "metadata": {"name": key.name}, "spec": {}})
    item = SimpleNamespace(key=key, uid=raw.uid(obj), obj=SimpleNamespace(key=key, uid=raw.uid(obj), source=raw.SOURCE, status={}))
    table = SimpleNamespace(get=lambda at: item if at == key else None, lieutenant=lambda _: None)
    seen = Seen({key: obj})
    sink = KubeSink(cast(Any, api), cast(Any, SimpleNamespace(known=list, handed=0)), seen)
    sink.attach(cast(Any, table), Effects(), time.time, lambda _: None, cast(Any, None), cast(Any, None))
    owner = owned.slot_of(key, raw.uid(obj), slot) if slot else SlotOwner.of(key, raw.uid(obj))
    await sink.persist_intent(Intent("token-1", owner, "create", 1, {"epoch": 1}, time.time(), None))
    return raw.status(seen[key])


@pytest.mark.guarantee("G-02")
async def test_of_a_lieutenant() -> None:
    vm = as_map((await told_of(Key("Lieutenant", "team", "ada"), "")).get("vm"))
    assert as_map(vm.get("create")).get("token") == "token-1"


@pytest.mark.guarantee("G-02")
async def test_of_a_node_of_a_tree() -> None:
    nodes = as_maps((await told_of(vm_tree("team", "prod"), "root")).get("nodes"))
    assert [(node["name"], as_map(node.get("create")).get("token")) for node in nodes] == [("root", "token-1")]
