"""Acts for a node whose category changes between one with an agent and one without: the object that it has from here on is declared, what
is on the machine of the former one is brought over, and that one goes. Durable first; each can be done again after a crash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from reconciler.api.treereasons import TreeReason
from reconciler.core.backoff import delay
from reconciler.core.decisions import CarryFiles, ChangeNode, FollowMode, HandoverAction, NoteBeside, WithdrawOther
from reconciler.core.profile.directories import WORK_DIR
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.tree.handover import taken_back
from reconciler.core.tree.owned import OwnedObject, owned_object
from reconciler.core.tree.places import key_of
from reconciler.core.tree.snapshot import TreeSnapshot
from reconciler.core.treerecords import BesideRecord, PlaceRecord, TreeRecord
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.local import WORKSPACE_LIMIT
from reconciler.engine.act.preparation import BootActs
from reconciler.engine.act.treebooks import TreeBooks
from reconciler.engine.ports import Machine, Place, StoredObject
from reconciler.engine.state.objects import LieutenantItem
from reconciler.errors import GuestFailed, GuestUnreachable, StaleEpoch

Put = Callable[[StoredObject, str, OwnedObject], Awaitable[None]]
"""Declares the object of a place."""
Undeclare = Callable[[TreeSnapshot, str, bool, str, str], Awaitable[None]]
"""Asks for the deletion of one object of a place: whether it has an agent, why, and with which confirmation."""


class HandoverActs:
    def __init__(self, tools: ActContext, books: TreeBooks, put: Put, undeclare: Undeclare) -> None:
        self.t, self._books, self._put, self._undeclare = tools, books, put, undeclare
        self._boot = BootActs(tools)

    async def act(self, view: TreeSnapshot, action: HandoverAction) -> None:
        """Carry out one decision."""
        tree, remembered = self.t.table.get(view.key), view.record.place(action.place)
        if tree is None or remembered is None or not isinstance(tree.record, TreeRecord):
            return
        match action:
            case ChangeNode():
                await self.begin(view, tree.obj, remembered, action)
            case NoteBeside(_, state):
                await self._note(view, action.place, BesideRecord(state=state))
            case FollowMode(name):
                await self.follow(view, tree.obj, name, remembered)
            case CarryFiles():
                await self.carry(view, remembered, action)
            case WithdrawOther(name, why, confirmed):
                await self._undeclare(view, name, not remembered.agent, why, confirmed)
                await self._books.used(view.key, confirmed)
            case _:
                assert_never(action)

    async def _note(self, view: TreeSnapshot, place: str, beside: BesideRecord) -> None:
        await self._books.remember(view.key, {place: {"beside": beside}})

    async def begin(self, view: TreeSnapshot, tree: StoredObject, remembered: PlaceRecord, action: ChangeNode) -> None:
        """The books say first that there are two, so that neither is ever without an owner."""
        back, works = taken_back(view, remembered), view.found[action.place].ready or view.paused
        if not back and works and self.t.gatherer.slots.trees.rollout(key_of(view.key, action.place, remembered.agent)):
            return  # another node was first
        place = next(place for place in view.places if place.name == action.place)
        beside = BesideRecord(state="Going" if back else "Making")
        await self._books.put(view.key, place.record.but(digest=view.digests[place.name], beside=beside))
        await self._put(tree, place.name, owned_object(view.key, view.spec, place))
        self.t.recorder.note(view.key, tree.uid, TreeReason.HANDING_OVER, action.why)

    async def follow(self, view: TreeSnapshot, tree: StoredObject, name: str, remembered: PlaceRecord) -> None:
        key = key_of(view.key, name, not remembered.agent)
        item, place = self.t.table.lieutenant(key), next(place for place in view.places if place.name == name)
        if item is not None:
            spec = {**item.obj.spec, "mode": str(place.mode)}
            await self._put(tree, name, OwnedObject(key, spec, item.obj.labels, item.obj.annotations))

    # --- files ------------------------------------------------------------------------------------------------------------------------

    async def carry(self, view: TreeSnapshot, remembered: PlaceRecord, action: CarryFiles) -> None:
        """Nothing is sent to either of the two agents. Cut off before the write that says that all of it is there, it is done again."""
        old, new = (self.t.table.lieutenant(key_of(view.key, action.place, agent)) for agent in (not remembered.agent, remembered.agent))
        if old is None or new is None:
            return
        try:
            trouble = await self.bring(old, new)
        except (GuestUnreachable, GuestFailed, StaleEpoch) as error:
            trouble = self.t.redact(str(error))[:1000]
        if not trouble:
            await self._note(view, action.place, BesideRecord(state="Going"))
            return
        tries = remembered.beside.tries + 1
        later = self.t.clock.now() + delay(tries, self.t.jitter())
        await self._note(view, action.place, BesideRecord(state="Settling", tries=tries, not_before=later, trouble=trouble))

    async def bring(self, old: LieutenantItem, new: LieutenantItem) -> str:
        """The work directory of one machine to that of the other; why not, '' when it is there."""
        made = self.t.gatherer.profiles.rendered(new.key, new.spec)
        if not isinstance(made, Rendered):
            return f"its profile can't be rendered: {made.message}"
        before = self.t.gatherer.profiles.rendered(old.key, old.spec)
        directory = old.record.workspace.directory or (before.work_dir if isinstance(before, Rendered) else WORK_DIR)
        from_vm, to_vm = (Machine(Place(item.record.slot.vm_id), item.record.slot.epoch) for item in (old, new))
        size = await self._boot.carry_files(from_vm, directory, to_vm, new, made, WORKSPACE_LIMIT)
        if size > WORKSPACE_LIMIT:
            return f"its workspace has {size >> 20} MiB, at most {WORKSPACE_LIMIT >> 20} are carried over"
        self.t.gatherer.machines.observe_again(to_vm.id)
        return ""
