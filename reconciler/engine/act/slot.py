"""Acts on the VM slot: create, adopt, claim, suspend, resume, delete. Durable first, then the call, then what it told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from reconciler.api.reasons import Reason
from reconciler.core.backoff import delay
from reconciler.core.decisions import (
    Adopt,
    AskOriginal,
    BindCreated,
    ClearSlot,
    Create,
    Delete,
    Detach,
    GiveUpIntent,
    LabelClaim,
    MarkForDeletion,
    Release,
    Resume,
    SlotAction,
    SnapshotAction,
    Suspend,
)
from reconciler.core.fleet.breaker import BREAKER, Breaker
from reconciler.core.governance.memory import memory_of
from reconciler.core.records import SlotRecord
from reconciler.core.slot import claims
from reconciler.core.slot.branching import PAUSE
from reconciler.core.slot.item import Blueprint, SlotItem
from reconciler.core.slot.occupancy import TRIES, emptied, filled_with, unrestorable
from reconciler.core.slot.policies import DELETE_BACKOFF
from reconciler.core.snapshot.machine import BranchSource, CreateSource, RootSource
from reconciler.core.snapshot.vm import Seen, Vm, VmObservation, VmState
from reconciler.engine.act import branches
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.lettinggo import LettingGo
from reconciler.engine.act.slotbooks import SlotBooks
from reconciler.engine.act.snapshot import CommitActs
from reconciler.engine.observe.remembering import forgets
from reconciler.engine.ports import Intent, Place, PutMeta
from reconciler.engine.state.journal import closing
from reconciler.engine.state.objects import with_record
from reconciler.errors import (
    REFUSED,
    DoubtfulRefusal,
    Forbidden,
    Indeterminate,
    NoRoom,
    NotFound,
    ReconcilerError,
    Rejected,
)


class SlotActs:
    """On any slot: it is known by its `SlotItem` only."""

    def __init__(self, tools: ActContext) -> None:
        self.t, self.books = tools, SlotBooks(tools.table, tools.recorder)
        self.commits = CommitActs(tools, self.books)
        self.letting_go = LettingGo(tools, self.books)

    async def act(self, item: SlotItem, seen: VmObservation, blueprint: Blueprint | None, action: SlotAction) -> None:
        """Carry out one decision about the slot. `seen`: the VM when it was decided; `blueprint`: what a new one is made from, None
        as long as that is not known. Raises what the platform or the store says."""
        if isinstance(action, SnapshotAction):
            await self.commits.act(item, action)
            return
        match action:
            case Create():
                assert blueprint is not None, "nothing is created before it is known from what"
                await self.create(item, blueprint, action)
            case AskOriginal():
                branch = item.record.branch.but(asked_at=self.t.clock.now())
                await self.books.save(item, item.record.but(branch=branch))
            case BindCreated():
                await self.adopt(item, action)
            case Adopt():
                await self.take_over(item, action.vm_id)
            case GiveUpIntent():
                await self.give_up(item)
            case LabelClaim():
                await self.claim(item, action.vm_id)
            case Suspend():
                await self.suspend(item, action.vm_id)
            case Resume():
                await self.resume(item, action.vm_id)
            case Detach():
                await self.letting_go.detached(item, seen, action)
            case MarkForDeletion():
                await self.mark_for_deletion(item, action)
            case Delete():
                await self.delete(item, seen, action.vm_id)
            case ClearSlot():
                await self.forget(item, action.vm_id)
            case Release():
                await self.release(item)
            case _:
                assert_never(action)

    async def create(self, item: SlotItem, blueprint: Blueprint, action: Create) -> None:
        """Intent, call, result. An answer that never came leaves the intent open; only looking can close it."""
        t = self.t
        hold, now = t.gatherer.slots.hold, t.clock.now()
        if hold.breaker.blocks(now, len(hold.failing_deletes)):
            return  # another slot's create came first and told us since this was planned
        if t.gatherer.slots.trees.no_room(item.owner.object) is not None:
            return  # another slot's create took the last room since this was planned
        probed = self.breaker(hold.breaker.probe(now))
        epoch = item.record.epoch + 1
        token = t.token()
        latest = t.fleet.latest
        source = branches.named_source(blueprint.source, action, item.record.restore)
        restored = bool(item.record.restore)
        told = branches.payload(source, epoch, action.original, item.record.seals if restored else blueprint.seals)
        told |= {"machine": "" if restored else blueprint.machine_hash, "account": t.gatherer.slots.account}
        intent = Intent(
            token=token,
            owner=item.owner,
            verb="create",
            attempt=action.attempt,
            payload=told,
            sent_at=t.clock.now(),
            server_time=latest.server_time if latest else None,
        )
        slot = item.record.but(epoch=epoch, attempts=action.attempt, tried_with=blueprint.machine_hash, last_error="")
        slot = slot.but(ref=action.ref, commit=action.commit)
        try:
            await self.books.save(item, slot, *t.journal.writes_to_open(intent), *probed)
            await t.backend.persist_intent(intent)
        except ReconcilerError:
            t.journal.not_sent(intent)
            raise
        t.journal.opened(intent)
        if action.original is not None and not branches.still_stands(t.table, action.original, t.clock.now()):
            slot = slot.but(attempts=item.record.attempts)  # it went on meanwhile; from here on the open intent keeps it from that
            await self.books.save(item, slot, closing(intent, "never sent"))
            t.journal.closed(intent)
            return
        labels = claims.birth_labels(t.gatherer.owner, item.owner, epoch, token)
        try:
            vm_id = await self.called(source, blueprint, labels, token)
        except REFUSED as error:
            await self.create_failed(item, slot, intent, error)
            return
        except ReconcilerError as error:
            await self.create_in_doubt(item, slot, intent, error)
            return
        if t.table.owner_of(vm_id) is not None or t.fleet.first_seen.get(vm_id, intent.sent_at) < intent.sent_at:
            what = f"the platform answered a create with the id of a VM that was there before: {vm_id}"
            await self.create_in_doubt(item, slot, intent, Indeterminate(what))
            return
        if not isinstance(source, RootSource):
            labels = {}
        t.journal.answered(intent, vm_id, t.clock.now())
        t.fleet.created(Vm(vm_id, t.gatherer.slots.account, t.clock.now(), VmState.BOOTING, labels))
        await self.occupy(item, slot, intent, vm_id, "CreatedVM")

    async def called(self, source: CreateSource, blueprint: Blueprint, labels: Mapping[str, str], token: str) -> str:
        """The create itself; returns the VM's id. What is copied live was paused meanwhile: an older list says nothing of it any more."""
        try:
            return await self.t.vers.create_vm(source, blueprint.shape, labels, token)
        finally:
            if isinstance(source, BranchSource):
                self.t.fleet.changed(source.vm_id)

    def breaker(self, now: Breaker) -> tuple[PutMeta, ...]:
        """The breaker from now on, and what keeps it over a restart of the controller (G-06)."""
        hold = self.t.gatherer.slots.hold
        before, hold.breaker = hold.breaker, now
        return (PutMeta(BREAKER, now.dump()),) if now != before else ()

    async def create_in_doubt(self, item: SlotItem, slot: SlotRecord, intent: Intent, error: ReconcilerError) -> None:
        """Nothing proves that no VM was made: the intent stays open. A refusal is noted all the same, so that people are told it at once,
        and is reason to slow down: all creates where it speaks of no room, this slot's where it does not."""
        t, now = self.t, self.t.clock.now()
        t.journal.in_doubt(intent, now)
        if not isinstance(error, DoubtfulRefusal):
            self.books.note(item, Reason.CREATE_INDETERMINATE, str(error), "Warning")
            return
        told: tuple[PutMeta, ...] = ()
        if isinstance(error, NoRoom):
            told = self.breaker(t.gatherer.slots.hold.breaker.failed(error.what, now))
            slot = slot.but(attempts=slot.attempts - 1, last_error=str(error))
        else:
            slot = self.backing_off(slot, error)
        said = self.books.event(item, Reason.CREATE_FAILED, str(error), "Warning")
        await self.books.save(item, slot, *told, *said)

    async def create_failed(self, item: SlotItem, slot: SlotRecord, intent: Intent, error: ReconcilerError) -> None:
        """The platform said no in a way that proves it: nothing was made."""
        if slot.restore and isinstance(error, NotFound):
            slot = unrestorable(slot, str(error))
        said = self.books.event(item, Reason.CREATE_FAILED, str(error), "Warning")
        await self.books.save(item, self.backing_off(slot, error), closing(intent, f"failed: {type(error).__name__}"), *said)
        self.t.journal.closed(intent)

    def backing_off(self, slot: SlotRecord, error: ReconcilerError) -> SlotRecord:
        """The slot with the next attempt after a delay, and why."""
        return slot.but(not_before=self.t.clock.now() + delay(slot.attempts, self.t.jitter()), last_error=str(error))

    async def occupy(self, item: SlotItem, slot: SlotRecord, intent: Intent, vm_id: str, reason: str) -> None:
        """Write down which VM fills the slot, and close the intent, in one transaction."""
        t = self.t
        machine = str(intent.payload.get("machine", ""))
        closed = self.breaker(t.gatherer.slots.hold.breaker.succeeded())
        said = self.books.event(item, reason, f"VM {vm_id}")
        filled, copied = (
            branches.copied(filled_with(slot, vm_id, t.gatherer.slots.account), intent),
            await branches.conversation(t.gatherer.transcripts, t.table, item, intent),
        )
        if filled.branch.vm_id and not slot.branch.vm_id:
            filled = filled.but(branch=filled.branch.but(size=sum(len(write.data) for write in copied)))
            said += self.books.event(
                item, Reason.FORKED, f"VM {vm_id} is a live copy of VM {filled.branch.vm_id} of {filled.branch.source}"
            )
        await self.books.fill(item, filled, machine, closing(intent, f"vm {vm_id}"), *copied, *closed, *said)
        t.journal.closed(intent)
        if copied:
            t.gatherer.transcripts.began(item.session, sum(len(write.data) for write in copied))

    async def take_over(self, item: SlotItem, vm_id: str) -> None:
        """The VM that `adopt` names: first ours in our books, then by its claim. Its epoch goes on from the one that is on it: what
        an earlier owner still sends is refused by it. A permission to take it from another installation lasts until the claim is
        written. Raises what the platform says of it."""
        t = self.t
        vm = await t.vers.get_vm(vm_id)  # a list may be from before its last owner let it go
        if t.table.owner_of(vm_id) is not None:
            return  # another one was first; the next look says who
        if t.gatherer.slots.trees.no_room(item.owner.object) is not None:
            return  # another one took the last room since this was planned
        slot = item.record
        epoch = max(slot.epoch, claims.epoch_on(vm.labels)) + 1
        chosen = slot.chosen if slot.chosen == vm_id else ""
        slot = slot.but(epoch=epoch, adopted=vm_id, ref="", commit="")
        filled = filled_with(slot, vm_id, t.gatherer.slots.account).but(chosen=chosen)
        await self.books.fill(item, filled, "", *self.books.event(item, Reason.ADOPTED_VM, f"VM {vm_id}, as declared"))

    async def adopt(self, item: SlotItem, action: BindCreated) -> None:
        """The VM that our own unanswered create made."""
        intent = self.t.journal.of(item.owner)
        if intent is None or intent.token != action.token:
            return
        await self.occupy(item, item.record, intent, action.vm_id, Reason.ADOPTED_VM)

    async def give_up(self, item: SlotItem) -> None:
        intent = self.t.journal.of(item.owner)
        if intent is None:
            return
        what = "refused" if item.record.last_error else "not answered"
        said = self.books.event(item, Reason.CREATE_LOST, f"a create that was {what} left no VM", "Warning")
        slot = item.record.but(chosen="")
        if slot.restore and slot.attempts >= TRIES and slot.last_error:
            slot = unrestorable(slot, slot.last_error)
        if branches.is_branch(intent):  # what it is a copy of gets on with its work first
            slot = slot.but(not_before=self.t.clock.now() + PAUSE, last_error="a live copy was asked for, and none was made")
        await self.books.save(item, slot, closing(intent, "no effect"), *said)
        self.t.journal.closed(intent)

    async def claim(self, item: SlotItem, vm_id: str) -> None:
        """Our claim on the VM; where a person said so, over that of another installation, whose epoch it then exceeds."""
        t, slot = self.t, item.record
        vm = t.fleet.current(vm_id)
        on_it = vm.labels if vm is not None else {}
        if slot.chosen and claims.epoch_on(on_it) >= slot.epoch and not claims.names(on_it, item.owner):
            slot = slot.but(epoch=claims.epoch_on(on_it) + 1)
            await self.books.save(item, slot)
        labels = claims.claim_over(on_it, t.gatherer.owner, item.owner, slot.epoch, vm_id)
        await t.vers.set_labels(vm_id, labels)
        t.fleet.labelled(vm_id, labels)
        branch = slot.branch.but(claimed=slot.branch.claimed or bool(slot.branch.vm_id))
        if slot.chosen or branch != slot.branch:
            await self.books.save(item, slot.but(chosen="", branch=branch))

    async def suspend(self, item: SlotItem, vm_id: str) -> None:
        """Whatever is answered, how the machine is now is what the platform says next: one that sleeps answers nobody."""
        t = self.t
        try:
            await t.vers.suspend_vm(vm_id)
        finally:
            t.fleet.changed(vm_id)
            t.gatherer.machines.observe_again(vm_id)
        await t.agents.release(Place(vm_id))
        self.books.note(item, Reason.SUSPENDED_VM, f"VM {vm_id}")

    async def resume(self, item: SlotItem, vm_id: str) -> None:
        t = self.t
        try:
            await t.vers.resume_vm(vm_id)
        finally:
            t.fleet.changed(vm_id)
            t.gatherer.machines.observe_again(vm_id)
        self.books.note(item, Reason.RESUMED_VM, f"VM {vm_id}")

    async def mark_for_deletion(self, item: SlotItem, action: MarkForDeletion) -> None:
        """From here on the deletion of this VM can't be taken back. A dead one is looked at once more by itself first."""
        t = self.t
        if action.cause == "Dead":
            vm = await t.vers.get_vm(action.vm_id)
            if vm.state is not VmState.DEAD:
                t.fleet.changed(action.vm_id)
                return
        slot = item.record.but(marked_for_deletion=True, cause=action.cause, marked_at=t.clock.now(), delete_attempts=0, not_before=0.0)
        said = self.books.event(item, Reason.DELETING_VM, f"VM {action.vm_id}: {action.why}")
        await self.books.save(item, slot, *said)

    async def delete(self, item: SlotItem, seen: VmObservation, vm_id: str) -> None:
        """One attempt, counted before it is made. Some backends want a suspended VM resumed first (vers-api §3.3)."""
        t, now = self.t, self.t.clock.now()
        attempts = item.record.delete_attempts + 1
        wait = DELETE_BACKOFF[min(attempts, len(DELETE_BACKOFF)) - 1]
        slot = item.record.but(delete_attempts=attempts, not_before=now + wait)
        await self.books.save(item, slot)
        await t.agents.release(Place(vm_id))
        t.gatherer.machines.observe_again(vm_id)
        error = ""
        try:
            await t.vers.delete_vm(vm_id)
        except Rejected as rejected:
            error = str(rejected)
            if isinstance(seen, Seen) and seen.state is VmState.SUSPENDED:
                await t.vers.resume_vm(vm_id)
        except Forbidden:
            error = ""  # also the answer for a VM that is gone; the list will tell (vers-api §2.0)
        except ReconcilerError as failed:
            error = str(failed)
        t.fleet.changed(vm_id)
        hold = t.gatherer.slots.hold.failing_deletes
        if error:
            hold.add(vm_id)
            said = self.books.event(item, Reason.DELETE_FAILED, f"VM {vm_id}: {error}", "Warning")
            await self.books.save(item, slot.but(delete_error=error), *said)
        else:
            hold.discard(vm_id)
            if slot.delete_error:
                await self.books.save(item, slot.but(delete_error=""))

    async def forget(self, item: SlotItem, vm_id: str) -> None:
        """Absence is proven: the slot is empty."""
        t = self.t
        old = item.record
        lost = vm_id if old.cause in ("", "Dead") else ""  # nobody sent it away: what is in it and nowhere else went with it
        slot = emptied(old, bool(lost))
        said = self.books.event(item, Reason.VM_GONE, f"VM {vm_id} no longer exists")
        await t.agents.release(Place(vm_id))
        await self.books.empty(item, slot, lost, *said)
        t.gatherer.slots.hold.failing_deletes.discard(vm_id)
        t.gatherer.machines.observe_again(vm_id)
        t.fleet.forget(vm_id)

    async def release(self, item: SlotItem) -> None:
        """Nothing outside is left of the slot: it goes, and with the last one its object."""
        t, key = self.t, item.owner.object
        known = t.table.get(key)
        if known is None:
            return
        left = item.released(known.record)
        if left is None:
            await t.backend.release(known.obj)
        said = self.books.event(item, Reason.DELETED, "it is not managed any more")
        if left is not None:
            await t.table.update([(key, with_record(left))], *said)
            return
        forgotten = [t.gatherer.memories.forget(memory_of(key, "Agent"))] if forgets(known) else []
        await t.table.drop(key, *said, *forgotten)
        t.recorder.forget(key)
