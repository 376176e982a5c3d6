"""Whose a commit or a VM is: by our books, by the marks on it, and by what it was made from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from reconciler.core.keys import Json, SlotOwner, as_map
from reconciler.core.slot import tenancy
from reconciler.core.slot.claims import Owner
from reconciler.core.slot.tenancy import BOOK
from reconciler.core.snapshot.machine import CommitSource, RefSource, VmSource
from reconciler.core.snapshot.origin import UNMARKED, Made, Missing, Named, Origin, Unmarked
from reconciler.core.snapshot.vm import Commit, Unknown, Vm
from reconciler.engine.observe.fleet import Fleet, unread
from reconciler.engine.ports import Clock, PutMeta
from reconciler.engine.state.objects import ObjectTable
from reconciler.errors import Forbidden, NotFound, ReconcilerError, Rejected

TOMBSTONE = "tombstone/"
"""Meta rows of earlier releases that tell of commits too: of snapshots before a deletion."""


class Origins:
    """`unlisted_seconds`: how long a commit that no list had is not looked for again, and a reference that was looked up neither."""

    def __init__(self, fleet: Fleet, table: ObjectTable, clock: Clock, owner: Owner, unlisted_seconds: float) -> None:
        self._fleet, self._table, self._clock, self._owner = fleet, table, clock, owner
        self._unlisted_seconds = unlisted_seconds
        self._books: dict[str, Made] = {}
        self._listed: dict[str, Commit] = {}
        self._unlisted: dict[str, float] = {}
        self._refs: dict[str, tuple[str | Missing, float]] = {}
        self._list = asyncio.Lock()

    def read(self, meta: Mapping[str, str]) -> None:
        """Take what the store has."""
        for name, value in meta.items():
            if not name.startswith((BOOK, TOMBSTONE)) or not value:
                continue
            try:
                told = as_map(json.loads(value))
            except ValueError:
                continue  # the name of the commit tells, too
            commit_id = name.removeprefix(BOOK) if name.startswith(BOOK) else str(told.get("commitId") or "")
            namespace = str(told.get("namespace") or "")
            if commit_id and namespace and (name.startswith(BOOK) or commit_id not in self._books):
                self._books[commit_id] = Made(namespace, tenancy.told(str(told.get("shared") or "")))

    def knows(self, commit_id: str) -> bool:
        """The store has a row of this commit."""
        return commit_id in self._books

    def entry(self, commit_id: str, slot: SlotOwner) -> PutMeta:
        """The row that says for whom a commit was taken."""
        key = slot.object
        made = Made(key.namespace, self.shared(slot))
        told: Json = {"kind": key.kind, "namespace": key.namespace, "name": key.name, "uid": slot.uid}
        told |= {"shared": ",".join(sorted(made.shared)), "takenAt": self._clock.now()}
        self._books[commit_id] = made
        return PutMeta(f"{BOOK}{commit_id}", json.dumps(told, sort_keys=True))

    def strike(self, commit_id: str) -> PutMeta:
        """The row of a commit that is not there any more."""
        self._books.pop(commit_id, None)
        return PutMeta(f"{BOOK}{commit_id}", "")

    def shared(self, slot: SlotOwner) -> frozenset[str]:
        """The namespaces that may use what this object leaves behind."""
        item = self._table.get(slot.object)
        return tenancy.told(item.obj.annotations.get(tenancy.SHARE, "")) if item is not None else frozenset()

    async def source(self, source: VmSource) -> Named | None:
        """What a new machine is restored from; None for one of the platform's images, which are everybody's. A reference is looked up:
        it stands for the commit that it points to now."""
        match source:
            case CommitSource(commit_id):
                return Named("commit", commit_id, await self.commit(commit_id))
            case RefSource(ref):
                found = await self._resolve(ref)
                if not isinstance(found, str):
                    return Named("reference", ref, found)
                return Named("commit", found, await self.commit(found), ref)
            case _:
                return None

    async def _resolve(self, ref: str) -> str | Missing | Unknown:
        """The commit that a reference points to, or why there is none. What was found lately counts: many slots ask at once."""
        async with self._list:
            known, at = self._refs.get(ref, (None, 0.0))
            if known is not None and self._clock.now() < at + self._unlisted_seconds:
                return known
            found: str | Missing
            try:
                found = await self._fleet.vers.resolve_ref(ref)
            except (NotFound, Forbidden, Rejected) as error:
                found = Missing(str(error))
            except ReconcilerError as error:
                return unread(error)
            self._refs[ref] = found, self._clock.now()
            return found

    async def commit(self, commit_id: str) -> Origin:
        """Our books, its name, then the VM that it was taken of."""
        known = self._books.get(commit_id)
        if known is not None:
            return known
        try:
            found = await self._find(commit_id)
        except ReconcilerError as error:
            return unread(error)
        if found is None:
            return UNMARKED
        named = tenancy.origin_by_name(found, self._owner)
        return named if isinstance(named, Made) else self.parent(found.parent_vm_id)

    async def vm(self, vm: Vm) -> Origin:
        """Its labels, then the commit that it was restored from."""
        told = tenancy.origin_by_labels(vm.labels, self._owner)
        if isinstance(told, Made):
            return told
        await self._fleet.read_lineage([vm.vm_id])
        lineage = self._fleet.lineage.get(vm.vm_id)
        if lineage is None:
            return Unknown("the platform does not tell what it was made from")
        if lineage.parent_commit_id:
            made = await self.commit(lineage.parent_commit_id)
            if not isinstance(made, Unmarked):
                return made
        return self.parent(lineage.grandparent_vm_id or "")

    async def complete_lineage(self, vm_ids: Iterable[str]) -> None:
        """Where the platform does not say which VM one descends from, its list of commits may: of which VM the commit was taken. What
        can't be read stays unknown."""
        for vm_id in vm_ids:
            known = self._fleet.lineage.get(vm_id)
            if known is None or known.grandparent_vm_id or not known.parent_commit_id:
                continue
            try:
                commit = await self._find(known.parent_commit_id)
            except ReconcilerError:
                self._fleet.read_again([vm_id])
                continue
            if commit is not None and commit.parent_vm_id:
                self._fleet.lineage[vm_id] = replace(known, grandparent_vm_id=commit.parent_vm_id)

    def parent(self, vm_id: str) -> Origin:
        """Whose a VM is that something was made from: by our books, else by its labels."""
        owner = self._table.owner_of(vm_id)
        if owner is not None:
            return Made(owner.object.namespace)
        vm = self._fleet.current(vm_id)
        return tenancy.origin_by_labels(vm.labels, self._owner) if vm is not None else UNMARKED

    async def _find(self, commit_id: str) -> Commit | None:
        """From a list that was begun after it was asked for first; one call serves all who ask meanwhile."""
        async with self._list:
            missed = self._unlisted.get(commit_id)
            if commit_id in self._listed or (missed is not None and self._clock.now() < missed + self._unlisted_seconds):
                return self._listed.get(commit_id)
            try:
                commits = await self._fleet.vers.list_commits()
            except NotFound:
                commits = ()  # an earlier platform has no such list
            self._listed.update((commit.commit_id, commit) for commit in commits)
            if commit_id not in self._listed:
                self._unlisted[commit_id] = self._clock.now()
            return self._listed.get(commit_id)
