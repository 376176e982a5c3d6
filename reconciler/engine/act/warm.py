"""Acts on machines that baked profiles keep ready: they are declared like any other, and given to lieutenants in one transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions import DropWarm, FindWarm, RestWarm, StartWarm, TakeWarm, WarmAction
from reconciler.core.keys import Key, short
from reconciler.core.profile import bake, warm
from reconciler.core.records import BootRecord, SlotRecord
from reconciler.core.slot.occupancy import filled_with
from reconciler.core.treerecords import BootProfileRecord
from reconciler.engine.act.context import ActContext
from reconciler.engine.observe.warm import kept
from reconciler.engine.ports import Place
from reconciler.engine.state.declared import Declared
from reconciler.engine.state.objects import LieutenantItem, with_record
from reconciler.engine.state.slots import LieutenantSlot


class WarmActs:
    def __init__(self, tools: ActContext) -> None:
        self.t = tools

    async def act(self, profile: Key, action: WarmAction) -> None:
        """Carry out one decision of a profile. Raises what the store says."""
        match action:
            case StartWarm(serial, hashed):
                await self.note(profile, warmed=serial)  # first: a number is used once
                await self.declare(profile, warm.key_of(profile, serial), hashed, asleep=False, serial=serial)
            case RestWarm(machine):
                known = self.t.table.get(machine)
                if known is not None:
                    await self.declare(profile, machine, known.obj.labels.get(warm.HASH, ""), asleep=True)
            case DropWarm(machine, failed, hashed):
                if failed:
                    await self.note(profile, failed, cold=failed, cold_hash=hashed)
                await self.t.declarations.withdraw(machine, failed or "it is not kept ready any more")
            case FindWarm(machines):
                for machine in machines:
                    claim = self.t.gatherer.warm.claim_of(machine)
                    if claim is not None:
                        self.t.declarations.claimed = {**self.t.declarations.claimed, machine: claim}
                        await self.declare(profile, machine, "", asleep=False)  # it is looked into before it counts again
            case _:
                assert_never(action)

    async def declare(self, profile: Key, machine: Key, hashed: str, asleep: bool, serial: int = 0) -> None:
        """`serial`: of one that is new."""
        item = self.t.table.get(profile)
        labels = {warm.HASH: hashed} if hashed else {}
        uid = item.uid if item is not None else ""
        spec = warm.spec_of(profile, asleep)
        own = warm.uid_of(uid, serial) if serial else ""
        await self.t.declarations.apply(Declared(machine, spec, labels, {}, f"{bake.SOURCE}{profile.name}", source_id=uid, uid=own))

    async def note(self, profile: Key, said: str = "", **facts: object) -> None:
        """Facts about the profile, with an event where something failed."""
        item = self.t.table.get(profile)
        if item is None or not isinstance(item.record, BootProfileRecord):
            return
        event = self.t.recorder.event(profile, item.uid, TreeReason.WARM_FAILED, said, "Warning") if said else []
        await self.t.table.update([(profile, with_record(item.record.but(**facts)))], *event)

    async def take(self, item: LieutenantItem, action: TakeWarm) -> None:
        """The machine changes hands in one transaction: it is in the lieutenant's slot, and whoever had it has none and goes. What was done
        on it counts, for it is the same machine; what its keeper heard of earlier epochs does not."""
        t, now = self.t, self.t.clock.now()
        holder, mine = t.table.lieutenant(action.holder), item.record
        if holder is None or mine.slot.vm_id or holder.record.slot.vm_id != action.vm_id or not kept(holder).rests:
            return  # another one was first; the next look says who
        if t.gatherer.slots.trees.may_not_take(item.key) is not None:
            return
        given = holder.record.slot
        slot = filled_with(mine.slot.but(epoch=max(mine.slot.epoch, given.epoch) + 1, ref="", commit=""), action.vm_id, given.account)
        slot = slot.but(filled=given.filled, seals=given.seals)
        taken = LieutenantSlot(item).filled(mine, slot, holder.record.boot.machine).but(boot=holder.record.boot)
        left = holder.record.but(slot=SlotRecord(epoch=given.epoch, account=given.account), boot=BootRecord())
        said = t.recorder.event(item.key, item.uid, TreeReason.TOOK_WARM, f"VM {action.vm_id} of {short(holder.key)}")
        changes = [
            (holder.key, lambda obj: replace(obj, record=left.dump(), deleted_at=now)),
            (item.key, with_record(taken)),
        ]
        await t.table.update(changes, *said)
        await t.agents.release(Place(action.vm_id))
        t.gatherer.machines.observe_again(action.vm_id)
