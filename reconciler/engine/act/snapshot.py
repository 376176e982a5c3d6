"""Snapshots of a slot's machine: intent, one call, result; an answer that never came is looked for in the list of commits. And the removal
of those that are more than is to be kept."""

from __future__ import annotations

import json
from typing import assert_never

from reconciler.api.reasons import Reason
from reconciler.core.backoff import delay
from reconciler.core.decisions import (
    DropCommit,
    ForgetSnapshot,
    NoteCommits,
    SnapshotAction,
    SnapshotLost,
    SnapshotTaken,
    SnapshotVerified,
    TakeSnapshot,
)
from reconciler.core.keys import Json, Key
from reconciler.core.profile.bake import is_oven, profile_of
from reconciler.core.profile.bakednames import word
from reconciler.core.records import SnapshotRecord
from reconciler.core.slot import snapshots, tenancy
from reconciler.core.slot.item import SlotItem
from reconciler.core.treerecords import BootProfileRecord
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.slotbooks import SlotBooks
from reconciler.engine.ports import Intent, PutMeta, Write
from reconciler.engine.state.journal import COMMIT, closing
from reconciler.errors import REFUSED, Conflict, Forbidden, NotFound, NotSent, ReconcilerError, Rejected, Unauthorized


class CommitActs:
    def __init__(self, tools: ActContext, books: SlotBooks) -> None:
        self.t, self.books = tools, books

    async def act(self, item: SlotItem, action: SnapshotAction) -> None:
        """Carry out one decision about the snapshot. Raises what the platform or the store says."""
        match action:
            case TakeSnapshot():
                await self.take(item, action)
            case SnapshotTaken():
                intent = self.t.journal.of(item.owner, COMMIT)
                if intent is not None:
                    await self.taken(item, intent, action.vm_id, action.commit_id)
                else:
                    await self.renumbered(item, action.commit_id)
            case SnapshotVerified():
                await self.verified(item, action)
            case SnapshotLost():
                await self.failed(item, self.t.journal.of(item.owner, COMMIT), action.vm_id, action.why)
            case ForgetSnapshot():
                await self.books.save(item, self.books.now(item).but(snapshot=SnapshotRecord()))
            case NoteCommits():
                await self.note(item, action)
            case DropCommit():
                await self.drop(item, action.commit_id)
            case _:
                assert_never(action)

    async def take(self, item: SlotItem, action: TakeSnapshot) -> None:
        """Each call makes another commit, so each has a name of its own by which it can be found."""
        t, vm_id, attempt = self.t, action.vm_id, item.record.snapshot.attempts + 1
        if action.cause == "Scheduled" and t.table.halted:
            return  # the fleet was halted since this was planned
        token = t.token()
        key, node = item.owner.object, item.owner.node
        parts = [key.name, *([node] if node else []), *self.baked(key), token]
        name = tenancy.commit_name(t.gatherer.owner, key.namespace, parts)
        payload: Json = {"vm": vm_id, "name": name, "cause": action.cause, "conversation": item.conversation}
        intent = Intent(token, item.owner, COMMIT, attempt, payload, t.clock.now())
        try:
            await t.table.update([], *t.journal.writes_to_open(intent))
        except ReconcilerError:
            t.journal.not_sent(intent)
            raise
        t.journal.opened(intent)
        t.fleet.changed(vm_id)
        try:
            commit_id = await t.vers.commit(vm_id, name)
        except (NotSent, Unauthorized) as error:  # it says nothing about this VM
            await t.table.update([], closing(intent, f"failed: {type(error).__name__}"))
            t.journal.closed(intent)
            raise
        except REFUSED as error:
            await self.failed(item, intent, vm_id, str(error))
            return
        except ReconcilerError as error:
            t.journal.in_doubt(intent, t.clock.now())
            self.books.note(item, Reason.SNAPSHOT_PENDING, str(error), "Warning")
            return
        t.fleet.changed(vm_id)
        await self.taken(item, intent, vm_id, commit_id)

    def baked(self, key: Key) -> list[str]:
        """What the name of a commit says of the profile that is baked by it; nothing of any other."""
        profile = profile_of(key)
        item = self.t.table.get(profile) if profile is not None and is_oven(key) else None
        record = item.record if item is not None else None
        return word(record.baking, record.seal) if isinstance(record, BootProfileRecord) else []

    async def taken(self, item: SlotItem, intent: Intent, vm_id: str, commit_id: str) -> None:
        """The commit's id is known; whether it is there is looked up."""
        t = self.t
        slot = self.books.now(item)
        snapshot = SnapshotRecord(
            vm_id=vm_id,
            commit_id=commit_id,
            name=str(intent.payload.get("name", "")),
            taken_at=t.clock.now(),
            attempts=slot.snapshot.attempts,
            cause=str(intent.payload.get("cause", "Deleted")),
            conversation=str(intent.payload.get("conversation", "")),
        )
        whose = t.gatherer.slots.origins.entry(commit_id, item.owner)
        await self.books.save(item, slot.but(snapshot=snapshot), closing(intent, f"commit {commit_id}"), whose)
        t.journal.closed(intent)

    async def renumbered(self, item: SlotItem, commit_id: str) -> None:
        """The list has it under another id than the one that was answered."""
        slot, origins = self.books.now(item), self.t.gatherer.slots.origins
        told = slot.snapshot.commit_id
        whose = (origins.strike(told), origins.entry(commit_id, item.owner))
        await self.books.save(item, slot.but(snapshot=slot.snapshot.but(commit_id=commit_id)), *whose)

    async def verified(self, item: SlotItem, action: SnapshotVerified) -> None:
        """The platform lists it, so it counts. Of one that a deletion waited for a trace is left where people find it."""
        slot = self.books.now(item)
        key, node, taken = item.owner.object, item.owner.node, slot.snapshot
        left: list[Write] = []
        if taken.cause == "Deleted":
            trace = {"kind": key.kind, "namespace": key.namespace, "name": key.name, "uid": item.owner.uid}
            trace |= {"node": node} if node else {}
            trace |= {"vmId": action.vm_id, "commitId": action.commit_id, "commitName": taken.name}
            left = [PutMeta("/".join(["tombstone", item.owner.uid, *([node] if node else [])]), json.dumps(trace, sort_keys=True))]
        said = self.books.event(item, "TookSnapshot", f"commit {action.commit_id} of VM {action.vm_id}, named {taken.name}")
        await self.books.save(item, snapshots.verified(slot), *left, *said)

    async def failed(self, item: SlotItem, intent: Intent | None, vm_id: str, why: str) -> None:
        """It was not taken; it is tried again after a delay."""
        t = self.t
        slot = self.books.now(item)
        cause = str(intent.payload.get("cause", "Deleted")) if intent is not None else slot.snapshot.cause
        attempts = slot.snapshot.attempts + 1 if cause == slot.snapshot.cause else 1
        until = t.clock.now() + delay(attempts, t.jitter())
        snapshot = SnapshotRecord(vm_id=vm_id, attempts=attempts, not_before=until, error=why, failed_at=t.clock.now(), cause=cause)
        said = self.books.event(item, Reason.SNAPSHOT_FAILED, f"VM {vm_id}: {why}", "Warning")
        close: list[Write] = [closing(intent, "not taken")] if intent is not None else []
        await self.books.save(item, slot.but(snapshot=snapshot), *close, *said)
        if intent is not None:
            t.journal.closed(intent)

    # --- those that are kept ------------------------------------------------------------------------------------------------------

    async def note(self, item: SlotItem, action: NoteCommits) -> None:
        """What the list lacks, has again, lacks for good."""
        slot = self.books.now(item)
        said = [
            event
            for commit_id in action.gone
            for event in self.books.event(item, Reason.COMMIT_VANISHED, f"commit {commit_id} is not listed any more", "Warning")
        ]
        struck = [self.t.gatherer.slots.origins.strike(commit_id) for commit_id in action.gone]
        await self.books.save(item, slot.but(commits=snapshots.counted(slot, action, self.t.clock.now())), *struck, *said)

    async def drop(self, item: SlotItem, commit_id: str) -> None:
        """The same again does no harm: a commit that is gone is as good as removed."""
        now, slot = self.t.clock.now(), self.books.now(item)
        try:
            await self.t.vers.delete_commit(commit_id)
        except NotFound:
            pass
        except (Conflict, Forbidden, Rejected) as error:
            kept = snapshots.with_commit(slot, commit_id, not_before=now + snapshots.IN_USE, error=str(error))
            reason = Reason.COMMIT_IN_USE if isinstance(error, Conflict) else Reason.DELETE_FAILED
            known = next((c.error for c in slot.commits if c.commit_id == commit_id), "")
            said = [] if known else self.books.event(item, reason, f"commit {commit_id}: {error}", "Warning")
            await self.books.save(item, kept, *said)
            return
        self.books.note(item, Reason.DROPPED_COMMIT, f"commit {commit_id}")
        left = tuple(c for c in slot.commits if c.commit_id != commit_id)
        await self.books.save(item, slot.but(commits=left), self.t.gatherer.slots.origins.strike(commit_id))
