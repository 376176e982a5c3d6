"""A lieutenant's second machine, while it has one: its slot, and its inside."""

from __future__ import annotations

from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.slot.item import SlotUse
from reconciler.core.snapshot.agent import Guest
from reconciler.core.snapshot.machine import CommitSource
from reconciler.core.snapshot.slot import Held
from reconciler.core.snapshot.spare import Spare
from reconciler.core.snapshot.vm import Absent, Unknown, Vm, VmState
from reconciler.engine.observe.slots import Slots
from reconciler.engine.ports import AgentReader, Clock, Place
from reconciler.engine.state.journal import Journal
from reconciler.engine.state.objects import LieutenantItem
from reconciler.engine.state.slots import SpareSlot
from reconciler.errors import GuestFailed, GuestUnreachable


class Spares:
    def __init__(self, slots: Slots, journal: Journal, agents: AgentReader, clock: Clock, owner: Owner) -> None:
        self._slots, self._journal, self._agents, self._clock, self._owner = slots, journal, agents, clock, owner
        self._silent: dict[str, float] = {}

    async def observe(self, item: LieutenantItem, now: float) -> Spare:
        """Read only as far as there is one."""
        declared, spare = item.spec.snapshots, item.record.spare
        verify = declared.verify.value if declared is not None else "None"
        slot = SpareSlot(item)
        if not spare.purpose and not spare.slot.vm_id and self._journal.of(slot.owner) is None:
            return Spare(verify=verify, blocked=self.no_room(self._slots.trees.no_room(item.key), now) if verify != "None" else "")
        observed = await self._slots.observe_vm(slot)
        source = CommitSource(spare.commit_id) if spare.commit_id and not spare.slot.vm_id else None
        seen = await self._slots.slot(slot, observed, SlotUse(), source, now)
        guest = await self._inside(slot, observed) if spare.commit_id and not spare.verified else None
        vm_id = spare.slot.vm_id
        if isinstance(guest, Unknown):
            since = self._silent.setdefault(vm_id, now)
        else:
            since = now
            self._silent.pop(vm_id, None)
        return Spare(seen, guest, verify, self.no_room(seen.no_room, now) if source is not None else "", since)

    def no_room(self, limit: Held | None, now: float) -> str:
        """Why no other machine is made now, with the limit that is reached; '' where one may be."""
        return self._slots.replace_blocked(now) or self._slots.no_room(now) or (limit.message if limit is not None else "")

    async def _inside(self, slot: SpareSlot, observed: Vm | Absent | Unknown) -> Guest | Unknown | None:
        if not isinstance(observed, Vm) or observed.state is not VmState.RUNNING:
            return None
        if not claims.claimed_for(observed, self._owner, slot.owner, slot.record.epoch):
            return None
        try:
            return await self._agents.inspect(Place(observed.vm_id))
        except (GuestUnreachable, GuestFailed) as error:
            return Unknown(str(error))
