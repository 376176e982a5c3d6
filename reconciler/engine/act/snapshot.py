"""The snapshot before a deletion: intent, one call, result; an answer that never came is looked for in the list of commits."""

from __future__ import annotations

import json
from typing import assert_never

from reconciler.api.reasons import Reason
from reconciler.core.backoff import delay
from reconciler.core.decisions import SnapshotLost, SnapshotTaken, SnapshotVerified, TakeSnapshot
from reconciler.core.records import SnapshotRecord
from reconciler.engine.act.context import ActContext
from reconciler.engine.ports import Intent, PutMeta, Write
from reconciler.engine.state.journal import COMMIT, closing
from reconciler.engine.state.objects import LieutenantItem
from reconciler.errors import Indeterminate, ReconcilerError, Unauthorized, Unreachable

SnapshotAction = TakeSnapshot | SnapshotTaken | SnapshotVerified | SnapshotLost


class CommitActs:
    def __init__(self, tools: ActContext) -> None:
        self.t = tools

    async def act(self, item: LieutenantItem, action: SnapshotAction) -> None:
        """Carry out one decision about the snapshot. Raises what the platform or the store says."""
        match action:
            case TakeSnapshot():
                await self.take(item, action.vm_id)
            case SnapshotTaken():
                intent = self.t.journal.of(item.uid, COMMIT)
                if intent is not None:
                    await self.taken(item, intent, action.vm_id, action.commit_id)
            case SnapshotVerified():
                await self.verified(item, action)
            case SnapshotLost():
                await self.failed(item, self.t.journal.of(item.uid, COMMIT), action.vm_id, action.why)
            case _:
                assert_never(action)

    async def take(self, item: LieutenantItem, vm_id: str) -> None:
        """Each call makes another commit, so each has a name of its own by which it can be found."""
        t, attempt = self.t, item.record.slot.snapshot.attempts + 1
        token = t.token()
        name = f"{t.settings.fleet}.{item.key.namespace}.{item.key.name}.{token}"
        intent = Intent(token, item.key, item.uid, COMMIT, attempt, {"vm": vm_id, "name": name}, t.clock.now())
        try:
            await t.table.update([], *t.journal.writes_to_open(intent))
        except ReconcilerError:
            t.journal.not_sent(intent)
            raise
        t.journal.opened(intent)
        t.fleet.changed(vm_id)
        try:
            commit_id = await t.vers.commit(vm_id, name)
        except Indeterminate as error:
            t.recorder.note(item.key, item.uid, Reason.SNAPSHOT_PENDING, str(error), "Warning")
            return
        except (Unreachable, Unauthorized) as error:  # not sent, or nobody may call: says nothing about this VM
            await t.table.update([], closing(intent, f"failed: {type(error).__name__}"))
            t.journal.closed(intent)
            raise
        except ReconcilerError as error:
            await self.failed(item, intent, vm_id, str(error))
            return
        t.fleet.changed(vm_id)
        await self.taken(item, intent, vm_id, commit_id)

    async def taken(self, item: LieutenantItem, intent: Intent, vm_id: str, commit_id: str) -> None:
        """The commit's id is known; whether it is there is looked up."""
        t = self.t
        slot = t.current(item).slot
        snapshot = SnapshotRecord(
            vm_id=vm_id,
            commit_id=commit_id,
            name=str(intent.payload.get("name", "")),
            taken_at=t.clock.now(),
            attempts=slot.snapshot.attempts,
        )
        await t.save(item, t.current(item).but(slot=slot.but(snapshot=snapshot)), closing(intent, f"commit {commit_id}"))
        t.journal.closed(intent)

    async def verified(self, item: LieutenantItem, action: SnapshotVerified) -> None:
        """The platform lists it: from here on the VM may go. What is left of it is written where people find it."""
        t = self.t
        slot = t.current(item).slot
        snapshot = slot.snapshot.but(verified=True)
        left = {"kind": item.key.kind, "namespace": item.key.namespace, "name": item.key.name, "uid": item.uid}
        left |= {"vmId": action.vm_id, "commitId": action.commit_id, "commitName": snapshot.name}
        said = t.recorder.event(
            item.key, item.uid, "TookSnapshot", f"commit {action.commit_id} of VM {action.vm_id}, named {snapshot.name}"
        )
        tombstone = PutMeta(f"tombstone/{item.uid}", json.dumps(left, sort_keys=True))
        await t.save(item, t.current(item).but(slot=slot.but(snapshot=snapshot)), tombstone, *said)

    async def failed(self, item: LieutenantItem, intent: Intent | None, vm_id: str, why: str) -> None:
        """It was not taken; it is tried again after a delay, and not for ever."""
        t = self.t
        slot = t.current(item).slot
        attempts = slot.snapshot.attempts + 1
        until = t.clock.now() + delay(attempts, t.jitter())
        snapshot = SnapshotRecord(vm_id=vm_id, attempts=attempts, not_before=until, error=why)
        said = t.recorder.event(item.key, item.uid, Reason.SNAPSHOT_FAILED, f"VM {vm_id}: {why}", "Warning")
        close: list[Write] = [closing(intent, "not taken")] if intent is not None else []
        await t.save(item, t.current(item).but(slot=slot.but(snapshot=snapshot)), *close, *said)
        if intent is not None:
            t.journal.closed(intent)
