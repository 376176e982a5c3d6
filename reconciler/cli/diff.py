"""`diff`: in what two objects or two VMs are configured differently."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from reconciler.cli import names, output
from reconciler.cli.access import reader
from reconciler.cli.read import one
from reconciler.cli.redaction import redaction
from reconciler.config import Config
from reconciler.core.keys import Key
from reconciler.engine.ports import Store
from reconciler.errors import NotFound, UsageError
from reconciler.views import diff as views
from reconciler.views.documents import COMMIT, VM


def diff(
    config: Config,
    words: Annotated[list[str], typer.Argument(metavar="KIND/A KIND/B", help="Two of one kind; also vm/ID.", show_default=False)],
    output_: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="table, json or yaml.")] = "table",
) -> None:
    """Show in what two objects or two VMs are configured differently.

    Profile, organs and capabilities as verified, versions of Node.js, pi and the keeper, model, digest of the machine, labels, and
    what is declared. A VM has the configuration of the object that owns it."""
    shape = output.parse_format(output_, ("table", "json", "yaml"))
    pairs = names.select(words).names
    if len(pairs) == 1 and len(words) == (2 if "/" in words[0] else 3):
        pairs *= 2  # the same one twice
    if len(pairs) != 2 or pairs[0][0] != pairs[1][0]:
        raise UsageError("two objects of one kind are compared", " ".join(words), "write KIND/A KIND/B")
    (kind, first), (_, second) = pairs
    if kind == COMMIT:
        raise UsageError("commits are only looked at", " ".join(words), "compare the lieutenants or their VMs")

    async def run() -> None:
        async with reader(config) as store:
            a, b = await _configurations(config, store, kind, (first, second))
            clean = await redaction(config, store)
        found = [views.Difference(row.field, clean(row.a), clean(row.b)) for row in views.differences(a, b)]
        if shape.kind != "table":
            output.show([views.as_json(f"{kind.lower()}/{first}", f"{kind.lower()}/{second}", found)], shape, True)
            return
        if first == second:
            output.say(f"{kind.lower()}/{first} is compared with itself: nothing differs; name another one of its kind")
            return
        if not found:
            output.say(f"{kind.lower()}/{first} and {kind.lower()}/{second} are configured alike")
            return
        rows = [(row.field, row.a or views.ABSENT, row.b or views.ABSENT) for row in found]
        output.table(("FIELD", f"{kind.lower()}/{first}", f"{kind.lower()}/{second}"), rows)

    asyncio.run(run())


async def _configurations(config: Config, store: Store, kind: str, wanted: tuple[str, str]) -> list[dict[str, str]]:
    """What each of two is made of. Raises `NotFound` for one that is not there."""
    if kind != VM:
        return [views.configuration(await one(store, Key(kind, config.namespace, name))) for name in wanted]
    from reconciler.cli.vms import owners_of, vms  # the platform's client, which nothing else here needs

    owners = await owners_of(config, store)
    known = dict(await vms(config, store, owners))
    for vm_id in wanted:
        if vm_id not in known:
            raise NotFound(f"vm/{vm_id} does not exist, or your key may not see it", "", "see `reconciler get vm`")
    return [views.configuration_of_vm(known[vm_id], owners.get(vm_id)) for vm_id in wanted]
