"""Acts on the way to another machine (G-14): what is made and prepared there, the move itself, and the way back. Durable first, then what
follows; each can be done again after a crash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from reconciler.api.reasons import Reason
from reconciler.core.backoff import delay
from reconciler.core.decisions import (
    AtNext,
    BeginReplacement,
    BindCreated,
    CarryOver,
    ConfirmReplacement,
    Create,
    DropReplacement,
    EndReplacement,
    FenceReplacement,
    GuestAction,
    ReplacementAction,
    ReturnToOld,
    TakeNext,
)
from reconciler.core.lieutenant.afterreplacement import seen_at_next
from reconciler.core.lieutenant.session import housed
from reconciler.core.profile.directories import WORK_DIR
from reconciler.core.records import LieutenantRecord, ReplacementRecord, SlotRecord
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.rendered import Rendered
from reconciler.engine.act.context import ActContext, NextContext
from reconciler.engine.act.guest import GuestActs
from reconciler.engine.act.local import WORKSPACE_LIMIT, LocalActs
from reconciler.engine.act.slot import SlotActs
from reconciler.engine.ports import AddEvent, Machine, Place
from reconciler.engine.state.objects import LieutenantItem
from reconciler.engine.state.slots import NextSlot, at_next
from reconciler.errors import GuestFailed, GuestUnreachable, StaleEpoch


class ReplacementActs:
    def __init__(self, tools: ActContext) -> None:
        self.t = tools
        self._slot, self._guest, self._local = SlotActs(tools), GuestActs(NextContext.of(tools)), LocalActs(tools)

    async def act(self, item: LieutenantItem, view: LieutenantView, action: ReplacementAction) -> None:
        """Carry out one decision about the replacement of a machine. What fails inside a machine is counted, and holds up nothing else."""
        record, told = item.record, item.record.replacement
        match action:
            case BeginReplacement() if self.t.gatherer.slots.trees.rollout(item.key):
                return  # another node of its tree was first
            case BeginReplacement():
                begun = ReplacementRecord(state="Making", since=self.t.clock.now(), made_for=action.made_for)
                await self.save(item, record.but(next=SlotRecord(epoch=record.slot.epoch), replacement=begun), Reason.REPLACING, action.why)
            case AtNext():
                await self.at_next(item, view, action)
            case FenceReplacement():
                epoch = record.slot.epoch + 1
                await self.save(item, record.but(slot=record.slot.but(epoch=epoch), replacement=told.but(fenced=epoch)))
            case CarryOver():
                await self.guarded(item, self.carry_over, view)
            case ConfirmReplacement():
                said = f"VM {record.slot.vm_id} has taken the place of VM {record.next.vm_id}"
                await self.save(item, record.but(replacement=told.but(state="Confirmed")), Reason.REPLACED, said)
            case ReturnToOld(_, why, failed):
                await self.return_to_old(item, view, why, failed)
            case TakeNext():
                taken = record.swapped().but(next=SlotRecord(), replacement=told.over())
                session = housed(record.session, item.uid, item.spec.session.generation)
                await self.save(item, taken.but(session=session), Reason.REPLACED, f"VM {record.next.vm_id} takes the place of a lost one")
                self.observe_again(record)
            case DropReplacement(why, failed):
                await self.drop(item, view, why, failed)
            case EndReplacement(left):
                await self.save(item, record.but(next=SlotRecord(), replacement=told.over()))
                if left:
                    self.t.recorder.note(item.key, item.uid, Reason.DETACHED_VM, f"VM {left} is left as it is", "Warning")
            case _:
                assert_never(action)

    async def save(self, item: LieutenantItem, record: LieutenantRecord, reason: str = "", message: str = "") -> None:
        said: list[AddEvent] = self.t.recorder.event(item.key, item.uid, reason, message) if reason else []
        await self.t.save(item, record, *said)

    def observe_again(self, record: LieutenantRecord) -> None:
        """Both machines are looked into afresh: their claims and marks are read with another epoch."""
        for vm_id in (record.slot.vm_id, record.next.vm_id):
            self.t.gatherer.machines.observe_again(vm_id)

    # --- the other machine ---------------------------------------------------------------------------------------------------------------

    async def at_next(self, item: LieutenantItem, view: LieutenantView, action: AtNext) -> None:
        inner, other = action.action, view.next
        assert other is not None
        if isinstance(inner, GuestAction):
            await self.guarded(item, self.inside, view, inner)
            return
        blueprint = view.rendered if isinstance(view.rendered, Rendered) else None
        await self._slot.act(NextSlot(item), other.slot.vm, blueprint, inner)
        if isinstance(inner, Create | BindCreated):
            now = self.t.current(item)
            if now.next.vm_id:
                await self.save(item, now.but(replacement=now.replacement.but(at=self.t.clock.now())))

    async def inside(self, item: LieutenantItem, view: LieutenantView, action: GuestAction) -> None:
        await self._guest.act(at_next(item), seen_at_next(view), action)

    async def guarded(self, item: LieutenantItem, act: Callable[..., Awaitable[None]], *more: object) -> None:
        """What a machine refuses is written down and tried again later; after some of that the other machine is given up."""
        try:
            await act(item, *more)
        except (GuestUnreachable, GuestFailed, StaleEpoch) as error:
            now = self.t.current(item)
            if now.replacement.state != "Making":
                raise
            tries, trouble = now.replacement.tries + 1, self.t.redact(str(error))[:1000]
            later = self.t.clock.now() + delay(tries, self.t.jitter())
            self.observe_again(now)
            await self.save(item, now.but(replacement=now.replacement.but(tries=tries, not_before=later, trouble=trouble)))
            return
        now = self.t.current(item)
        if now.replacement.tries:
            await self.save(item, now.but(replacement=now.replacement.but(tries=0, not_before=0.0, trouble="")))

    # --- the move ------------------------------------------------------------------------------------------------------------------------

    async def carry_over(self, item: LieutenantItem, view: LieutenantView) -> None:
        """pi runs nowhere. Workspace and conversation are brought to the new machine and verified there; then one durable write puts it
        into the slot. Cut off before that write, all of it is done again; the old machine stays as it is until pi answers there."""
        t, record = self.t, item.record
        assert isinstance(view.rendered, Rendered)
        old, new = Machine(Place(record.slot.vm_id), record.slot.epoch), Machine(Place(record.next.vm_id), record.next.epoch)
        directory = record.workspace.directory or WORK_DIR
        packed = await self._guest.boot.carry_files(old, directory, new, at_next(item), view.rendered, WORKSPACE_LIMIT)
        if packed > WORKSPACE_LIMIT:
            why = f"its workspace has {packed >> 20} MiB, at most {WORKSPACE_LIMIT >> 20} are carried over"
            await self.drop(item, view, why, failed=True)
            return
        size = await self._local.bring_session(item, new, view.rendered.work_dir)
        taken = record.swapped()
        told = taken.replacement.but(state="Taken", at=t.clock.now())
        session = housed(record.session, item.uid, item.spec.session.generation)
        said = f"VM {new.id}: {size} bytes of conversation, {packed} of files; VM {old.id} is kept until pi answers there"
        await self.save(item, taken.but(replacement=told, session=session), Reason.CARRIED_OVER, said)
        self.observe_again(record)

    async def return_to_old(self, item: LieutenantItem, view: LieutenantView, why: str, failed: bool) -> None:
        """The old machine is in the slot again, with everything that was on it."""
        back = item.record.swapped()
        told = back.replacement.but(state="Returned", at=self.t.clock.now(), **self.failure(view, why, failed))
        await self.told_why(item, back.but(replacement=told), why, failed)
        self.observe_again(item.record)

    async def drop(self, item: LieutenantItem, view: LieutenantView, why: str, failed: bool) -> None:
        """The other machine goes; the old one works on."""
        told = item.record.replacement.but(state="Dropping", **self.failure(view, why, failed))
        await self.told_why(item, item.record.but(replacement=told), why, failed)

    def failure(self, view: LieutenantView, why: str, failed: bool) -> dict[str, str]:
        basis = view.rendered.basis if isinstance(view.rendered, Rendered) else ""
        return {"failed": why, "failed_with": basis} if failed else {}

    async def told_why(self, item: LieutenantItem, record: LieutenantRecord, why: str, failed: bool) -> None:
        reason = Reason.REPLACEMENT_FAILED if failed else Reason.REPLACING
        said = self.t.recorder.event(item.key, item.uid, reason, f"the other machine goes: {why}", "Warning" if failed else "Normal")
        await self.t.save(item, record, *said)
