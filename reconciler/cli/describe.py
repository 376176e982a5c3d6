"""`describe`: the long view of one object, as text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from reconciler.cli import names, output
from reconciler.cli.access import reader
from reconciler.cli.books import books_of
from reconciler.cli.choosing import Selector, Several, chosen
from reconciler.cli.output import table_lines
from reconciler.cli.read import one
from reconciler.cli.redaction import redaction
from reconciler.cli.yamlout import to_yaml
from reconciler.config import Config
from reconciler.core.keys import Json, Key, boot_profile
from reconciler.errors import NotFound
from reconciler.views import describe as views
from reconciler.views.documents import VM, Table

PROFILE = boot_profile("", "").kind


def describe(config: Config, words: Several, selector: Selector = "") -> None:
    """Show everything about one object.

    Spec, conditions, machine, session, queue, usage, last output, events; of a VMTree its nodes, limits and counts. A boot profile may
    be one that this release brings. `vm/ID` shows a VM of the platform and what its owner says of it."""
    selection = names.select(words)
    if not selector and selection.names and {kind for kind, _ in selection.names} == {VM}:
        for _, vm_id in selection.names:
            asyncio.run(_describe_vm(config, vm_id))
        return
    keys = chosen(config, words, selector)
    for number, key in enumerate(keys):
        if number:
            output.out("")
        _describe(config, key)


def _describe(config: Config, key: Key) -> None:
    async def run() -> None:
        async with reader(config) as store:
            try:
                books = await books_of(config, store) if key.kind == "Lieutenant" and not config.kube else None
                description = await views.describe(store, await one(store, key), time.time(), books)
            except NotFound:
                stock = views.stock(key.name) if key.kind == PROFILE else None
                if stock is None:
                    raise
                description = stock
            output.out((await redaction(config, store))("\n".join(lines(description))))

    asyncio.run(run())


async def _describe_vm(config: Config, vm_id: str) -> None:
    from reconciler.cli.lineage import lineage_of  # the platform's client, which nothing else here needs
    from reconciler.cli.vms import owners_of, vms

    async with reader(config) as store:
        owners = await owners_of(config, store)
        found = dict(await vms(config, store, owners)).get(vm_id)
        if found is None:
            raise NotFound(f"vm/{vm_id} does not exist, or your key may not see it", "", "see `reconciler get vm`")
        description = views.described_vm(found, owners.get(vm_id), time.time(), await lineage_of(config, [vm_id]))
        output.out((await redaction(config, store))("\n".join(lines(description))))


def lines(description: views.Description) -> Iterator[str]:
    """A description as text: fields beside their titles, longer parts indented below theirs."""
    for title, value in description.fields:
        yield f"{title + ':':<16}{value}"
    for section in description.sections:
        yield f"{section.title}:"
        yield from (f"  {line}" for line in _text(section.body).rstrip("\n").split("\n"))


def _text(body: Table | Json | str) -> str:
    match body:
        case str():
            return body
        case Table():
            return "\n".join(table_lines(body.header, body.rows))
        case _:
            return to_yaml(body)
