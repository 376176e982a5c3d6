"""What the platform says about a VM that is to be adopted, and about the snapshot that must come before a deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.adoption import Target
from reconciler.core.deletion import SnapshotSeen
from reconciler.core.vmslot import Absent, Unknown, VmObservation
from reconciler.engine.journal import COMMIT
from reconciler.engine.objects import LieutenantItem
from reconciler.errors import Forbidden, NotFound, ReconcilerError

if TYPE_CHECKING:
    from reconciler.engine.gather import Gatherer


async def adoption(g: Gatherer, item: LieutenantItem) -> Target | None:
    """The VM that `adopt` names, while it still has to be taken over."""
    slot = item.record.slot
    if item.spec.adopt is None or slot.vm_id or slot.adopted:
        return None
    vm_id = item.spec.adopt.vm_id
    owner = g.table.owner_of(vm_id)
    seen: VmObservation
    try:
        fresh = await g.fleet.list_since(g.clock.now() - g.settings.resync_seconds * 3)
        vm = fresh.vms.get(vm_id)
        if vm is None:
            vm = await g.effects.call("vers.get_vm", lambda: g.fleet.vers.get_vm(vm_id))
        seen = g.seen(vm, item)
    except (NotFound, Forbidden):
        seen = Absent(proven=True)
    except ReconcilerError as error:
        seen = Unknown(str(error))
    return Target(vm_id, seen, str(owner) if owner is not None and owner != item.key else "")


async def snapshot(g: Gatherer, item: LieutenantItem, now: float) -> SnapshotSeen | None:
    """What the platform's commits say about the snapshot that must be there before the VM goes."""
    slot, record = item.record.slot, item.record.slot.snapshot
    if not slot.vm_id or slot.condemned or record.verified:
        return None
    intent = g.journal.of(item.uid, COMMIT)
    if intent is None and not record.commit_id:
        return SnapshotSeen()
    sent_at = intent.sent_at if intent is not None else record.taken_at
    try:
        commits = await g.effects.call("vers.list_commits", g.fleet.vers.list_commits)
    except ReconcilerError:
        return SnapshotSeen(intent is not None, None, None)
    name = str(intent.payload.get("name", "")) if intent is not None else ""
    found = next((c.commit_id for c in commits if name and c.name == name), "")
    listed = any(c.commit_id == record.commit_id for c in commits)
    return SnapshotSeen(intent is not None, found, listed, settled=now >= sent_at + g.settings.settle_seconds)
