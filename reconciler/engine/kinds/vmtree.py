"""VMTree as a plug-in: what it declares is reconciled by itself; the tree looks at how that stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.api.annotations import PREFIX, PROTECTION
from reconciler.api.lieutenant import OnNoRoom, OnProfileChange, PlacementType
from reconciler.api.parsing import load_spec
from reconciler.api.status.base import Status
from reconciler.api.status.lieutenant import LieutenantStatus
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.decisions import Release, TreeAction
from reconciler.core.keys import Json, Key, as_maps, vm_tree
from reconciler.core.lasterror import LastError
from reconciler.core.plan import Plan, Step
from reconciler.core.snapshot.vm import VmState
from reconciler.core.tree import policies
from reconciler.core.tree.handover import of_another_kind
from reconciler.core.tree.owned import TREE, OwnedObject, owned_object
from reconciler.core.tree.places import MACHINE, Place, Use, key_of, tree_of_machine, wanted_places
from reconciler.core.tree.snapshot import Found, Other, TreeSnapshot
from reconciler.core.tree.status import tree_status
from reconciler.core.treerecords import TreeRecord
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.tree import TreeActs, digest_of, source_of
from reconciler.engine.observe.trees import PAUSED, ROOM, WORK
from reconciler.engine.ports import StoredObject
from reconciler.engine.registry import Announce, Kind, StatusUpdate
from reconciler.engine.state.objects import AnyItem, LieutenantItem
from reconciler.engine.state.slots import same_vms
from reconciler.errors import InvalidSpec

NAME = vm_tree("", "").kind
CONFIRMED = f"{PREFIX}delete-confirmed"
AGE = 60.0
"""Seconds to which the age of what never worked counts: replicas that were made together are of one age wherever they were declared."""


class VMTreeKind(Kind[tuple[Key, TreeSnapshot | None]]):
    """Its snapshot is its key with what was found of it; None: it does not exist."""

    expands = True

    def __init__(self, context: ActContext) -> None:
        self.t, self._table = context, context.table
        self._acts = TreeActs(context, context.declarations)
        self._made: dict[Key, tuple[VMTreeSpec, dict[str, tuple[OwnedObject, str, str]]]] = {}
        self._read: dict[Key, dict[Key, tuple[Json, LieutenantStatus]]] = {}

    async def observe(self, key: Key) -> tuple[Key, TreeSnapshot | None]:
        item = self._table.get(key)
        if item is None or not isinstance(item.spec, VMTreeSpec) or not isinstance(item.record, TreeRecord):
            return key, None
        remembered, others = self.t.gatherer.slots.trees.keys_of(item, item.record)
        use = {name: self._use(self._table.lieutenant(at)) for name, at in remembered.items()}
        places = wanted_places(item.spec, item.record, use)
        budget = item.spec.budget
        pool = self.t.gatherer.budgets.of_tree(item, budget, self.t.clock.now()) if budget is not None else None
        owned = self._owned(key, item.spec)
        for place in places:
            if place.name not in owned:
                one = owned_object(key, item.spec, place)
                owned[place.name] = one, digest_of(one), why_not(one)
        declared = {place.name: owned[place.name][0].key for place in places}
        before = {name: at for name, at in remembered.items() if name not in declared or self._table.lieutenant(at) is not None}
        keys = remembered | declared | before
        told = self._read[key] = self._told(self._read.get(key, {}), keys.values())
        found = {name: self._found(item, at, owned.get(name), told.get(at)) for name, at in keys.items()}
        beside = {
            place: others[place] if remembered.get(place) == at else key_of(key, place, at.kind == MACHINE) for place, at in keys.items()
        }
        other = {place: two for place, at in beside.items() if (two := self._other(item, keys[place], at)) is not None}
        return key, TreeSnapshot(
            key=key,
            spec=item.spec,
            record=item.record,
            places=places,
            digests={place.name: owned[place.name][1] for place in places},
            found={name: one for name, one in found.items() if one is not None},
            use=use,
            declared=item.obj.spec,
            pool=pool,
            other=other,
            held=self._held(item, places, item.record, found),
            now=self.t.clock.now(),
            invalid={place.name: owned[place.name][2] for place in places if owned[place.name][2]},
            paused=bool(item.obj.annotations.get(PAUSED)),
            deleting=item.deleting,
            confirmed=token if (token := item.obj.annotations.get(CONFIRMED, "")) != item.record.confirmed else "",
            unsupported=tuple(f for f in self.t.gatherer.profiles.unsupported(key, item.obj.spec)[0] if not f.startswith("spec.nodes.")),
        )

    def _other(self, tree: AnyItem, at: Key, other: Key) -> Other | None:
        """What a place has beside its object; None: nothing, as nearly always."""
        item = self._table.lieutenant(other)
        if item is None or not declared_by(tree.obj, item.obj):
            return None
        found = self._found(tree, other, None, (item.obj.status, told := LieutenantStatus.load(item.obj.status)))
        assert found is not None
        new, use, trees = self._table.lieutenant(at), self._use(item), self.t.gatherer.slots.trees
        local = bool(item.record.local.state) or item.spec.placement.type is PlacementType.LOCAL
        full = new is not None and not self._use(new).made and bool(trees.full(at) or self.t.gatherer.slots.no_room(self.t.clock.now()))
        return Other(
            found=found,
            made=use.made or local,
            working=use.working or told.phase == "Working",
            protected=item.obj.annotations.get(PROTECTION) == "enabled",
            mode=item.spec.mode,
            both_run=new is not None and runs(item) and runs(new),
            in_the_way=full and new is not None and new.spec.update.on_no_room is OnNoRoom.IN_PLACE,
        )

    def _held(self, tree: AnyItem, places: Iterable[Place], record: TreeRecord, found: Mapping[str, Found | None]) -> dict[str, str]:
        """By place whose category changed, why nothing may be begun about it now. What does not work has nothing to lose by another
        machine, and only a person holds it up."""
        books, held = record.by_name(), {}
        for place in places:
            known, seen = books.get(place.name), found.get(place.name)
            if known is None or not of_another_kind(place, known):
                continue
            taken = self._table.get(key_of(tree.key, place.name, place.node.has_agent))
            if taken is not None and not declared_by(tree.obj, taken.obj):
                held[place.name] = f"the name {taken.key.name} is taken by an object that this tree does not declare"
            elif (seen is not None and seen.ready) or tree.obj.annotations.get(PAUSED):
                held[place.name] = self.t.gatherer.slots.trees.rollout(key_of(tree.key, place.name, known.agent))
        return held

    def _owned(self, key: Key, spec: VMTreeSpec) -> dict[str, tuple[OwnedObject, str, str]]:
        """What it declares by place, made once from each spec."""
        known = self._made.get(key)
        if known is None or known[0] is not spec:
            known = self._made[key] = spec, {}
        return known[1]

    def _use(self, item: LieutenantItem | None) -> Use:
        if item is None:
            return Use()
        tasks = [task.record for task in self._table.tasks_of(item.key)]
        return Use(
            made=bool(item.record.slot.vm_id) or self.t.journal.of(item.slot_owner) is not None,
            working=any(task.sent for task in tasks),
            idle_since=max((task.finished_at for task in tasks), default=item.obj.created_at // AGE * AGE),
        )

    def _told(self, before: Mapping[Key, tuple[Json, LieutenantStatus]], keys: Iterable[Key]) -> dict[Key, tuple[Json, LieutenantStatus]]:
        """What its objects say of themselves; read anew of those only that say something else than at the last look."""
        found: dict[Key, tuple[Json, LieutenantStatus]] = {}
        for key in keys:
            item = self._table.lieutenant(key)
            if item is not None:
                known = before.get(key)
                status = item.obj.status
                found[key] = known if known is not None and known[0] is status else (status, LieutenantStatus.load(status))
        return found

    def _found(
        self, tree: AnyItem, key: Key, owned: tuple[OwnedObject, str, str] | None, told_by: tuple[Json, LieutenantStatus] | None
    ) -> Found | None:
        item = self._table.lieutenant(key)
        if item is None or told_by is None:
            return None
        obj, status = item.obj, told_by[1]
        current = status.observed_generation == obj.generation
        ready, stalled = status.condition("Ready"), status.condition("Stalled")
        told = stalled or ready
        boot = status.boot
        return Found(
            ours=declared_by(tree.obj, obj),
            same=owned is None or is_as_declared(obj, owned[0]),
            deleting=item.deleting,
            confirmed=obj.annotations.get(CONFIRMED, ""),
            ready=current and ready is not None and ready.status == "True",
            unknown=current and ready is not None and ready.status == "Unknown",
            stalled=current and stalled is not None and stalled.status == "True",
            reason=told.reason if told is not None else "",
            message=told.message if told is not None else "",
            phase=status.phase,
            vm_id=item.record.slot.vm_id,
            outdated=recreates(item) and (up := status.condition("UpToDate")) is not None and up.status == "False",
            replacing=bool(item.record.replacement.state),
            failed=item.record.replacement.failed,
            organs=boot.organs if boot is not None else None,
            capabilities=boot.capabilities if boot is not None else None,
        )

    def plan(self, snapshot: tuple[Key, TreeSnapshot | None]) -> Plan:
        key, view = snapshot
        return Plan(key, {} if view is None else {key: policies.plan(view)})

    async def act(self, snapshot: tuple[Key, TreeSnapshot | None], step: Step) -> None:
        key, view = snapshot
        item = self._table.get(key)
        if view is None or item is None:
            return
        if isinstance(step.action, Release):
            await self.t.backend.release(item.obj)
            await self._table.drop(key)
            self.t.recorder.forget(key)
        elif isinstance(step.action, TreeAction):
            await self._acts.act(view, step.action)

    def status(self, snapshot: tuple[Key, TreeSnapshot | None], plan: Plan, error: LastError) -> Iterable[StatusUpdate]:
        _, view = snapshot
        item = self._table.get(plan.key)
        if item is not None and view is not None and plan.own is not None:
            status: Status = tree_status(view, plan.own, item.obj.status, item.obj.generation, self.t.clock.now(), error)
            yield StatusUpdate(plan.key, status, plan.own, Announce.PHASES)

    def affected(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> Iterable[Key]:
        """The tree of an object that came, went or changed; of one that went also the neighbours, who may have waited for that."""
        tree = self._tree_of(key, before, after)
        if tree is not None:
            yield tree
            if after is None:
                yield from self.t.gatherer.slots.trees.around(key, tree)
        trees = self.t.gatherer.slots.trees
        if key.kind == NAME and before is not None and after is not None and before.record is not after.record:
            yield from changed_places(key, before.record, after.record)
        if key.kind == NAME and before is not None and after is not None and before.spec != after.spec:
            yield from trees.next_in_line(ROOM, key)  # its limits may be others
            yield from trees.next_in_line(WORK, key)
        if before is not None and (after is None or not same_vms(before.record, after.record)):
            yield from trees.next_in_line(ROOM, tree)
        if before is not None and "phase" in before.record and (after is None or before.record.get("phase") != after.record.get("phase")):
            yield from trees.next_in_line(WORK, trees.tree_of(self._table.kinds.reconcile_key(key, before.spec)))

    def told(self, key: Key, before: StoredObject, after: StoredObject) -> Iterable[Key]:
        """The tree of an object, and its neighbours when its machine is another one or in another state: their turn may have come."""
        tree = self._tree_of(key, before, after)
        if tree is not None:
            yield tree
        if tree is not None and any(before.status.get(part) != after.status.get(part) for part in ("vm", "machine")):
            yield from self.t.gatherer.slots.trees.around(key, tree)
            yield from self.t.gatherer.slots.trees.next_in_line(ROOM, tree)

    def _tree_of(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> Key | None:
        obj = after or before
        name = obj.labels.get(TREE, "") if obj is not None else ""
        return tree_of_machine(key) or (vm_tree(key.namespace, name) if name else None)

    def forget(self, key: Key) -> None:
        self._made.pop(key, None)
        self._read.pop(key, None)
        self.t.gatherer.slots.trees.forget(key)


def runs(item: LieutenantItem) -> bool:
    """Its machine ran when it was looked at last."""
    told, vm_id = LieutenantStatus.load(item.obj.status).vm, item.record.slot.vm_id
    return told is not None and told.id == vm_id and told.state == VmState.RUNNING.value


def changed_places(tree: Key, before: Json, after: Json) -> Iterable[Key]:
    """Both objects of each place whose change of category has come further: one of them may get work, or has to be awake."""
    known = {str(place["name"]): place.get("beside") for place in as_maps(before.get("places"))}
    for place in as_maps(after.get("places")):
        if (place.get("beside") or known.get(str(place["name"]))) and place.get("beside") != known.get(str(place["name"])):
            yield from (key_of(tree, str(place["name"]), agent) for agent in (True, False))


def why_not(owned: OwnedObject) -> str:
    """What is wrong with what a tree declares, in words; '' when it is valid."""
    try:
        load_spec(owned.key.kind, owned.spec)
    except InvalidSpec as error:
        return error.what
    return ""


def recreates(item: LieutenantItem) -> bool:
    """A changed profile reaches its machine by another one."""
    return item.spec.update.on_profile_change is OnProfileChange.RECREATE


def declared_by(tree: StoredObject, obj: StoredObject) -> bool:
    """Whether this tree declares that object: in the store, or beside itself in a cluster."""
    if obj.source == source_of(tree.key):
        return obj.source_id == tree.uid
    return obj.source == tree.source and obj.labels.get(TREE) == tree.key.name and obj.key.namespace == tree.key.namespace


def is_as_declared(obj: StoredObject, owned: OwnedObject) -> bool:
    """Its spec, and what the tree says in labels and annotations; what others say there beside is theirs."""
    labels = all(obj.labels.get(name) == value for name, value in owned.labels.items())
    notes = all(obj.annotations.get(name) == value for name, value in owned.annotations.items())
    return obj.spec == owned.spec and labels and notes
