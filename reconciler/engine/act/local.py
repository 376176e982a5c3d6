"""Acts on an agent of this host: its directory, and its way to a VM (G-31). Durable first, then what follows."""

from __future__ import annotations

import hashlib
from typing import assert_never

from reconciler.api.reasons import Reason
from reconciler.core.decisions import CloseLocal, FenceLocal, LeaveLocal, LocalAction, MoveToVm, OpenLocal
from reconciler.core.lieutenant import session
from reconciler.core.lieutenant.policies import at_vm
from reconciler.core.records import BootRecord, LocalRecord
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.machine import GuestFile
from reconciler.core.snapshot.rendered import Rendered
from reconciler.engine.act.context import ActContext
from reconciler.engine.places import tree_at
from reconciler.engine.ports import Machine, Place
from reconciler.engine.redaction import unseal
from reconciler.engine.state.objects import LieutenantItem, session_of
from reconciler.errors import GuestFailed

WORKSPACE_LIMIT = 256 << 20
"""Bytes of a workspace that are copied to a VM at most."""


class LocalActs:
    def __init__(self, tools: ActContext) -> None:
        self.t = tools

    async def act(self, item: LieutenantItem, view: LieutenantView, action: LocalAction) -> None:
        """Carry out one decision about the agent's place on this host."""
        place = Place(local=item.uid)
        try:
            match action:
                case OpenLocal():
                    await self.open(item, place, view, action)
                case FenceLocal():
                    epoch = item.record.slot.epoch + 1
                    slot, local = item.record.slot.but(epoch=epoch), item.record.local.but(fenced=epoch)
                    await self.t.save(item, item.record.but(slot=slot, local=local))
                case MoveToVm():
                    await self.move(item, place, view)
                case CloseLocal():
                    await self.close(item, place, action)
                case LeaveLocal():
                    said = self.t.recorder.event(item.key, item.uid, Reason.LEFT_LOCAL, tree_at(self.t.settings, place), "Warning")
                    await self.t.save(item, item.record.but(local=LocalRecord()), *said)
                case _:
                    assert_never(action)
        finally:
            self.t.gatherer.machines.observe_again(place.id)
            self.t.gatherer.machines.observe_again(item.record.slot.vm_id)

    async def open(self, item: LieutenantItem, place: Place, view: LieutenantView, action: OpenLocal) -> None:
        """From here on it lives in its directory; a higher epoch shuts out whoever thought otherwise."""
        t = self.t
        record = item.record.but(
            slot=item.record.slot.but(epoch=item.record.slot.epoch + 1),
            local=LocalRecord(state="Home", host=t.settings.host, fallback=action.fallback),
            session=session.housed(item.record.session, item.uid, item.spec.session.generation),
            boot=BootRecord(vm_id=place.id),
        )
        directory = tree_at(t.settings, place)
        if action.fallback:
            why = f": {view.local.outage}" if view.local.outage else ""
            said = t.recorder.event(item.key, item.uid, Reason.FELL_BACK, f"VMs cannot be had{why}; working in {directory}", "Warning")
        else:
            said = t.recorder.event(item.key, item.uid, Reason.OPENED_LOCAL, directory)
        await t.save(item, record, *said)

    async def close(self, item: LieutenantItem, place: Place, action: CloseLocal) -> None:
        t = self.t
        await t.agents.dissolve(Machine(place, item.record.slot.epoch), action.keep)
        await t.agents.release(place)
        reason, message = (Reason.KEPT_LOCAL, tree_at(t.settings, place)) if action.keep else (Reason.CLOSED_LOCAL, "")
        said = t.recorder.event(item.key, item.uid, reason, message)
        await t.save(item, t.current(item).but(local=LocalRecord()), *said)

    async def move(self, item: LieutenantItem, place: Place, view: LieutenantView) -> None:
        """pi runs nowhere. Conversation and workspace are brought to the VM and verified there; then one durable write says that
        it lives there. Cut off before that write, all of it is done again; after it, nothing is ever started here."""
        t, epoch = self.t, item.record.slot.epoch
        vm = Machine(Place(item.record.slot.vm_id), epoch)
        here, there = view.rendered, at_vm(view).rendered
        assert isinstance(here, Rendered)
        assert isinstance(there, Rendered)
        archive = await t.agents.pack(Machine(place, epoch), here.work_dir, WORKSPACE_LIMIT)
        if archive.content is None:
            why = f"its workspace has {archive.size >> 20} MiB, at most {WORKSPACE_LIMIT >> 20} are copied"
            said = t.recorder.event(item.key, item.uid, Reason.WORKSPACE_TOO_LARGE, why, "Warning")
            await t.save(item, item.record.but(local=item.record.local.but(blocked=why)), *said)
            return
        content = archive.content
        if content:
            await t.agents.unpack(vm, there.work_dir, content)
        size = await self.bring_session(item, vm, there.work_dir)
        moved = f"VM {vm.id}: {size} bytes of conversation, {archive.size} of files"
        said = t.recorder.event(item.key, item.uid, Reason.MOVED_TO_VM, moved)
        await t.save(item, item.record.but(local=item.record.local.but(state="Left", blocked="", fenced=0)), *said)

    async def bring_session(self, item: LieutenantItem, vm: Machine, work_dir: str) -> int:
        """The mirror, which is whole, byte for byte; read back. Raises `GuestFailed` when it is not what was sent."""
        t, current = self.t, session_of(item)
        data = unseal(await t.gatherer.transcripts.read(current.name), t.secrets)
        if not data:
            return 0
        file = GuestFile(current.file, data, 0o600)
        await t.agents.write_files(vm, [file], work_dir)
        written = await t.agents.read_file(vm, current.file, len(data) + 1)
        if hashlib.sha256(written).digest() != hashlib.sha256(data).digest():
            raise GuestFailed("the conversation that arrived is not the one that was sent", vm.id, "it is sent again")
        return len(data)
