"""Live copies: what a slot is to be copied from, and which copies are to be made of one. Only our own books and the list are read: the
original's own worker looks into its machine."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.api.lieutenant import ManagementPolicy, PlacementType
from reconciler.api.parsing import plain
from reconciler.core.keys import Key, short, source_key
from reconciler.core.lieutenant.afterwards import NEW_VM
from reconciler.core.lieutenant.desired import desired_state
from reconciler.core.slot import branching, pairing
from reconciler.core.snapshot.branch import NO_COPIES, Copies, Original
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.vm import Seen, Vm, VmObservation, VmState
from reconciler.engine.observe.slots import Slots
from reconciler.engine.ports import Intent
from reconciler.engine.state.journal import Journal
from reconciler.engine.state.objects import LieutenantItem, ObjectTable
from reconciler.engine.state.slots import LieutenantSlot

CALL_SECONDS = 360.0
"""No call to the platform takes longer."""


class Branches:
    """`foreseen`: what a plan has shown to get a machine."""

    def __init__(self, table: ObjectTable, journal: Journal, slots: Slots, settle_seconds: float) -> None:
        self._table, self._journal, self._slots, self._settle = table, journal, slots, settle_seconds
        self.foreseen: set[Key] = set()

    async def original(self, item: LieutenantItem, now: float) -> Original | None:
        """What `fork` names, until the copy was made."""
        fork, slot = item.spec.fork, item.record.slot
        if fork is None or slot.vm_id or slot.branch.vm_id or item.deleting:
            return None
        key = source_key(item.key.namespace, plain(fork.from_))
        source = self._table.lieutenant(key)
        if source is None:
            return Original(short(key), exists=False)
        record, spec = source.record, source.spec
        if key in self.foreseen and not record.slot.vm_id:
            return Original(short(key), vm_id=NEW_VM, vm=Seen(VmState.RUNNING))
        kept_from = ""
        if spec.management_policy is ManagementPolicy.OBSERVE_ONLY:
            kept_from = "managementPolicy ObserveOnly changes nothing on it"
        elif record.slot.marked_for_deletion:
            kept_from = f"VM {record.slot.vm_id} is being deleted"
        elif record.rollback.state == "Asked" or record.spare.purpose == "Rollback":
            kept_from = "it goes back to a snapshot"
        elif desired_state(spec.mode, source.deleting, bool(record.rest.reason)) is DesiredState.SUSPENDED:
            kept_from = "it is declared Suspended, or rests"
        observed = await self._slots.look(LieutenantSlot(source))
        seen: VmObservation = self._slots.seen(observed, LieutenantSlot(source)) if isinstance(observed, Vm) else observed
        return Original(
            named=short(key),
            deleting=source.deleting,
            local=spec.placement.type is PlacementType.LOCAL or record.local.state == "Home",
            kept_from=kept_from,
            vm_id=record.slot.vm_id,
            vm=seen,
            standing=branching.standing(key.name, record.stand, record.slot, now),
            over=record.stand.over,
        )

    def copies(self, item: LieutenantItem, now: float) -> Copies:
        """What is to become a live copy of this one."""
        over = item.record.stand.over
        asked = tuple(sorted(short(fork.key) for fork in self._forks(item) if branching.asking(fork.record.slot, over, now)))
        sent = self._sent(item.record.slot.vm_id, now)
        if not asked and not sent:
            return NO_COPIES
        names = {short(intent.owner.object) for intent in sent}
        return Copies(asked, tuple(sorted(names)), any(map(self._journal.calling, sent)))

    def sent(self, vm_id: str, now: float) -> bool:
        """Whether a branch of this VM may still be made: a call is on its way, or was not answered."""
        return bool(self._sent(vm_id, now))

    def _forks(self, item: LieutenantItem) -> Iterator[LieutenantItem]:
        found = (self._table.lieutenant(key) for key in self._table.forks_of(item.key))
        return (fork for fork in found if fork is not None and wants(fork) and self._journal.of(fork.slot_owner) is None)

    def _sent(self, vm_id: str, now: float) -> list[Intent]:
        if not vm_id:
            return []
        journal, wanted = self._journal, f"{pairing.VM}{vm_id}"
        found = [intent for intent in journal.creates_of(wanted) if not self._table.filled(intent.owner)]
        return [one for one in found if now < (one.sent_at + CALL_SECONDS if journal.calling(one) else journal.ended(one) + self._settle)]


def wants(fork: LieutenantItem) -> bool:
    """It is still to be made, and may be."""
    running = desired_state(fork.spec.mode, fork.deleting) is DesiredState.RUNNING
    return running and not fork.record.slot.branch.vm_id and fork.spec.management_policy is not ManagementPolicy.OBSERVE_ONLY
