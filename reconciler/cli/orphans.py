"""`orphans`: VMs that no object here owns, told apart; and the deletion of those that are ours."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from reconciler.app import INSTALLATION, vers_of
from reconciler.cli import kubeorphans, output
from reconciler.cli.access import reader
from reconciler.cli.output import out, say
from reconciler.cli.submit import submit
from reconciler.config import Config
from reconciler.core.fleet.orphans import Standing, Stray, strays
from reconciler.core.keys import Json
from reconciler.core.records import LieutenantRecord
from reconciler.core.slot.claims import Owner
from reconciler.core.slot.pairing import Pending
from reconciler.core.times import timestamp
from reconciler.core.tree.places import MACHINE
from reconciler.engine.orphans import awaited
from reconciler.engine.ports import Intent
from reconciler.engine.state.journal import CREATE
from reconciler.errors import Refused
from reconciler.views.documents import vm_document
from reconciler.views.selecting import labels_of_vm, matches


def orphans(
    config: Config,
    selector: Annotated[
        str, typer.Option("-l", "--selector", metavar="LABELS", help="VMs with these labels: NAME=VALUE,…", show_default=False)
    ] = "",
    delete: Annotated[bool, typer.Option("--delete", help="Delete the orphans, and nothing else.")] = False,
    confirm: Annotated[bool, typer.Option("--confirm", help="Really.")] = False,
    output_: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="table, json or yaml.")] = "table",
) -> None:
    """Show VMs that no object here owns; delete proven orphans.

    Orphan: carries our claim, and its object is gone. Suspected: not claimed, and made by one of our creates, or it fits one whose
    answer never came. Retained: left to us by `deletionPolicy: Retain`. Foreign: another installation or fleet claims it. Unclaimed:
    nobody's. Only orphans can be deleted. With -l: of the VMs whose labels on the platform, and `fleet.vers.sh/state`, fit.

    With --kube: the platform as your own key sees it beside the cluster's objects. Unknown: carries our claim, and you can't see
    whether it has an owner."""
    shape = output.parse_format(output_, ("table", "json", "yaml"))
    if selector:
        matches({}, selector)
    every = asyncio.run(kubeorphans.look(config) if config.kube else look(config))
    found = [stray for stray in every if not selector or matches(labels_of_vm(stray.vm, None), selector)]
    if shape.kind == "table":
        rows = [[s.vm.vm_id, s.standing.value, s.vm.state.value, timestamp(s.vm.created_at), s.said] for s in found]
        output.table(("VM", "KIND", "STATE", "CREATED", "WHY"), rows)
    else:
        output.show([_document(stray) for stray in found], shape, False)
    ours = [stray for stray in found if stray.standing is Standing.ORPHAN]
    doomed = [stray.vm.vm_id for stray in ours]
    if not delete:
        return
    if not doomed:
        say("there is no orphan; nothing to delete")
        return
    if not confirm:
        raise Refused(f"{len(doomed)} VMs would be deleted", ", ".join(doomed), "say so with --confirm")
    if config.kube:
        asyncio.run(kubeorphans.delete(config, ours, lambda vm_id, said: out(f"vm/{vm_id} {said}")))
        return
    wanted: Json = {"op": "collect", "vms": list(doomed)}
    asyncio.run(submit(config, [wanted]))
    for vm_id in doomed:
        out(f"vm/{vm_id} deletion asked for")


async def look(config: Config) -> list[Stray]:
    """Every VM of the platform's list without an owner here. Raises what the platform's client raises."""
    async with reader(config) as store:
        image = await store.load()
    client = vers_of(config)
    try:
        listed = await client.list_vms()
    finally:
        await client.aclose()
    by_key = {obj.key: obj for obj in image.objects}
    slots = [LieutenantRecord.load(obj.record).slots() for obj in image.objects if obj.key.kind in ("Lieutenant", MACHINE)]
    owned = {slot.vm_id for of in slots for slot in of.values()}
    owner = Owner(config.fleet, image.meta.get(INSTALLATION, ""))
    return strays(
        listed.vms.values(),
        owner,
        owned,
        image.first_seen,
        listed.begun - config.settle_seconds,
        awaited=lambda labels: awaited(labels, by_key.get),
        creates=[pending(intent) for intent in image.intents if intent.verb == CREATE],
    )


def pending(intent: Intent) -> Pending:
    """An open create, as far as the store tells of it."""
    told = intent.payload
    commit, account = str(told.get("commit") or ""), str(told.get("account") or "")
    since = intent.server_time
    return Pending(intent.token, commit, since, intent.sent_at, account=account, namespace=intent.owner.object.namespace)


def _document(stray: Stray) -> Json:
    document = vm_document(stray.vm, "")
    status = document["status"]
    assert isinstance(status, dict)
    document["status"] = {**status, "standing": stray.standing.value, "message": stray.said}
    return document
