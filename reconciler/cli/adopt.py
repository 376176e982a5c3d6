"""`adopt` and `forget`: declare that VMs which exist are a lieutenant's or a tree's, and let go of one without touching it."""

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
from reconciler.cli.choosing import Selector, Several, by_name, chosen, confirmed
from reconciler.cli.output import out
from reconciler.cli.several import one_by_one
from reconciler.cli.submit import submit
from reconciler.config import Config
from reconciler.core.fleet.adoption import DEFAULT_PROFILE
from reconciler.core.keys import Json, Key
from reconciler.errors import Refused, UsageError
from reconciler.serve.commands import naming

Confirm = Annotated[bool, typer.Option("--confirm", help="Also when it is protected.")]


def adopt(
    config: Config,
    vm_id: Annotated[
        str, typer.Argument(metavar="[VM_ID]", help="Its full id, as `get vm` prints it; without one: a set.", show_default=False)
    ] = "",
    as_: Annotated[str, typer.Option("--as", metavar="NAME", help="Of one VM: the lieutenant that gets it.", show_default=False)] = "",
    profile: Annotated[
        str, typer.Option("--profile", metavar="P", help="The profile that is applied. Default: lightweight; in a tree by category.")
    ] = "",
    role: Annotated[str, typer.Option("--role", metavar="TEXT", help="Who the agent on it is.", show_default=False)] = "",
    selector: Annotated[
        str, typer.Option("-l", "--selector", metavar="LABELS", help="Of a set: VMs with these labels.", show_default=False)
    ] = "",
    called: Annotated[
        str, typer.Option("--named", metavar="PATTERN", help="Of a set: VMs whose label `name` fits, with * and ?.", show_default=False)
    ] = "",
    made_from: Annotated[
        str, typer.Option("--made-from", metavar="ID", help="Of a set: what descends from this VM or commit.", show_default=False)
    ] = "",
    tree: Annotated[
        str, typer.Option("--tree", metavar="NAME", help="Of a set: nodes of one VMTree, not lieutenants.", show_default=False)
    ] = "",
    confirm: Annotated[bool, typer.Option("--confirm", help="Of a set: declare it, instead of printing it.")] = False,
) -> None:
    """Declare lieutenants or a VMTree for VMs that exist.

    The controller claims each VM before it does anything on it, applies the profile and starts an agent, which goes on with the
    conversation that it finds there. One VM: VM_ID and --as. A set: the VMs that nothing here owns and that fit -l, --named and
    --made-from. Its declarations are printed as YAML, to be read and kept in a file; with --confirm they are declared. They have
    `deletionPolicy: Orphan`. What another installation claims is named and left out (exit code 4)."""
    if not vm_id:
        from reconciler.cli.adoptset import Chosen, adopt_set  # the platform's client, which one VM does not need

        if as_:
            raise UsageError("a set has the names that its labels say", f"--as {as_}", "name one VM, or leave it out")
        adopt_set(config, Chosen(selector, called, made_from), profile, role, tree, confirm)
        return
    if selector or called or made_from or tree or confirm:
        raise UsageError(
            "one VM is named, or a set is chosen", vm_id, "leave out the id, or -l, --named, --made-from, --tree and --confirm"
        )
    if not as_:
        raise UsageError("which lieutenant gets it?", vm_id, "say so with --as NAME")
    if not re.fullmatch(UUID, vm_id):
        raise UsageError("not a full id of a VM", repr(vm_id), "use the 36 characters that `reconciler get vm` prints")
    key = Key("Lieutenant", config.namespace, as_)
    spec: Json = {
        "role": role or f"Keep up the work on this machine, {vm_id}.",
        "profileRef": {"name": profile or DEFAULT_PROFILE},
        "adopt": {"vmId": vm_id},
    }
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


def forget(config: Config, words: Several, selector: Selector = "", confirm: Confirm = False) -> None:
    """Undeclare a lieutenant and leave its VM as it is.

    The VM loses our claim, keeps its agent running and goes on costing what it costs. At a terminal it is asked before several go."""
    keys = chosen(config, words, selector)
    for key in keys:
        if key.kind != "Lieutenant":
            raise UsageError(f"a {key.kind} has no VM of its own", names.short(key), "name a lieutenant")
    if not by_name(words, selector):
        confirmed(keys, "forget")
    one_by_one(config, keys, lambda key: _forget(config, key, confirm))


def _forget(config: Config, key: Key, confirm: bool) -> None:
    verbs: Json = {"detached": secrets.token_hex(4)}
    if confirm:
        verbs["delete-confirmed"] = secrets.token_hex(4)
    asyncio.run(submit(config, [{**naming(key, "delete"), "verbs": verbs}]))
    out(f"{names.short(key)} is forgotten; its VM stays")
