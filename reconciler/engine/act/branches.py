"""What a VM is made from as the intent of its creation keeps it, durable before the call, and what a live copy has from its original."""

from __future__ import annotations

from typing import assert_never

from reconciler.core.decisions import Create
from reconciler.core.keys import Json
from reconciler.core.lieutenant.session import forked, path_of
from reconciler.core.records import SlotRecord
from reconciler.core.slot.branching import still
from reconciler.core.slot.item import SlotItem
from reconciler.core.slot.pairing import VM
from reconciler.core.snapshot.branch import Standing
from reconciler.core.snapshot.machine import BranchSource, CommitSource, CreateSource, RefSource, RootSource, VmSource
from reconciler.engine.ports import AppendSession, Intent
from reconciler.engine.state.journal import commit_of
from reconciler.engine.state.objects import ObjectTable
from reconciler.engine.state.transcripts import Transcripts


def named_source(source: VmSource, action: Create, restore: str) -> CreateSource:
    """What the create names: the machine to copy live; the snapshot to restore, '' for none; of a reference the commit that it was
    decided for, whatever the tag points to by now."""
    if action.original is not None:
        return BranchSource(action.original.vm_id)
    if restore:
        return CommitSource(restore)
    if not isinstance(source, RefSource):
        return source
    assert action.ref == source.ref, "nothing is created from a reference before it is known what it points to"
    return CommitSource(action.commit)


def payload(source: CreateSource, epoch: int, original: Standing | None, seals: tuple[str, ...] = ()) -> Json:
    """What is needed to recognise the VM that a create made, and to go on with it: the commit restored, '' for a fresh one (labelled at
    birth), or the machine that is copied, with its conversation."""
    match source:
        case RootSource():
            return {"commit": "", "epoch": epoch}
        case CommitSource(commit_id):
            return {"commit": commit_id, "epoch": epoch, **({"seals": list(seals)} if seals else {})}
        case BranchSource(vm_id):
            copied: Json = {"commit": f"{VM}{vm_id}", "epoch": epoch}
            if original is not None:
                copied |= {"session": original.session, "size": original.size, "seals": list(original.seals), "source": original.named}
            return copied
        case _:
            assert_never(source)


async def conversation(transcripts: Transcripts, table: ObjectTable, item: SlotItem, intent: Intent) -> list[AppendSession]:
    """What a live copy goes on with: the original's conversation as it stood still, under a name of its own, before anything else."""
    name, size = conversation_of(intent)
    if not name or not size or not item.session or transcripts.length(item.session) or not may_be_read(table, item, intent):
        return []
    whole = await transcripts.read(name, size)
    return transcripts.beginning(item.session, forked(whole, item.owner.uid, path_of(name)))


def may_be_read(table: ObjectTable, item: SlotItem, intent: Intent) -> bool:
    """An intent that was read back from a status may have been forged: then the conversation must be the one of that machine's agent, in
    this namespace. (Our own say with which account they were sent.)"""
    if intent.payload.get("account"):
        return True
    owner = table.owner_of(commit_of(intent).removeprefix(VM))
    source = table.lieutenant(owner.object) if owner is not None else None
    if source is None or source.key.namespace != item.owner.object.namespace:
        return False
    return conversation_of(intent)[0] == source.record.session.name


def conversation_of(intent: Intent) -> tuple[str, int]:
    """The mirror that the copy goes on with, and how many bytes of it."""
    size = intent.payload.get("size")
    return str(intent.payload.get("session") or ""), size if isinstance(size, int) else 0


def is_branch(intent: Intent) -> bool:
    """A live copy was to be made."""
    return commit_of(intent).startswith(VM)


def copied(slot: SlotRecord, intent: Intent) -> SlotRecord:
    """The slot with the copy in it, which is not made a second time."""
    told = intent.payload.get("seals")
    seals = tuple(map(str, told)) if isinstance(told, list) else ()
    if not is_branch(intent):
        return slot.but(seals=seals)
    source = str(intent.payload.get("source") or "")
    branch = slot.branch.but(source=source, vm_id=commit_of(intent).removeprefix(VM), at=intent.sent_at)
    return slot.but(branch=branch, seals=seals)


def still_stands(table: ObjectTable, original: Standing, now: float) -> bool:
    """Asked once the intent is open, which keeps the original where it is: whether it has not moved on before."""
    owner = table.owner_of(original.vm_id)
    item = table.lieutenant(owner.object) if owner is not None else None
    if item is None:
        return False
    stand = item.record.stand
    return still(stand, original.vm_id, now) and (stand.session, stand.size) == (original.session, original.size)
