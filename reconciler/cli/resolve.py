"""`resolve`: a person's answer to what the loop may not decide by itself. It is written down as an annotation; the loop acts on it."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from reconciler.api.annotations import PREFIX
from reconciler.api.meta import UUID
from reconciler.api.reasons import Reason
from reconciler.cli import names
from reconciler.cli.access import reader
from reconciler.cli.nodes import Node, must_be_tree, place_of
from reconciler.cli.output import out
from reconciler.cli.read import One, one
from reconciler.cli.submit import submit
from reconciler.config import Config
from reconciler.core.conditions import reasons_of, stalled_for
from reconciler.core.keys import Key
from reconciler.core.tree.places import MACHINE
from reconciler.engine.ports import StoredObject
from reconciler.errors import Refused, UsageError
from reconciler.serve.commands import naming


class End(StrEnum):
    """Which end of a conversation goes on."""

    VM = "vm"
    LOCAL = "local"


def resolve(
    config: Config,
    words: One,
    node: Node = "",
    session: Annotated[
        End | None,
        typer.Option("--session", help="What goes on: the file on its machine, or the mirror.", show_default=False),
    ] = None,
    vm: Annotated[
        str, typer.Option("--vm", metavar="ID", help="The VM that its create made, or that it takes from its claimant.", show_default=False)
    ] = "",
    workspace: Annotated[bool, typer.Option("--workspace", help="That its files are gone with a lost machine is known: go on.")] = False,
    none: Annotated[bool, typer.Option("--none", help="None of these VMs: make another one.")] = False,
) -> None:
    """Answer what a lieutenant is stalled for.

    Which end of its conversation goes on (the other one is kept), that its files are known to be gone, or which VM is its own
    (the others are left alone). With --node the same for a node of a VMTree."""
    key = names.key(words, config.namespace)
    must_be_tree(key, node)
    if key.kind == "VMTree":
        key = asyncio.run(place_of(config, key, node)).obj.key
    if key.kind == MACHINE and (session is not None or workspace):
        raise UsageError("it has no agent and no conversation", names.short(key), "give one of --vm ID and --none")
    if key.kind not in ("Lieutenant", MACHINE):
        raise UsageError(f"a {key.kind} has nothing to resolve", names.short(key), "name a lieutenant, or a vmtree with --node")
    if sum((session is not None, bool(vm), none, workspace)) != 1:
        raise UsageError("what is the answer?", names.short(key), "give one of --session vm|local, --workspace, --vm ID and --none")
    if workspace:
        asyncio.run(answer(config, key, "workspace=known", lambda obj: fits_workspace(key, obj)))
        out(f"{names.short(key)} goes on without the files of the lost machine")
        return
    if session is None:
        if vm and not re.fullmatch(UUID, vm):
            raise UsageError("not a full id of a VM", repr(vm), "use the 36 characters that `reconciler get vm` prints")
        asyncio.run(answer(config, key, f"vm={vm}" if vm else "none", lambda obj: fits_vm(key, obj, vm)))
        out(f"{names.short(key)} {f'takes VM {vm}' if vm else 'takes none of them'}")
        return
    asyncio.run(answer(config, key, f"session={session.value}", lambda obj: fits_session(key, obj, session)))
    out(f"{names.short(key)} goes on with {'the file on its machine' if session is End.VM else 'the mirror'}")


def fits_session(key: Key, obj: StoredObject, end: End) -> None:
    """Raises `Refused` when nothing asks for this answer now."""
    reason = stalled_for(obj.status)
    if reason not in ("SessionDiverged", "SessionLost"):
        raise Refused("its conversation is not in question", names.short(key), f"see `reconciler describe {names.short(key)}`")
    if reason == "SessionLost" and end is End.VM:
        raise Refused("its machine is lost, with what only that had", names.short(key), "`--session local` goes on from the mirror")


def fits_workspace(key: Key, obj: StoredObject) -> None:
    """Raises `Refused` when nothing asks for this answer now."""
    if Reason.WORKSPACE_LOST not in reasons_of(obj.status):
        raise Refused("no files of it are known to be lost", names.short(key), f"see `reconciler describe {names.short(key)}`")


def fits_vm(key: Key, obj: StoredObject, vm_id: str) -> None:
    """Raises `Refused` when nothing asks for this answer now. `vm_id`: '' for none of them."""
    reason = stalled_for(obj.status)
    if reason not in ("CreateAmbiguous", "ClaimConflict"):
        raise Refused("its VM is not in question", names.short(key), f"see `reconciler describe {names.short(key)}`")
    if not vm_id and reason == "ClaimConflict":
        remedy = "--vm ID takes it; `reconciler forget` lets go of it"
        raise Refused("there is one VM, and another installation claims it", names.short(key), remedy)


async def answer(config: Config, key: Key, said: str, fits: Callable[[StoredObject], None]) -> None:
    """Write down one answer, to be acted on once. Raises `NotFound`, and what `fits` raises for an object that did not ask."""
    async with reader(config) as store:
        fits(await one(store, key))
    value = f"{said}:{secrets.token_hex(4)}"
    await submit(config, [{**naming(key, "annotate"), "annotations": {f"{PREFIX}resolve": value}}])


def rewind(
    config: Config,
    words: One,
    turns: Annotated[int, typer.Option("--turns", metavar="N", min=1, max=99_999, help="How many.")] = 1,
) -> None:
    """Take the conversation of a lieutenant back by whole turns.

    It goes on from there when its agent is settled, with no task in it. What is cut stays readable: `output --history`."""
    key = names.key(words if len(words) > 1 or "/" in words[0] else ["lieutenant", *words], config.namespace)
    if key.kind != "Lieutenant":
        raise UsageError(f"a {key.kind} has no conversation", names.short(key), "name a lieutenant")
    asked = {f"{PREFIX}rewind": f"{turns}:{secrets.token_hex(4)}"}
    asyncio.run(submit(config, [{**naming(key, "annotate"), "annotations": dict(asked)}]))
    out(f"{names.short(key)} goes back by {turns} turn{'s' if turns > 1 else ''} as soon as it is settled")
