"""Acts of a hierarchy: declare its objects, take them back. The tree's record names them before they are there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

import orjson

from reconciler.api.annotations import PREFIX
from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions import (
    CarryFiles,
    ChangeNode,
    DeclareNodes,
    FollowMode,
    ForgetNodes,
    KeepNodes,
    NoteBeside,
    NoteBudget,
    NoteRevision,
    TreeAction,
    WithdrawNodes,
    WithdrawOther,
)
from reconciler.core.keys import Key
from reconciler.core.spending.pool import REASONS, State, words_of
from reconciler.core.tree.owned import OwnedObject, owned_object
from reconciler.core.tree.places import Place, key_of, tree_of_machine, uid_of
from reconciler.core.tree.rollout import revision_of
from reconciler.core.tree.snapshot import TreeSnapshot
from reconciler.core.treerecords import BesideRecord, PlaceRecord, TreeRecord
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.handover import HandoverActs
from reconciler.engine.act.treebooks import TreeBooks
from reconciler.engine.ports import StoredObject
from reconciler.engine.state.declarations import Declarations
from reconciler.engine.state.declared import OWNED, Declared
from reconciler.errors import ReconcilerError

REVISIONS = 3
"""Specs that worked which are remembered."""


def source_of(tree: Key) -> str:
    """Who declares what a tree does."""
    return f"{OWNED}{tree.name}"


def digest_of(owned: OwnedObject) -> str:
    """Of all that a tree declares for a place."""
    told = [owned.spec, dict(owned.labels), dict(owned.annotations)]
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


class TreeActs:
    def __init__(self, tools: ActContext, declarations: Declarations) -> None:
        self.t, self._declarations = tools, declarations
        self._books = TreeBooks(tools)
        self._handover = HandoverActs(tools, self._books, self.put, self.undeclare)

    async def act(self, view: TreeSnapshot, action: TreeAction) -> None:
        """Carry out one decision. Raises what the place of the declarations says."""
        match action:
            case ChangeNode() | NoteBeside() | FollowMode() | CarryFiles() | WithdrawOther():
                await self._handover.act(view, action)
            case DeclareNodes():
                await self.declare(view, action)
            case WithdrawNodes():
                await self.withdraw(view, action)
            case KeepNodes(places):
                await self._books.remember(view.key, {name: {"kept": True, "parent": self._above(view, name)} for name in places})
            case NoteBudget(state):
                await self.tell_of_the_budget(view, state)
            case NoteRevision():
                record = self._books.record(view.key)
                await self._books.save(view.key, record.but(revisions=(*record.revisions, revision_of(view.declared))[-REVISIONS:]))
            case ForgetNodes(places):
                record = self._books.record(view.key)
                await self._books.save(view.key, record.but(places=tuple(place for place in record.places if place.name not in places)))

    async def tell_of_the_budget(self, view: TreeSnapshot, state: State) -> None:
        item, pool = self.t.table.get(view.key), view.pool
        kind: Literal["Normal", "Warning"] = "Normal" if state == "Within" else "Warning"
        told = words_of(pool.budget, pool.spent) if pool is not None else "it has no budget any more"
        said = self.t.recorder.event(view.key, item.uid if item is not None else "", REASONS[state], told, kind)
        await self._books.save(view.key, self._books.record(view.key).but(budget=state), *said)

    def _above(self, view: TreeSnapshot, name: str) -> str:
        """The nearest node above that is still declared and has a place, '' for none."""
        parents = {place.node: place.parent for place in view.record.places}
        declared = {place.node.name for place in view.places}
        place = view.record.place(name)
        at = place.parent if place is not None else ""
        while at and at not in declared:
            at = parents.get(at, "")
        return at

    # --- objects ----------------------------------------------------------------------------------------------------------------------

    async def declare(self, view: TreeSnapshot, action: DeclareNodes) -> None:
        tree = self.t.table.get(view.key)
        if tree is None:
            return
        wanted = {place.name: place for place in view.places if place.name in action.places}
        owned = {name: owned_object(view.key, view.spec, place) for name, place in wanted.items()}
        await self._books.save(view.key, with_places(self._books.record(view.key), wanted, view.digests))
        for name, one in owned.items():
            await self.put(tree.obj, name, one)
            if name in action.reverted:
                item = self.t.table.get(one.key)
                told = f"somebody changed it; it is declared by vmtree/{view.key.name}, node {wanted[name].node.name}"
                said = self.t.recorder.event(one.key, item.uid if item is not None else "", TreeReason.REVERTED, told, "Warning")
                await self.t.table.update([], *said)

    async def put(self, tree: StoredObject, name: str, owned: OwnedObject) -> None:
        """Declare one object: where its tree is declared, or in the store."""
        declared = Declared(owned.key, owned.spec, owned.labels, owned.annotations, source_of(tree.key), source_id=tree.uid)
        if tree_of_machine(owned.key) is None and await self.t.backend.declare(declared, tree):
            return
        await self._declarations.apply(replace(declared, uid=uid_of(tree.uid, name)))

    async def withdraw(self, view: TreeSnapshot, action: WithdrawNodes) -> None:
        await self._books.remember(view.key, {name: {"going": True} for name in action.places})
        for name in action.places:
            place = view.record.place(name)
            verbs = {f"{PREFIX}detached": "removed from its tree"} if name in action.orphaned else {}
            if place is not None:
                await self.undeclare(view, name, place.agent, action.why, action.confirmed, verbs)
                if name in view.other:
                    await self.undeclare(view, name, not place.agent, action.why, action.confirmed, verbs)
        await self._books.used(view.key, action.confirmed)

    async def undeclare(
        self, view: TreeSnapshot, name: str, agent: bool, why: str, confirmed: str, more: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Ask for the deletion of one object of a place, where it is there."""
        item = self.t.table.get(key_of(view.key, name, agent))
        if item is None:
            return
        verbs = {**more, **({f"{PREFIX}delete-confirmed": confirmed} if confirmed else {})}
        if await self.t.backend.undeclare(item.obj, verbs, why):
            return
        try:
            await self._declarations.withdraw(item.key, why, verbs)
        except ReconcilerError as error:
            raise type(error)(f"node {name} can't be taken back: {error}", str(view.key)) from error


def with_places(record: TreeRecord, wanted: Mapping[str, Place], digests: Mapping[str, str]) -> TreeRecord:
    """The record with these places in it, as they are declared now."""
    before = record.by_name()
    beside = {name: before[name].beside if name in before else BesideRecord() for name in wanted}
    fresh = {name: place.record.but(digest=digests[name], beside=beside[name]) for name, place in wanted.items()}
    kept: list[PlaceRecord] = [fresh.pop(place.name, place) for place in record.places]
    return record.but(places=(*kept, *fresh.values()))
