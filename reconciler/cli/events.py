"""`events`: what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

import typer

from reconciler.cli import names, output
from reconciler.cli.access import reader
from reconciler.cli.names import Selector
from reconciler.cli.read import POLL, Watch
from reconciler.cli.redaction import redaction
from reconciler.config import Config
from reconciler.core.keys import Key
from reconciler.core.times import timestamp
from reconciler.engine.ports import Event, Store
from reconciler.errors import UsageError
from reconciler.views.documents import event_document
from reconciler.visible import one_line


def events(
    config: Config,
    of: Annotated[str, typer.Option("--for", metavar="KIND/NAME", help="Of one object only.", show_default=False)] = "",
    selector: Selector = "",
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Every namespace.")] = False,
    watch: Watch = False,
    output_: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="table, json or yaml.")] = "table",
) -> None:
    """Show what happened, newest last.

    What was told again with nothing but other numbers is one line, which counts and has the last words (of a cluster the
    first, which can't be changed there).

    With -l: of the objects that have these labels now. In the namespace; what is about machines alone is in `default`, as in a cluster."""
    shape = output.parse_format(output_, ("table", "json", "yaml"))
    if of and all_namespaces:
        raise UsageError("one object is in one namespace", "-A", "leave out either -A or --for")
    if of and selector:
        raise UsageError("objects are chosen by name or by labels", f"-l {selector}", "leave out either -l or --for")
    key = names.key([of], config.namespace) if of else None
    within = None if all_namespaces or of else config.namespace

    async def meant(store: Store) -> set[Key] | None:
        """The objects whose events are wanted now; None for all."""
        if not selector:
            return None
        from reconciler.cli.choosing import fitting

        return {obj.key for obj in await fitting(store, within, selector)}

    async def told(store: Store) -> list[Event]:
        keys = await meant(store)
        every = await store.events(key, namespace=within) if keys is None else [one for of in keys for one in await store.events(of)]
        return sorted(every, key=lambda event: (event.at, event.seq))

    async def run() -> None:
        async with reader(config) as store:
            clean = await redaction(config, store)
            found = await told(store)
            if shape.kind == "table":
                header = ("LAST SEEN", "TYPE", "REASON", *(("NAMESPACE",) if all_namespaces else ()), "OBJECT", "COUNT", "MESSAGE")
                output.table(header, [event_row(event, clean, all_namespaces) for event in found])
            else:
                output.show([event_document(event) for event in found], shape, False)
            last = max((event.seq for event in (await store.events(key, namespace=within) if selector else found)), default=0)
            while watch:
                await asyncio.sleep(POLL)
                fresh = await store.events(key, after=last, namespace=within)
                keys = await meant(store) if fresh else None
                for event in fresh:
                    last = event.seq
                    if keys is not None and event.key not in keys:
                        continue
                    if shape.kind == "table":
                        output.out("   ".join(event_row(event, clean, all_namespaces)))
                    else:
                        output.show([event_document(event)], shape, True)

    if not watch:
        asyncio.run(run())
        return
    from reconciler.cli.hangup import until_unread

    asyncio.run(until_unread(run()))


def event_row(event: Event, clean: Callable[[str], str], namespaces: bool = False) -> list[str]:
    where = [event.key.namespace] if namespaces else []
    return [timestamp(event.at), event.type, event.reason, *where, names.short(event.key), str(event.count), one_line(clean(event.message))]
