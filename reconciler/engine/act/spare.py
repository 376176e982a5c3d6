"""Acts on a lieutenant's second machine, and the change of places of the two."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from reconciler.api.reasons import Reason
from reconciler.core.decisions import (
    AcceptSpare,
    FinishSpare,
    RefuseRollback,
    RejectSpare,
    SpareAction,
    StartSpare,
    SwapMachines,
    UseSpare,
)
from reconciler.core.lieutenant.spare import back, commit_of, swapped
from reconciler.core.records import SpareRecord
from reconciler.core.slot.snapshots import looked_at
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.machine import CommitSource, VmShape
from reconciler.core.snapshot.vm import VmState
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.slot import SlotActs
from reconciler.engine.ports import Place
from reconciler.engine.state.objects import LieutenantItem
from reconciler.engine.state.slots import SpareSlot


@dataclass(frozen=True)
class Restoring:
    """What a second machine is made from: a commit, which has its sizes."""

    source: CommitSource
    shape: VmShape = field(default_factory=VmShape)
    machine_hash: str = ""
    seals: tuple[str, ...] = ()


class SpareActs:
    def __init__(self, tools: ActContext, slots: SlotActs) -> None:
        self.t, self.slots = tools, slots

    async def act(self, item: LieutenantItem, view: LieutenantView, action: SpareAction) -> None:
        """Carry out one decision. What is written down here is whole in one transaction."""
        record = item.record
        match action:
            case UseSpare(inner):
                slot = view.spare.slot
                assert slot is not None, "nothing is done to a machine that was not looked at"
                await self.slots.act(SpareSlot(item), slot.vm, Restoring(CommitSource(record.spare.commit_id)), inner)
            case StartSpare(purpose, commit_id):
                await self.t.save(item, record.but(spare=SpareRecord(purpose=purpose, commit_id=commit_id)))
            case AcceptSpare(commit_id):
                said = self.t.recorder.event(item.key, item.uid, Reason.RESTORED_SNAPSHOT, f"commit {commit_id}")
                seen = record.but(slot=looked_at(record.slot, commit_id, "Restored"))
                goes_on = record.spare.purpose == "Rollback"
                spare = record.spare.but(verified=True) if goes_on else record.spare.but(commit_id="")
                await self.t.save(item, seen.but(spare=spare), *said)
            case RejectSpare(dead=str(dead)) if dead and (await self.t.vers.get_vm(dead)).state is not VmState.DEAD:
                self.t.fleet.changed(dead)  # one list said so, and it is not
            case RejectSpare(commit_id, why):
                said = self.t.recorder.event(item.key, item.uid, Reason.NOT_RESTORABLE, f"commit {commit_id}: {why}", "Warning")
                seen = record.but(slot=looked_at(record.slot, commit_id, "Failed", why), spare=record.spare.but(commit_id=""))
                if record.spare.purpose == "Rollback":
                    why = f"commit {commit_id} can't be restored: {why}"
                    seen = seen.but(rollback=record.rollback.but(state="Refused", message=why, at=self.t.clock.now()))
                    said += self.t.recorder.event(item.key, item.uid, Reason.ROLLBACK_REFUSED, why, "Warning")
                await self.t.save(item, seen, *said)
            case FinishSpare():
                await self.t.save(item, record.but(spare=SpareRecord()))
            case RefuseRollback(why):
                said = self.t.recorder.event(item.key, item.uid, Reason.ROLLBACK_REFUSED, why, "Warning")
                refused = record.rollback.but(state="Refused", message=why, at=self.t.clock.now())
                spare = record.spare.but(commit_id="", verified=False) if record.spare.purpose == "Rollback" else record.spare
                await self.t.save(item, record.but(rollback=refused, spare=spare), *said)
            case SwapMachines(commit_id):
                await self.swap(item, commit_id)
            case _:
                assert_never(action)

    async def swap(self, item: LieutenantItem, commit_id: str) -> None:
        """One transaction: from here on the agent is on the restored machine, and the one before is to be deleted."""
        record, now = item.record, self.t.clock.now()
        commit = commit_of(record, commit_id)
        assert commit is not None, "what an agent goes back to is kept"
        after = swapped(record, commit, now).but(session=back(record.session, item.uid, commit))
        earlier = f"; the conversation until now is kept as {record.session.name}" if record.session.name else ""
        what = f"VM {after.slot.vm_id} from commit {commit_id} takes the place of VM {record.slot.vm_id or '(none)'}{earlier}"
        said = self.t.recorder.event(item.key, item.uid, Reason.ROLLED_BACK, what, "Warning")
        await self.t.save(item, after, *said)
        for vm_id in (record.slot.vm_id, after.slot.vm_id):
            if vm_id:
                await self.t.agents.release(Place(vm_id))
                self.t.gatherer.machines.observe_again(vm_id)
                self.t.fleet.changed(vm_id)
