"""Nodes of a VMTree on a command line."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli.access import reader
from reconciler.cli.read import one
from reconciler.config import Config
from reconciler.core.keys import Key
from reconciler.core.tree.places import MACHINE
from reconciler.errors import UsageError
from reconciler.views.nodes import PlacedObject, of_node, placed

Node = Annotated[str, typer.Option("--node", metavar="N", help="One node of a vmtree.", show_default=False)]


def must_be_tree(key: Key, node: str) -> None:
    """Raises `UsageError` when a node is named of something that has none."""
    if node and key.kind != "VMTree":
        raise UsageError("only a vmtree has nodes", f"--node {node}", "leave it out")


async def nodes_of(config: Config, tree: Key, node: str = "") -> list[PlacedObject]:
    """What a tree has declared; `node`: of that one only. Raises `NotFound` for a tree that does not exist, and `UsageError` for a node
    of which nothing is there."""
    async with reader(config) as store:
        await one(store, tree)
        found = placed(tree, [obj for kind in ("Lieutenant", MACHINE) for obj in await store.objects(kind, tree.namespace)])
    return of_node(tree, found, node) if node else found
