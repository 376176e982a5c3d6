"""`prune`: what is blocked because it is not declared any more, and a person's approval of exactly that."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.app import secrets_of
from reconciler.cli.access import LateStore
from reconciler.cli.output import out, say, table
from reconciler.cli.submit import runs, submit
from reconciler.cli.where import Where, followed, where
from reconciler.config import Config
from reconciler.engine.clock import LoopClock
from reconciler.engine.kinds.stock import STOCK
from reconciler.engine.recorder import Recorder
from reconciler.engine.registry import Registry
from reconciler.engine.state.declarations import Declarations
from reconciler.engine.state.objects import ObjectTable
from reconciler.engine.state.prunes import BlockedPrune
from reconciler.errors import Refused
from reconciler.sources.files.scan import Look, Scanner
from reconciler.sources.files.sync import FileSync

if TYPE_CHECKING:
    from reconciler.sources.git.source import Followed


def prune(
    config: Config,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH…]",
            help="Look at these files and repositories (git+URL) now; without any: what the controller found.",
            show_default=False,
        ),
    ] = None,
    approve: Annotated[str, typer.Option("--approve", metavar="HASH", help="Delete exactly what is listed under this hash.")] = "",
) -> None:
    """Show deletions that wait for a person; approve them.

    What files or a repository do not declare any more is deleted by itself only in a stack whose `.reconciler.yaml` allows it. With
    --approve the controller deletes exactly what is listed under that hash, when it finds just that once more."""
    at = where(config, paths) if paths else Where()
    found = asyncio.run(_blocked(config, at))
    if not approve:
        rows = [(one.hash or "-", one.root or "-", str(one.count), one.why, one.removals) for one in found]
        if rows:
            table(("HASH", "STACK", "DELETIONS", "REASON", "OBJECTS"), rows)
        else:
            say("nothing waits for an approval")
        return
    known = next((one for one in found if one.hash == approve), None)
    if known is None:
        remedy = "`reconciler prune` lists what is; what changed has another hash, and a stack that was written to is listed after 10 s"
        raise Refused("nothing is blocked under that hash", approve, remedy)
    asyncio.run(submit(config, [{"op": "prune", "hash": approve, "stack": known.stack}]))
    who = "the controller" if runs(config) else "the next controller"
    out(f"approved: {known.removals}; {who} deletes {'it' if known.count == 1 else 'them'}")


async def _blocked(config: Config, at: Where) -> list[BlockedPrune]:
    """What the controller found last; of these files and repositories, what a look finds now. Raises `Unreachable` and `Refused`."""
    store = LateStore(config.store_address)
    try:
        image = await store.load()
        objects = ObjectTable(store, Registry(STOCK))
        objects.fill(image.objects, image.meta)
        if at.nothing:
            return list(objects.prunes.blocked.values())
        clock = LoopClock()
        declarations = Declarations(objects, Recorder(clock), clock)
        sync = FileSync(objects, declarations, say)
        with TemporaryDirectory(prefix="reconciler-") as cache:
            repositories = followed(config, at, Path(cache), secrets_of(config), declarations, store)
            for one in repositories:
                await _fetched(one, sync)

            def more(look: Look) -> None:
                for one in repositories:
                    one.feed(look)

            found = await asyncio.to_thread(Scanner(config.namespace).scan, at.paths, more)
    finally:
        await store.aclose()
    return [BlockedPrune.of(one.blocked) for one in sync.decide(found, foresee=True) if one.blocked is not None]


async def _fetched(one: Followed, sync: FileSync) -> None:
    """The newest commit of a repository, when a controller would put it in force: nothing is deleted because of one that it refuses."""
    await one.fetch()
    name = one.repository.address.name
    one.must_be_there("nothing can be told of it now; `reconciler prune` alone shows what the controller found")
    await one.choose(sync)
    if one.refused is not None:
        first = one.refused.findings[0]
        raise Refused(f"commit {one.refused.commit} would not be put in force: {first}", name, "correct that, and push")
