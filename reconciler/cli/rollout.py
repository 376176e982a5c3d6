"""`rollout`: how a changed profile goes through a tree, and holding, letting go on and undoing it."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated

import typer

from reconciler.api.annotations import PREFIX
from reconciler.api.registry import BY_NAME
from reconciler.api.status.vmtree import VMTreeStatus
from reconciler.cli import names
from reconciler.cli.access import reader
from reconciler.cli.act import change
from reconciler.cli.edit import Change
from reconciler.cli.output import out
from reconciler.cli.read import one
from reconciler.cli.submit import submit
from reconciler.config import Config
from reconciler.core.keys import Json, Key, vm_tree
from reconciler.core.tree.rollout import differences, good_before, rolled_out
from reconciler.core.treerecords import TreeRecord
from reconciler.engine.ports import StoredObject
from reconciler.errors import Refused, UsageError
from reconciler.serve.commands import naming

ACTIONS = ("status", "pause", "resume", "undo")
PAUSED = f"{PREFIX}paused"


def rollout(
    config: Config,
    action: Annotated[str, typer.Argument(metavar="status|pause|resume|undo", help="What to do.", show_default=False)],
    tree: Annotated[list[str], typer.Argument(metavar="VMTREE", help="The tree: NAME or vmtree/NAME.", show_default=False)],
) -> None:
    """Look at, hold or undo a change that goes through a tree.

    A profile's change goes through the nodes that say `update.onProfileChange: Recreate`, `strategy.maxUnavailable` at a time, and stops
    at the first one that does not come through it. `undo` declares what all nodes last were ready with; who sleeps, and how many there
    are of a node, stays."""
    if action not in ACTIONS:
        raise UsageError(f"{action!r} is no action of a rollout", "rollout", f"use one of {', '.join(ACTIONS)}")
    key = key_of(tree, config.namespace)
    if action == "status":
        out(asyncio.run(_status(config, key)))
        return
    if action == "undo":
        if config.kube:
            raise UsageError("what it was ready with is in the operator's store only", "--kube", "declare it by hand")
        where = asyncio.run(change(config, key, undone))
        out(f"{names.short(key)} is what it last was ready with, {where}")
        return
    token = secrets.token_hex(4) if action == "pause" else ""
    asyncio.run(submit(config, [{**naming(key, "annotate"), "annotations": {PAUSED: token}}]))
    out(f"the rollout of {names.short(key)} {'is paused' if token else 'goes on'}")


def key_of(words: list[str], namespace: str) -> Key:
    """`NAME`, `vmtree/NAME` or `vmtree NAME`."""
    if len(words) == 1 and "/" not in words[0]:
        return vm_tree(namespace, words[0])
    key = names.key(words, namespace)
    if BY_NAME[key.kind].short != "vmt":
        raise UsageError("only a tree has rollouts", names.short(key), "name a vmtree")
    return key


async def _status(config: Config, key: Key) -> str:
    async with reader(config) as store:
        obj = await one(store, key)
    told = VMTreeStatus.load(obj.status).rollout
    if told is None:
        return f"{names.short(key)}: every machine is of the profile that is declared"
    failed = f"; it did not come through at {', '.join(told.failed)}" if told.failed else ""
    return f"{names.short(key)}: {told.state}, {told.outdated} of another profile, {told.replacing} being replaced{failed}"


def undone(obj: StoredObject) -> list[Change]:
    """What has to change in the declaration. Raises `Refused` where nothing is known to go back to."""
    revisions, name = TreeRecord.load(obj.record).revisions, names.short(obj.key)
    before: Json | None = good_before(revisions, obj.spec)
    if before is None and revisions:
        what = "there is nothing to undo: what is declared now is all that its nodes were ever ready with"
        raise Refused(what, name, f"change it with `reconciler set {name} PATH=VALUE`, or where it is declared")
    if before is None:
        what = "there is nothing to undo: its nodes were not all ready yet, so that nothing is known to go back to"
        raise Refused(what, name, f"declare what you want; `reconciler describe {name}` says what its nodes wait for")
    found = differences(rolled_out(obj.spec), before)
    if found is None:
        remedy = "declare it by hand; `reconciler describe` shows the nodes"
        raise Refused("nodes came or went since then, which an undo does not take back", name, remedy)
    return [(path, value) for path, value in found]
