"""What the platform has now, as `get vm` shows it."""

from __future__ import annotations

from reconciler.cli import names
from reconciler.cli.access import visible
from reconciler.config import Config
from reconciler.core.keys import Json
from reconciler.core.records import LieutenantRecord
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
    owners = {LieutenantRecord.load(obj.record).slot.vm_id: names.short(obj.key) for obj in await visible(config, store, "Lieutenant")}
    rows = sorted(listed.vms.values(), key=lambda vm: (vm.created_at, vm.vm_id))
    return [(vm.vm_id, vm_document(vm, owners.get(vm.vm_id, ""))) for vm in rows]
