"""`prune`: what is blocked because it is not declared any more, and a person's approval of exactly that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.access import LateStore
from reconciler.cli.output import out, say, table
from reconciler.cli.submit import runs, submit
from reconciler.config import Config
from reconciler.engine.clock import LoopClock
from reconciler.engine.kinds.stock import STOCK
from reconciler.engine.recorder import Recorder
from reconciler.engine.registry import Registry
from reconciler.engine.state.declarations import Declarations
from reconciler.engine.state.objects import ObjectTable
from reconciler.engine.state.prunes import BlockedPrune
from reconciler.errors import Refused, UsageError
from reconciler.sources.files.scan import Scanner
from reconciler.sources.files.sync import FileSync


def prune(
    config: Config,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH…]", help="Look at these files now; without any: what the controller found.", show_default=False),
    ] = None,
    approve: Annotated[str, typer.Option("--approve", metavar="HASH", help="Delete exactly what is listed under this hash.")] = "",
) -> None:
    """Show deletions that wait for a person; approve them.

    What files or a repository do not declare any more is deleted by itself only in a stack whose `.reconciler.yaml` allows it. With
    --approve the controller deletes exactly what is listed under that hash, when it finds just that once more."""
    for text in paths or ():
        if text.startswith("git+"):
            remedy = "`reconciler prune` without it shows what the controller that follows it found"
            raise UsageError("repositories are not looked at here", text, remedy)
    found = asyncio.run(_blocked(config, [Path(text) for text in paths or ()]))
    if not approve:
        rows = [(one.hash or "-", one.root or "-", str(one.count), one.why, one.removals) for one in found]
        if rows:
            table(("HASH", "STACK", "DELETIONS", "REASON", "OBJECTS"), rows)
        else:
            say("nothing waits for an approval")
        return
    known = next((one for one in found if one.hash == approve), None)
    if known is None:
        raise Refused("nothing is blocked under that hash", approve, "`reconciler prune` lists what is; what changed has another hash")
    asyncio.run(submit(config, [{"op": "prune", "hash": approve, "stack": known.stack}]))
    who = "the controller" if runs(config) else "the next controller"
    out(f"approved: {known.removals}; {who} deletes {'it' if known.count == 1 else 'them'}")


async def _blocked(config: Config, paths: Sequence[Path]) -> list[BlockedPrune]:
    """What the controller found last; of these paths, what a look finds now."""
    store = LateStore(config.store_address)
    try:
        image = await store.load()
    finally:
        await store.aclose()
    objects = ObjectTable(store, Registry(STOCK))
    objects.fill(image.objects, image.meta)
    if not paths:
        return list(objects.prunes.blocked.values())
    clock = LoopClock()
    sync = FileSync(objects, Declarations(objects, Recorder(clock), clock), say)
    found = await asyncio.to_thread(Scanner(config.namespace).scan, paths)
    return [BlockedPrune.of(one.blocked) for one in sync.decide(found, foresee=True) if one.blocked is not None]
