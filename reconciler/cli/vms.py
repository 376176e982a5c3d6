"""What the platform has now, as `get vm` shows it."""

from __future__ import annotations

from reconciler.app import INSTALLATION
from reconciler.cli.access import visible
from reconciler.config import Config
from reconciler.core.keys import Json, short
from reconciler.core.records import LieutenantRecord
from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.snapshot.vm import Vm
from reconciler.engine.ports import Store
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings
from reconciler.views.documents import vm_document


async def vms(config: Config, store: Store) -> list[tuple[str, Json]]:
    """What the platform has now, each VM with the object that owns it. Raises what the platform's client raises."""
    client = VersClient(Settings(config.environ))
    try:
        listed = await client.list_vms()
    finally:
        await client.aclose()
    ours = Owner(config.fleet, await store.meta(INSTALLATION) or "")
    owners = {
        slot.vm_id: short(obj.key)
        for kind in ("Lieutenant", "Machine")
        for obj in await visible(config, store, kind)
        for slot in LieutenantRecord.load(obj.record).slots().values()
    }
    rows = sorted(listed.vms.values(), key=lambda vm: (vm.created_at, vm.vm_id))
    return [(vm.vm_id, vm_document(vm, owners.get(vm.vm_id) or claimed_by(vm, ours))) for vm in rows]


def claimed_by(vm: Vm, ours: Owner) -> str:
    """Who else says that it is theirs; '' when nobody does, or when the claim is ours and its object does not own it."""
    return claims.claimant(vm.labels) if claims.valid_claim(vm) and not claims.is_ours(vm, ours) else ""
