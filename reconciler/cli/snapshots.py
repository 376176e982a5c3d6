"""Snapshots of machines: taking one, going back to one."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated

import typer

from reconciler.api.annotations import PREFIX, PROTECTION
from reconciler.cli import names
from reconciler.cli.access import reader
from reconciler.cli.choosing import Selector, Several, chosen
from reconciler.cli.nodes import Node, must_be_tree, nodes_of, place_of
from reconciler.cli.output import out
from reconciler.cli.read import one
from reconciler.cli.several import one_by_one
from reconciler.cli.submit import submit
from reconciler.config import Config
from reconciler.core.keys import Json, Key
from reconciler.core.records import LieutenantRecord
from reconciler.engine.ports import StoredObject
from reconciler.errors import Refused, UsageError
from reconciler.serve.commands import naming


def snapshot(config: Config, words: Several, selector: Selector = "", node: Node = "") -> None:
    """Take a snapshot of a lieutenant's machine now.

    When its agent is settled. With --node: of a node of a VMTree, also of one without an agent. See `reconciler get commits`."""
    one_by_one(config, chosen(config, words, selector), lambda key: _snapshot(config, key, node))


def _snapshot(config: Config, key: Key, node: str) -> None:
    must_be_tree(key, node)
    if key.kind not in ("Lieutenant", "VMTree"):
        raise UsageError(f"of a {key.kind} no snapshot is taken", names.short(key), "name a lieutenant, or a vmtree with --node")
    if key.kind == "VMTree" and not node:
        raise UsageError("a snapshot is taken of one node", names.short(key), "name it with --node")
    objects = [place.obj for place in asyncio.run(nodes_of(config, key, node))] if node else [asyncio.run(_known(config, key))]
    for obj in objects:
        verbs: Json = {f"{PREFIX}snapshot": secrets.token_hex(4)}
        asyncio.run(submit(config, [{**naming(obj.key, "annotate"), "annotations": verbs}]))
        out(f"{names.short(obj.key)} snapshot asked for")


def rollback(
    config: Config,
    lieutenant: Annotated[str, typer.Argument(help="The lieutenant's name; vmtree/NAME with --node.", show_default=False)],
    commit_id: Annotated[str, typer.Argument(metavar="COMMIT_ID", help="One of `reconciler get commits`.", show_default=False)],
    node: Node = "",
    confirm: Annotated[bool, typer.Option("--confirm", help="Really.")] = False,
) -> None:
    """Let an agent go back to a snapshot.

    Machine and conversation are as they were then. Another machine is made from the snapshot first and looked at; when the agent is
    settled, it goes on there, and the one before is deleted. What was said since stays readable: `reconciler output NAME --history 0`.
    With --node the same for a node of a VMTree, also for one without an agent."""
    key = names.key([lieutenant if "/" in lieutenant else f"lieutenant/{lieutenant}"], config.namespace)
    must_be_tree(key, node)
    if key.kind not in ("Lieutenant", "VMTree"):
        raise UsageError(f"a {key.kind} has no snapshots", names.short(key), "name a lieutenant, or a vmtree with --node")
    obj = asyncio.run(place_of(config, key, node)).obj if key.kind == "VMTree" else asyncio.run(_known(config, key))
    record = LieutenantRecord.load(obj.record)
    if not config.kube and commit_id not in {commit.commit_id for commit in record.slot.commits}:
        raise Refused(f"commit {commit_id} is no snapshot that was taken of it", names.short(obj.key), "see `reconciler get commits`")
    if not confirm:
        what = "its machine is replaced by one as it was then; what changed on it since is gone"
        raise Refused(what, names.short(obj.key), "say so with --confirm")
    verbs: Json = {f"{PREFIX}rollback": f"{commit_id}:{secrets.token_hex(4)}"}
    if obj.annotations.get(PROTECTION) == "enabled":
        verbs[f"{PREFIX}delete-confirmed"] = secrets.token_hex(4)
    asyncio.run(submit(config, [{**naming(obj.key, "annotate"), "annotations": verbs}]))
    when = " when its agent is settled" if obj.key.kind == "Lieutenant" else ""
    out(f"{names.short(obj.key)} goes back to commit {commit_id}{when}")


async def _known(config: Config, key: Key) -> StoredObject:
    async with reader(config) as store:
        return await one(store, key)
