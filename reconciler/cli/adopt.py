"""`adopt` and `forget`: declare that a VM which exists is a lieutenant's, and let go of one without touching it."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Annotated

import typer

from reconciler.api.meta import UUID
from reconciler.api.parsing import load_spec
from reconciler.cli import names
from reconciler.cli.access import reader, visible
from reconciler.cli.output import out
from reconciler.cli.read import One
from reconciler.cli.submit import submit
from reconciler.config import Config
from reconciler.core.keys import Json, Key
from reconciler.errors import Refused, UsageError
from reconciler.serve.commands import naming

Confirm = Annotated[bool, typer.Option("--confirm", help="Also when it is protected.")]


def adopt(
    config: Config,
    vm_id: Annotated[str, typer.Argument(metavar="VM_ID", help="Its full id, as `get vm` prints it.", show_default=False)],
    as_: Annotated[str, typer.Option("--as", metavar="NAME", help="Name of the lieutenant that gets it.", show_default=False)],
    profile: Annotated[str, typer.Option("--profile", metavar="P", help="The profile that is applied to it.")] = "lightweight",
    role: Annotated[str, typer.Option("--role", metavar="TEXT", help="Who the agent on it is.", show_default=False)] = "",
) -> None:
    """Declare a lieutenant for a VM that exists.

    The controller claims the VM and starts an agent on it."""
    if not re.fullmatch(UUID, vm_id):
        raise UsageError("not a full id of a VM", repr(vm_id), "use the 36 characters that `reconciler get vm` prints")
    key = Key("Lieutenant", config.namespace, as_)
    spec: Json = {"role": role or f"Keep up the work on this machine, {vm_id}.", "profileRef": {"name": profile}, "adopt": {"vmId": vm_id}}
    load_spec("Lieutenant", spec)

    async def run() -> None:
        async with reader(config) as store:
            if await store.objects(key.kind, key.namespace, key.name):
                raise Refused(f"{names.short(key)} exists already", f"namespace {key.namespace}", "choose another name")
            owners = [obj for obj in await visible(config, store, "Lieutenant") if _vm_of(obj.record) == vm_id]
        if owners:
            where = f"namespace {owners[0].key.namespace}"
            raise Refused(f"VM {vm_id} belongs to {names.short(owners[0].key)}", where, "`reconciler forget` that one first")
        await submit(config, [{**naming(key, "apply"), "spec": spec, "labels": {}, "annotations": {}}])
        out(f"{names.short(key)} takes over VM {vm_id}")

    asyncio.run(run())


def _vm_of(record: Json) -> str:
    slot = record.get("slot")
    return str(slot.get("vm_id", "")) if isinstance(slot, dict) else ""


def forget(config: Config, words: One, confirm: Confirm = False) -> None:
    """Undeclare a lieutenant and leave its VM as it is.

    The VM loses our claim, keeps its agent running and goes on costing what it costs."""
    key = names.key(words, config.namespace)
    if key.kind != "Lieutenant":
        raise UsageError(f"a {key.kind} has no VM of its own", names.short(key), "name a lieutenant")
    verbs: Json = {"detached": secrets.token_hex(4)}
    if confirm:
        verbs["delete-confirmed"] = secrets.token_hex(4)
    asyncio.run(submit(config, [{**naming(key, "delete"), "verbs": verbs}]))
    out(f"{names.short(key)} is forgotten; its VM stays")
