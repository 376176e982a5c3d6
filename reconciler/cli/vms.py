"""What the platform has now, as `get vm` shows it."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.app import INSTALLATION
from reconciler.cli.access import visible
from reconciler.config import Config
from reconciler.core.keys import Json, short
from reconciler.core.records import LieutenantRecord
from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.snapshot.vm import Vm
from reconciler.core.tree.places import MACHINE
from reconciler.engine.ports import Store, StoredObject
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings
from reconciler.views.documents import vm_document
from reconciler.views.selecting import labels_of_vm


async def vms(config: Config, store: Store, owners: Mapping[str, StoredObject] | None = None) -> list[tuple[str, Json]]:
    """What the platform has now, each VM with the object that owns it. `owners`: as `owners_of` has them (None: they are read). Raises
    what the platform's client raises."""
    client = VersClient(Settings(config.environ))
    try:
        listed = await client.list_vms()
    finally:
        await client.aclose()
    ours = Owner(config.fleet, await store.meta(INSTALLATION) or "")
    if owners is None:
        owners = await owners_of(config, store)
    rows = sorted(listed.vms.values(), key=lambda vm: (vm.created_at, vm.vm_id))
    return [(vm.vm_id, _document(vm, owners.get(vm.vm_id), ours)) for vm in rows]


async def owners_of(config: Config, store: Store) -> dict[str, StoredObject]:
    """VM id → the object whose record it is in."""
    return {
        slot.vm_id: obj
        for kind in ("Lieutenant", MACHINE)
        for obj in await visible(config, store, kind)
        for slot in LieutenantRecord.load(obj.record).slots().values()
        if slot.vm_id
    }


def _document(vm: Vm, owner: StoredObject | None, ours: Owner) -> Json:
    return vm_document(vm, short(owner.key) if owner is not None else claimed_by(vm, ours), labels_of_vm(vm, owner))


def claimed_by(vm: Vm, ours: Owner) -> str:
    """Who else says that it is theirs; '' when nobody does, or when the claim is ours and its object does not own it."""
    return claims.claimant(vm.labels) if claims.valid_claim(vm) and not claims.is_ours(vm, ours) else ""
