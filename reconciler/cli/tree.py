"""`tree`: the hierarchy, and what it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import typer
from rich.tree import Tree

from reconciler.api.registry import KINDS
from reconciler.cli import names, output
from reconciler.cli.access import reader, say_when_halted
from reconciler.cli.names import Selector
from reconciler.cli.read import one
from reconciler.cli.redaction import redaction
from reconciler.config import Config
from reconciler.core.tree.places import MACHINE
from reconciler.errors import UsageError
from reconciler.views.documents import document
from reconciler.views.repositories import signatures
from reconciler.views.tree import Branch, Forest
from reconciler.visible import one_line


def tree(
    config: Config,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[VMTREE]", help="One hierarchy; all of the namespace without it.", show_default=False)
    ] = None,
    selector: Selector = "",
    node: Annotated[
        str, typer.Option("--node", metavar="N", help="This node of the VMTree and what stands below it.", show_default=False)
    ] = "",
    ancestors: Annotated[bool, typer.Option("--ancestors", help="With --node: also the nodes above it.")] = False,
    output_: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="table, json or yaml.")] = "table",
) -> None:
    """Show the hierarchy: VMTrees, nodes, agents, machines, tasks.

    VMTrees with their nodes, categories, organs and capabilities; under them, and for lieutenants that stand in no VMTree, the agent,
    its machine and its tasks. With -l: the VMTrees and lieutenants that have these labels, each with what stands below it. What is
    declared and what status says; no machine is asked. A terminal's lines are folded at its width,
    never cut off."""
    shape = output.parse_format(output_, ("table", "json", "yaml"))
    key = names.of_kind(words, "VMTree", config.namespace) if words else None
    if node and key is None:
        raise UsageError("which vmtree's node?", f"--node {node}", "name the vmtree too")
    if ancestors and not node:
        raise UsageError("above which node?", "--ancestors", "name it with --node")
    if selector and key is not None:
        raise UsageError("objects are chosen by name or by labels", f"-l {selector}", "leave out the name or the selector")

    async def run() -> None:
        from reconciler.cli.choosing import fitting

        async with reader(config) as store:
            found = await one(store, key) if key is not None else None
            if shape.kind == "table":
                await say_when_halted(store)
            objects = [obj for kind in KINDS for obj in await store.objects(kind.name, config.namespace)]
            machines = await store.objects(MACHINE, config.namespace)
            clean = await redaction(config, store)
            signers = await signatures(store, objects)
            meant = await fitting(store, config.namespace, selector, ("VMTree", "Lieutenant")) if selector else None
        forest = Forest([*objects, *machines])
        if shape.kind != "table":
            shown = forest.members(found, node, ancestors) if found else objects if meant is None else forest.below(meant)
            output.show([document(obj, signers) for obj in shown], shape, False)
            return
        branches = [forest.tree(found, node, ancestors)] if found else forest.whole() if meant is None else forest.chosen(meant)
        if not branches:
            output.say(f"nothing found in namespace {config.namespace}")
        show(branches, clean)

    asyncio.run(run())


def show(branches: Sequence[Branch], clean: Callable[[str], str]) -> None:
    """With lines that connect them on a terminal, indented when piped."""
    if not output.terminal():
        for branch in branches:
            for line in plain(branch, clean):
                output.out(line)
        return
    console = output.console()
    for branch in branches:
        console.print(grown(branch, clean))


def plain(branch: Branch, clean: Callable[[str], str], depth: int = 0) -> Iterator[str]:
    """Two blanks for each level."""
    yield "  " * depth + "   ".join((branch.name, *_facts(branch, clean)))
    for below in branch.below:
        yield from plain(below, clean, depth + 1)


def _facts(branch: Branch, clean: Callable[[str], str]) -> tuple[str, ...]:
    return tuple(one_line(clean(part)) for part in branch.facts)


def grown(branch: Branch, clean: Callable[[str], str], onto: Tree | None = None) -> Tree:
    """A picture with lines; a console folds it at its width."""
    label = output.styled(branch.name, "bold").append_text(output.styled("   ".join(("", *_facts(branch, clean)))))
    here = onto.add(label) if onto is not None else Tree(label)
    for below in branch.below:
        grown(below, clean, here)
    return here
