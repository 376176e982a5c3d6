"""BootProfile as a plug-in: it resolves, or says why not; it is baked, and machines of it are kept ready, where that is declared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.parsing import load_spec
from reconciler.api.status.lieutenant import LieutenantStatus
from reconciler.api.treereasons import TreeReason
from reconciler.core.conditions import resting_status
from reconciler.core.decisions import BakeAction, WarmAction
from reconciler.core.keys import Key, as_map, as_maps, boot_profile, lieutenant
from reconciler.core.lasterror import LastError
from reconciler.core.lieutenant.preparation import PREPARED
from reconciler.core.plan import Plan, Step
from reconciler.core.profile import bake, resolution
from reconciler.core.profile.bake import BakeView, Oven
from reconciler.core.profile.bakednames import baked_as
from reconciler.core.profile.rendering import profile_chain
from reconciler.core.profile.resolution import ProfileSnapshot
from reconciler.core.profile.status import profile_status
from reconciler.core.slot import tenancy
from reconciler.core.slot.marks import seals_of
from reconciler.core.snapshot.origin import Made
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.vm import Commit
from reconciler.core.tree.places import MACHINE
from reconciler.core.treerecords import BootProfileRecord
from reconciler.engine.act.baking import BakeActs
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.warm import WarmActs
from reconciler.engine.observe.warm import could_not_be_made
from reconciler.engine.ports import StoredObject
from reconciler.engine.registry import Kind, StatusUpdate
from reconciler.engine.state.journal import commit_of
from reconciler.engine.state.objects import AnyItem
from reconciler.errors import ReconcilerError

NAME = boot_profile("", "").kind
LIEUTENANT = lieutenant("", "").kind


class BootProfileKind(Kind[tuple[Key, ProfileSnapshot | None]]):
    """Its snapshot is its key with what was found of it; None: it does not exist."""

    def __init__(self, context: ActContext) -> None:
        self.t = context
        self._table, self._profiles, self._clock = context.table, context.gatherer.profiles, context.clock
        self._acts, self._warm = BakeActs(context), WarmActs(context)

    async def observe(self, key: Key) -> tuple[Key, ProfileSnapshot | None]:
        item = self._table.get(key)
        if item is None:
            return key, self._left(key)
        chain = profile_chain(key.name, lambda name: self._profiles.profile(key.namespace, name), key.namespace)
        protects, convenience = self._profiles.unsupported(key, item.obj.spec)
        unresolved = chain if isinstance(chain, Unresolved) else None
        wanted = self._wanted(key)
        kept = self.t.gatherer.warm.view(key, item, wanted, self._clock.now())
        return key, ProfileSnapshot(unresolved, protects, convenience, await self._bake(item, wanted), kept)

    def _left(self, key: Key) -> ProfileSnapshot | None:
        """What there still is of a profile that is gone."""
        oven, kept = self._oven(key), self.t.gatherer.warm.view(key, None, "", self._clock.now())
        if oven is None and kept is None:
            return None
        return ProfileSnapshot(bake=BakeView(BootProfileRecord(), oven=oven) if oven is not None else None, warm=kept)

    async def _bake(self, item: AnyItem, wanted: str) -> BakeView | None:
        """What there is of its baking; None: it neither is nor was declared."""
        record, oven = item.record, self._table.lieutenant(bake.machine_of(item.key))
        if not isinstance(item.spec, BootProfileSpec) or not isinstance(record, BootProfileRecord):
            return None
        if not item.spec.bake.enabled and oven is None and not record.baking:
            return None
        committed = ""
        if record.baking and oven is None:
            told = await self.t.store.meta(f"tombstone/{bake.oven_uid(item.uid, record.baking)}")
            committed = str(as_map(json.loads(told or "{}")).get("commitId") or "")
        keep, now = item.spec.bake.keep, self._clock.now()
        listed = await self._listed(item.key) if any(now >= one.not_before for one in bake.superseded(record, wanted, keep)) else None
        needed = frozenset(commit_of(intent) for intent in self.t.journal.creates(self._table.filled))
        view = BakeView(
            record, wanted, item.spec.bake.enabled, self._used(item.key), self._oven(item.key), committed, keep, listed, needed, now
        )
        return await self._with_the_lost(item.key, view) if bake.is_due(view) else view

    async def _listed(self, profile: Key) -> dict[str, bool] | None:
        """The platform's commits, each with whether its name says that it was taken of a machine that this profile was baked on."""
        try:
            commits = await self.t.vers.list_commits()
        except ReconcilerError:
            return None
        ours = {commit.commit_id for commit in self._ours(profile, commits)}
        return {commit.commit_id: commit.commit_id in ours for commit in commits}

    async def _with_the_lost(self, profile: Key, view: BakeView) -> BakeView:
        """With what the platform lists of it, and neither the profile's record nor the books know."""
        try:
            commits = await self.t.vers.list_commits()
        except ReconcilerError as error:
            return replace(view, unread=str(error))
        known = {one.commit for one in view.record.baked}
        found = {one.commit_id: baked_as(one, self._beginning(profile)) for one in self._ours(profile, commits)}
        lost = [told for told in found.values() if told is not None and told.commit not in known]
        books = self.t.gatherer.slots.origins
        strays = tuple(name for name, told in found.items() if told is None and name not in known and not books.knows(name))
        return replace(view, lost=tuple(sorted(lost, key=lambda one: (one.at, one.commit))), strays=strays)

    def _ours(self, profile: Key, commits: Iterable[Commit]) -> list[Commit]:
        """Those that were taken, by us, of a machine that this profile was baked on."""
        owner, beginning = self.t.gatherer.owner, self._beginning(profile)
        mine = [commit for commit in commits if commit.name.startswith(f"{beginning}.")]
        return [commit for commit in mine if isinstance(tenancy.origin_by_name(commit, owner), Made)]

    def _beginning(self, profile: Key) -> str:
        """How the names of its commits begin."""
        return tenancy.commit_name(self.t.gatherer.owner, profile.namespace, [bake.machine_of(profile).name]).rpartition(".")[0]

    def _wanted(self, key: Key) -> str:
        """Hash of what a machine of this profile would be now; '' while that can't be said."""
        spec = load_spec("Machine", bake.spec_of(key))
        assert isinstance(spec, LieutenantSpec)
        made = self._profiles.of_profile(bake.machine_of(key), spec)
        return made.profile_hash if isinstance(made, Rendered) else ""

    def _used(self, key: Key) -> bool:
        """Whether a machine is declared that is made of it."""
        found = (
            self._table.lieutenant(at) for at in self._table.all_keys() if at.namespace == key.namespace and bake.profile_of(at) is None
        )
        return any(item is not None and item.spec.profile_ref.name == key.name and not item.deleting for item in found)

    def _oven(self, key: Key) -> Oven | None:
        item = self._table.lieutenant(bake.machine_of(key))
        if item is None:
            return None
        status = LieutenantStatus.load(item.obj.status)
        ready = status.condition("Ready")
        marks = status.machine.marks if status.machine is not None else {}
        return Oven(
            hash=marks.get(PREPARED, ""),
            ready=ready is not None and ready.status == "True",
            failed=could_not_be_made(status) if not item.deleting else "",
            going=item.deleting,
            seal=seals_of(item.record.slot)[0],
            commit=item.record.slot.snapshot.commit_id if item.record.slot.snapshot.verified else "",
        )

    def plan(self, snapshot: tuple[Key, ProfileSnapshot | None]) -> Plan:
        key, view = snapshot
        return Plan(key, {} if view is None else {key: resolution.plan(view)})

    def probing(self, snapshot: tuple[Key, ProfileSnapshot | None]) -> bool:
        """Only when its plan names a time: for room, and for a commit that could not be removed."""
        return True

    async def act(self, snapshot: tuple[Key, ProfileSnapshot | None], step: Step) -> None:
        key, action = snapshot[0], step.action
        if isinstance(action, WarmAction):
            await self._warm.act(key, action)
        elif isinstance(action, BakeAction):
            await self._acts.act(key, action, snapshot[1].bake if snapshot[1] is not None else None)

    def status(self, snapshot: tuple[Key, ProfileSnapshot | None], plan: Plan, error: LastError) -> Iterable[StatusUpdate]:
        item, view = self._table.get(plan.key), snapshot[1]
        if item is not None and view is not None and plan.own is not None:
            resting = resting_status(plan.own, item.obj.status, item.obj.generation, self._clock.now())
            yield StatusUpdate(plan.key, profile_status(resting, view.bake, view.warm), plan.own)

    def left_behind(self) -> Iterable[Key]:
        """Profiles that are gone while a machine of theirs is there."""
        found = (bake.profile_of(key) for key in self._table.all_keys())
        return {key for key in found if key is not None and self._table.get(key) is None}

    def affected(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> Iterable[Key]:
        """Profiles that may extend the one that was written, and the one that an object is made of, or whose machine it is."""
        if key.kind == NAME:
            yield from (item.key for item in self._table.of_kind(NAME) if item.key.namespace == key.namespace and item.key != key)
            return
        yield from self._profile_of(key, after or before)

    def told(self, key: Key, before: StoredObject, after: StoredObject) -> Iterable[Key]:
        """The profile whose machine this is, with the lieutenants that may take one which is ready now; and those that can make room for
        what waits for it."""
        profile = bake.profile_of(key)
        if profile is not None:
            yield profile
            yield from self._takers(profile) if not bake.is_oven(key) else ()
        elif waits_for_room(after) and not waits_for_room(before):
            kept = {bake.profile_of(item.key) for item in self._table.of_kind(MACHINE)}
            yield from (at for at in kept if at is not None)

    def _profile_of(self, key: Key, obj: StoredObject | None) -> Iterable[Key]:
        mine = bake.profile_of(key)
        if mine is not None:
            yield mine
            return
        name = as_map(obj.spec.get("profileRef")).get("name") if obj is not None else None
        profile = self._table.get(boot_profile(key.namespace, str(name))) if name else None
        if profile is not None and isinstance(profile.spec, BootProfileSpec) and profile.spec.bake.enabled:
            yield profile.key

    def _takers(self, profile: Key) -> Iterable[Key]:
        for item in (*self._table.of_kind(LIEUTENANT), *self._table.of_kind(MACHINE)):
            known = self._table.lieutenant(item.key) if bake.profile_of(item.key) is None else None
            if known is not None and not known.record.slot.vm_id and known.spec.profile_ref.name == profile.name:
                yield known.key


def waits_for_room(obj: StoredObject) -> bool:
    """Its status says that a limit is reached."""
    return any(one.get("reason") == TreeReason.CAPACITY for one in as_maps(obj.status.get("conditions")))
