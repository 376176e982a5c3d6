"""Nodes of a VMTree on a command line."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.api.parsing import load_spec
from reconciler.api.status.vmtree import VMTreeStatus
from reconciler.api.vmtree import VMTreeSpec
from reconciler.cli import names
from reconciler.cli.access import reader
from reconciler.cli.read import one
from reconciler.config import Config
from reconciler.core.keys import Key
from reconciler.core.tree.places import MACHINE, wanted_places
from reconciler.core.treerecords import TreeRecord
from reconciler.engine.ports import StoredObject
from reconciler.errors import UsageError
from reconciler.views.nodes import PlacedObject, of_node, placed

Node = Annotated[str, typer.Option("--node", metavar="N", help="One node of a vmtree.", show_default=False)]


def must_be_tree(key: Key, node: str) -> None:
    """Raises `UsageError` when a node is named of something that has none."""
    if node and key.kind != "VMTree":
        raise UsageError("only a vmtree has nodes", f"--node {node}", "leave it out")


def agentless(tree: StoredObject) -> set[str]:
    """The places of a tree that have a machine and no agent. Raises `InvalidSpec`."""
    spec = load_spec(tree.key.kind, tree.spec, tolerant=True)
    places = wanted_places(spec, TreeRecord(), {}) if isinstance(spec, VMTreeSpec) else ()
    return {name for place in places if not place.node.has_agent for name in (place.name, place.node.name)}


def beyond(node: str) -> UsageError:
    """That a node can't be reached through a cluster."""
    return UsageError(f"node {node!r} has no agent; its machine is in the operator's store only", "--kube", "run it where that is")


async def stalled_beyond(config: Config, tree: Key) -> list[str]:
    """The nodes of a tree that its status calls stalled, and that can't be reached from here; none without `--kube`."""
    if not config.kube:
        return []
    async with reader(config) as store:
        nodes = VMTreeStatus.load((await one(store, tree)).status).nodes or ()
    return [node.name for node in nodes if node.phase == "Stalled" and not node.lieutenant]


async def nodes_of(config: Config, tree: Key, node: str = "") -> list[PlacedObject]:
    """What a tree has declared; `node`: of that one only. Raises `NotFound` for a tree that does not exist, and `UsageError` for a node
    of which nothing is there."""
    async with reader(config) as store:
        declared = await one(store, tree)
        if config.kube and node and node in agentless(declared):
            raise beyond(node)
        found = placed(tree, [obj for kind in ("Lieutenant", MACHINE) for obj in await store.objects(kind, tree.namespace)])
    return of_node(tree, found, node) if node else found


async def place_of(config: Config, tree: Key, node: str) -> PlacedObject:
    """What a tree has declared for one place. Raises `NotFound`, and `UsageError` when that is not exactly one."""
    if not node:
        raise UsageError("which node?", names.short(tree), "name it with --node")
    found = await nodes_of(config, tree, node)
    if len(found) != 1:
        which = ", ".join(place.name for place in found)
        raise UsageError(f"node {node!r} has several replicas", names.short(tree), f"name one of {which}")
    return found[0]
