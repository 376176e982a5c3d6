"""The snapshot before a deletion: intent, one call, result; an answer that never came is looked for in the list of commits."""

from __future__ import annotations

import json
from typing import assert_never

from reconciler.api.reasons import Reason
from reconciler.core.backoff import delay
from reconciler.core.decisions import SnapshotLost, SnapshotTaken, SnapshotVerified, TakeSnapshot
from reconciler.core.records import SnapshotRecord
from reconciler.core.slot import tenancy
from reconciler.core.slot.item import SlotItem
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.slotbooks import SlotBooks
from reconciler.engine.ports import Intent, PutMeta, Write
from reconciler.engine.state.journal import COMMIT, closing
from reconciler.errors import REFUSED, NotSent, ReconcilerError, Unauthorized

SnapshotAction = TakeSnapshot | SnapshotTaken | SnapshotVerified | SnapshotLost


class CommitActs:
    def __init__(self, tools: ActContext, books: SlotBooks) -> None:
        self.t, self.books = tools, books

    async def act(self, item: SlotItem, action: SnapshotAction) -> None:
        """Carry out one decision about the snapshot. Raises what the platform or the store says."""
        match action:
            case TakeSnapshot():
                await self.take(item, action.vm_id)
            case SnapshotTaken():
                intent = self.t.journal.of(item.owner, COMMIT)
                if intent is not None:
                    await self.taken(item, intent, action.vm_id, action.commit_id)
            case SnapshotVerified():
                await self.verified(item, action)
            case SnapshotLost():
                await self.failed(item, self.t.journal.of(item.owner, COMMIT), action.vm_id, action.why)
            case _:
                assert_never(action)

    async def take(self, item: SlotItem, vm_id: str) -> None:
        """Each call makes another commit, so each has a name of its own by which it can be found."""
        t, attempt = self.t, item.record.snapshot.attempts + 1
        token = t.token()
        key, node = item.owner.object, item.owner.node
        name = tenancy.commit_name(t.gatherer.owner, key.namespace, [key.name, *([node] if node else []), token])
        intent = Intent(token, item.owner, COMMIT, attempt, {"vm": vm_id, "name": name}, t.clock.now())
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
        )
        whose = t.gatherer.slots.origins.entry(commit_id, item.owner)
        await self.books.save(item, slot.but(snapshot=snapshot), closing(intent, f"commit {commit_id}"), whose)
        t.journal.closed(intent)

    async def verified(self, item: SlotItem, action: SnapshotVerified) -> None:
        """The platform lists it: from here on the VM may go. What is left of it is written where people find it."""
        slot = self.books.now(item)
        snapshot = slot.snapshot.but(verified=True)
        key, node = item.owner.object, item.owner.node
        left = {"kind": key.kind, "namespace": key.namespace, "name": key.name, "uid": item.owner.uid}
        left |= {"node": node} if node else {}
        left |= {"vmId": action.vm_id, "commitId": action.commit_id, "commitName": snapshot.name}
        said = self.books.event(item, Reason.TOOK_SNAPSHOT, f"commit {action.commit_id} of VM {action.vm_id}, named {snapshot.name}")
        tombstone = PutMeta("/".join(["tombstone", item.owner.uid, *([node] if node else [])]), json.dumps(left, sort_keys=True))
        await self.books.save(item, slot.but(snapshot=snapshot), tombstone, *said)

    async def failed(self, item: SlotItem, intent: Intent | None, vm_id: str, why: str) -> None:
        """It was not taken; it is tried again after a delay, and not for ever."""
        t = self.t
        slot = self.books.now(item)
        attempts = slot.snapshot.attempts + 1
        until = t.clock.now() + delay(attempts, t.jitter())
        snapshot = SnapshotRecord(vm_id=vm_id, attempts=attempts, not_before=until, error=why)
        said = self.books.event(item, Reason.SNAPSHOT_FAILED, f"VM {vm_id}: {why}", "Warning")
        close: list[Write] = [closing(intent, "not taken")] if intent is not None else []
        await self.books.save(item, slot.but(snapshot=snapshot), *close, *said)
        if intent is not None:
            t.journal.closed(intent)
