"""Acts that bake a profile: its machine is declared like any other, and commits itself when it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from reconciler.api.reasons import Reason
from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions import BakeAction, CommitBake, DropBake, DropBaked, FindBaked, NoteBaked, NoteBakeFailed, StartBake
from reconciler.core.keys import Key, SlotOwner
from reconciler.core.profile import bake
from reconciler.core.slot.snapshots import IN_USE
from reconciler.core.treerecords import BakedRecord, BootProfileRecord
from reconciler.engine.act.context import ActContext
from reconciler.engine.state.declared import Declared
from reconciler.engine.state.objects import AnyItem, with_record
from reconciler.errors import Conflict, Forbidden, NotFound, Rejected


class BakeActs:
    def __init__(self, tools: ActContext) -> None:
        self.t = tools

    async def act(self, profile: Key, action: BakeAction, view: bake.BakeView | None = None) -> None:
        """Carry out one decision, which was made of this view. Raises what the store says."""
        item, oven = self.t.table.get(profile), bake.machine_of(profile)
        if item is None:
            await self.drop(profile)  # it is gone, and nothing is noted of it any more
            return
        assert isinstance(item.record, BootProfileRecord)
        record = item.record
        match action:
            case StartBake(hashed):
                source, uid = f"{bake.SOURCE}{item.key.name}", bake.oven_uid(item.uid, hashed)
                await self.t.declarations.apply(Declared(oven, bake.spec_of(item.key), {}, {}, source, source_id=item.uid, uid=uid))
            case CommitBake(hashed, seal):
                await self.save(item, record.but(baking=hashed, seal=seal))
                await self.t.declarations.withdraw(oven, "it is baked")
            case DropBake(why, hashed):
                if why:
                    await self.save(item, record.but(failed=why, failed_hash=hashed), TreeReason.BAKE_FAILED, why)
                await self.drop(profile)
            case NoteBaked(commit):
                fresh = BakedRecord(hash=record.baking, commit=commit, seal=record.seal, at=self.t.clock.now())
                told = record.but(baked=(*record.baked, fresh), baking="", seal="", failed="", failed_hash="")
                await self.save(item, told, TreeReason.BAKED, f"machines begin with commit {commit}")
            case FindBaked(commits, strays):
                found = [one for one in (view.lost if view is not None else ()) if one.commit in commits]
                await self.find(item, record.but(baked=(*found, *record.baked)), commits, strays)
            case NoteBakeFailed():
                why = "its machine went and left no commit"
                told = record.but(baking="", seal="", failed=why, failed_hash=record.baking)
                await self.save(item, told, TreeReason.BAKE_FAILED, why)
            case DropBaked(commit, False):
                await self.remove(item, record, commit)
            case DropBaked(commit):
                await self.left(item, record, commit, Reason.DELETE_FAILED, "it has another name than it was given")
            case _:
                assert_never(action)

    async def find(self, item: AnyItem, record: BootProfileRecord, commits: Sequence[str], strays: Sequence[str]) -> None:
        """Commits that an earlier store knew are on the books again, those of which nothing tells what they hold too."""
        slot = SlotOwner.of(bake.machine_of(item.key), item.uid)
        rows = [self.t.gatherer.slots.origins.entry(commit, slot) for commit in (*commits, *strays)]
        told = [f"found again: commit {', '.join(commits)}"] if commits else []
        if strays:
            told.append(
                f"what was baked to commit {', '.join(strays)} is not known, and nothing is made of it; see `reconciler get commits`"
            )
        said = self.t.recorder.event(item.key, item.uid, TreeReason.BAKED, "; ".join(told))
        await self.t.table.update([(item.key, with_record(record))], *rows, *said)

    async def drop(self, profile: Key) -> None:
        """Its machine goes without a commit."""
        oven = bake.machine_of(profile)
        dropped = {**bake.spec_of(profile), "deletionPolicy": "Delete"}
        known = self.t.table.get(oven)
        if known is not None:
            await self.t.declarations.apply(Declared(oven, dropped, {}, {}, known.obj.source, source_id=known.obj.source_id))
        await self.t.declarations.withdraw(oven, "it is not baked")

    async def remove(self, item: AnyItem, record: BootProfileRecord, commit: str) -> None:
        """The same again does no harm: a commit that is gone is as good as removed."""
        try:
            await self.t.vers.delete_commit(commit)
        except NotFound:
            pass
        except (Conflict, Forbidden, Rejected) as error:
            reason = Reason.COMMIT_IN_USE if isinstance(error, Conflict) else Reason.DELETE_FAILED
            await self.left(item, record, commit, reason, str(error))
            return
        left = record.but(baked=tuple(one for one in record.baked if one.commit != commit))
        said = self.t.recorder.event(item.key, item.uid, Reason.DROPPED_COMMIT, f"commit {commit}")
        await self.t.table.update([(item.key, with_record(left))], self.t.gatherer.slots.origins.strike(commit), *said)

    async def left(self, item: AnyItem, record: BootProfileRecord, commit: str, reason: Reason, why: str) -> None:
        """It stays for now. Said once."""
        known = next((one.error for one in record.baked if one.commit == commit), "")
        later = self.t.clock.now() + IN_USE
        baked = tuple(one.but(not_before=later, error=why) if one.commit == commit else one for one in record.baked)
        said = [] if known else self.t.recorder.event(item.key, item.uid, reason, f"commit {commit}: {why}", "Warning")
        await self.t.table.update([(item.key, with_record(record.but(baked=baked)))], *said)

    async def save(self, item: AnyItem, record: BootProfileRecord, reason: TreeReason | None = None, said: str = "") -> None:
        failed = reason is TreeReason.BAKE_FAILED
        event = self.t.recorder.event(item.key, item.uid, reason, said, "Warning" if failed else "Normal") if reason is not None else []
        await self.t.table.update([(item.key, with_record(record))], *event)
