"""`delete vmtree/NAME --node N`: a node, and what stands below it, taken out of the declaration where that lives."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection
from pathlib import Path

from reconciler.api.status.vmtree import VMTreeStatus
from reconciler.cli import names
from reconciler.cli.access import reader
from reconciler.cli.edit import edit_by
from reconciler.cli.inplace import Change
from reconciler.cli.nodes import must_be_tree
from reconciler.cli.output import out, say
from reconciler.cli.read import one
from reconciler.cli.several import each, tell
from reconciler.cli.submit import submit
from reconciler.cli.wait import until
from reconciler.config import Config
from reconciler.core.keys import Json, JsonValue, Key
from reconciler.core.tree.policies import some
from reconciler.core.tree.removal import NodeRemoval, removal
from reconciler.engine.ports import Store, StoredObject
from reconciler.errors import Refused
from reconciler.serve.commands import naming
from reconciler.serve.removing import removing, spec_of, unknown
from reconciler.sources.files.scan import COMMITTED
from reconciler.sources.files.scan import SOURCE as FILE_SOURCE


async def without(config: Config, key: Key, node: str, confirm: bool) -> NodeRemoval:
    """Take the node out, and say what goes. Raises `Refused` for what is protected or a repository declares, `UsageError`."""
    must_be_tree(key, node)
    async with reader(config) as store:
        tree = await one(store, key)
    if tree.source == COMMITTED:
        raise Refused(f"{key} is declared in a repository, which is only read", tree.origin, f"remove node {node} there, and push")
    found, where = _in_file(tree, node, confirm) if tree.source == FILE_SOURCE else (removing(tree, node, confirm).removal, None)
    nodes: list[JsonValue] = list(found.gone)
    verbs: Json = {"delete-confirmed": secrets.token_hex(4)} if confirm else {}
    try:
        await submit(config, [{**naming(key, "remove"), "node": node, "nodes": nodes, "verbs": verbs}])
    except Refused as error:
        if where is None:
            raise
        out(f"{names.short(key)} node {node} removed in {where}")
        say(f"note: not put in force at once: {error}")
        return found
    place = f"in {where}" if where is not None else "in the cluster" if config.kube else "in the store"
    out(f"{names.short(key)} node {node} removed {place}{consequences(found)}")
    return found


def consequences(found: NodeRemoval) -> str:
    """What becomes of what stands below it."""
    if found.moved:
        return f"; {some(found.moved)} stays, {f'below {found.onto}' if found.onto else 'as a root'} from now on"
    if found.released:
        return f", and {some(found.released)} below it, which is let go of"
    return f", and {some(found.going[:-1])} below it" if len(found.going) > 1 else ""


def _in_file(tree: StoredObject, node: str, confirm: bool) -> tuple[NodeRemoval, Path]:
    """The file changed, and what that means. A file that has lost the node already stays as it is: an earlier command got no further."""
    before = spec_of(tree)
    guarded = [one.name for one in before.nodes if one.protected]
    found = removal(before, node)

    def wanted(in_file: StoredObject) -> list[Change]:
        nonlocal found
        spec = spec_of(in_file)
        if removal(spec, node) is None:
            if found is None:
                raise unknown(in_file, spec, node)
            left = {one.name for one in spec.nodes}
            removing(tree, node, confirm)
            found = NodeRemoval(tuple(name for name in found.gone if name not in left))
            return []
        asked = removing(in_file, node, confirm, guarded)
        found = asked.removal
        return asked.changes

    file = edit_by(tree, wanted)
    assert found is not None
    return found, file


async def gone(store: Store, tree: Key, nodes: Collection[str], deadline: float) -> None:
    """Wait until nothing is left of these nodes. Raises `TimedOut`."""
    await until(store, tree, lambda obj: obj is None or not left_of(obj, nodes), deadline, f"without {some(sorted(nodes))}")


def left_of(tree: StoredObject, nodes: Collection[str]) -> bool:
    """Whether the status of a tree tells of something of these nodes, or is older than what is declared now."""
    status = VMTreeStatus.load(tree.status)
    told = (node.name for node in status.nodes or ())
    return status.observed_generation < tree.generation or any(name in nodes or _node(name) in nodes for name in told)


def _node(place: str) -> str:
    """The node of a place that is one of several."""
    node, _, ordinal = place.rpartition("-")
    return node if ordinal.isdigit() else place


def all_without(config: Config, keys: list[Key], node: str, confirm: bool, timeout: float | None) -> None:
    """Take the node out of every one of these trees; with `timeout`, wait that long until nothing is left of it."""

    async def run(key: Key, deadline: float) -> None:
        found = await without(config, key, node, confirm)
        if timeout is None:
            return
        async with reader(config) as store:
            await gone(store, key, found.gone, deadline)
        out(f"{names.short(key)} node {node} is gone")

    async def every() -> None:
        deadline = asyncio.get_running_loop().time() + (timeout or 0.0)
        tell(config, (await each(keys, lambda key: run(key, deadline)))[1])

    asyncio.run(every())
