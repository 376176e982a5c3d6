"""What one machine of a hierarchy has to know of the others: the order, and the room that is left. Reads the object table, the journal
and the last list of VMs; asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from reconciler.api.annotations import PREFIX
from reconciler.api.lieutenant import ManagementPolicy, PlacementType
from reconciler.api.meta import Mode
from reconciler.api.status.lieutenant import LieutenantStatus
from reconciler.api.treereasons import TreeReason
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.keys import Key, SlotOwner, as_map, vm_tree
from reconciler.core.lieutenant.preparation import PREPARED
from reconciler.core.lieutenant.spare import to_be_checked
from reconciler.core.profile.bake import profile_of
from reconciler.core.records import SlotRecord
from reconciler.core.snapshot.slot import Held
from reconciler.core.snapshot.vm import VmState
from reconciler.core.tree.order import Family, Ledger, Limit, Neighbour, next_to_move, no_room, not_down_yet, not_up_yet
from reconciler.core.tree.owned import TREE
from reconciler.core.tree.places import key_of, tree_of_machine
from reconciler.core.treerecords import PlaceRecord, TreeRecord
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.journal import Journal
from reconciler.engine.state.objects import AnyItem, LieutenantItem, ObjectTable

ROOM, WORK = "room", "work"
"""What objects stand in line for: a machine, a task."""

AT_ONCE = 4
"""So many of a line are woken by one change; each that gets its turn wakes the next."""

PAUSED = f"{PREFIX}paused"
"""The annotation by which a person holds the rollout of a tree."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What was made of the record of a tree, once. `keys`: the object of each place; `others`: what it would be if the category of
    its node were of the other sort; `beside`: those of them that may be there."""

    record: TreeRecord
    family: Family
    names: dict[Key, str]
    keys: dict[str, Key]
    others: dict[str, Key]
    beside: dict[str, Key]
    places: dict[str, PlaceRecord]


@dataclass(frozen=True, slots=True)
class Membership:
    """An object as a place of its tree."""

    tree: AnyItem
    spec: VMTreeSpec
    place: str
    known: _Known = field(repr=False)


class Trees:
    """`foreseeing`: nothing is held back for the sake of order, since a plan shows what comes after all others; `foreseen`: the machines
    that it has shown already, by tree."""

    def __init__(self, settings: EngineSettings, table: ObjectTable, fleet: Fleet, journal: Journal) -> None:
        self._settings, self._table, self._fleet, self._journal = settings, table, fleet, journal
        self._known: dict[Key, _Known] = {}
        self._waiting: dict[tuple[str, Key | None], dict[Key, None]] = {}
        self.foreseeing = False
        self.foreseen: dict[Key, int] = {}

    # --- who belongs to which tree ------------------------------------------------------------------------------------------------

    def membership(self, key: Key) -> Membership | None:
        """The tree that declares this object; None: it belongs to none."""
        item = self._table.get(key)
        if item is not None and not item.obj.labels and "/" not in key.name and not isinstance(item.spec, VMTreeSpec):
            return None  # it says of no tree that it is of it
        return self._member(key, self.tree_of(key) or key)

    def _member(self, key: Key, of: Key) -> Membership | None:
        tree = self._table.get(of)
        if tree is None or not isinstance(tree.spec, VMTreeSpec) or not isinstance(tree.record, TreeRecord):
            return None
        known = self._of(tree, tree.record)
        name = known.names.get(key)
        return Membership(tree, tree.spec, name, known) if name is not None else None

    def tree_of(self, key: Key) -> Key | None:
        """The tree that this object says it is of."""
        machine = tree_of_machine(key)
        if machine is not None:
            return machine
        item = self._table.get(key)
        label = item.obj.labels.get(TREE, "") if item is not None else ""
        return vm_tree(key.namespace, label) if label else None

    def _of(self, tree: AnyItem, record: TreeRecord) -> _Known:
        known = self._known.get(tree.key)
        if known is None or known.record is not record:
            keys = {place.name: key_of(tree.key, place.name, place.agent) for place in record.places}
            others = {place.name: key_of(tree.key, place.name, not place.agent) for place in record.places}
            beside = {place.name: others[place.name] for place in record.places if place.beside.state}
            names = {key: name for of in (keys, beside) for name, key in of.items()}
            known = _Known(record, Family(record.places), names, keys, others, beside, {place.name: place for place in record.places})
            self._known[tree.key] = known
        return known

    def keys_of(self, tree: AnyItem, record: TreeRecord) -> tuple[dict[str, Key], dict[str, Key]]:
        """By place that is remembered its object, and what that would be if its category were of the other sort."""
        known = self._of(tree, record)
        return known.keys, known.others

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)
        for line in self._waiting.values():
            line.pop(key, None)
        self.foreseen.pop(key, None)

    def around(self, key: Key, tree: Key) -> Iterator[Key]:
        """The objects of a tree whose turn may come when this one of it changed, or went."""
        member = self._member(key, tree)
        if member is None:
            return
        for name in next_to_move(member.known.family, member.place, lambda name: self._neighbour(member, name)):
            yield member.known.keys[name]
            if name in member.known.beside:
                yield member.known.beside[name]

    # --- order ----------------------------------------------------------------------------------------------------------------------

    def not_up_yet(self, key: Key) -> Held | None:
        member = self.membership(key) if not self.foreseeing else None
        return not_up_yet(member.known.family, member.place, lambda name: self._neighbour(member, name)) if member is not None else None

    def not_down_yet(self, key: Key) -> Held | None:
        member = self.membership(key) if not self.foreseeing else None
        return not_down_yet(member.known.family, member.place, lambda name: self._neighbour(member, name)) if member is not None else None

    def _neighbour(self, member: Membership, name: str) -> Neighbour:
        """Of a place with two objects, while its category changes: either of them may serve those below, and both have to be down."""
        seen = self._seen(member.known.keys[name], member.known.places[name])
        if name not in member.known.beside:
            return seen
        other = self._seen(member.known.beside[name], member.known.places[name])
        return replace(seen, prepared=seen.prepared or other.prepared, asleep=seen.asleep and other.asleep, gone=seen.gone and other.gone)

    def _seen(self, key: Key, place: PlaceRecord) -> Neighbour:
        item = self._table.lieutenant(key)
        if item is None:
            return Neighbour(running=not place.going, going=place.going, gone=True)
        vm_id = item.record.slot.vm_id
        latest = self._fleet.latest
        vm = latest.vms.get(vm_id) if latest is not None and vm_id else None
        if item.spec.management_policy is ManagementPolicy.OBSERVE_ONLY and not item.deleting:
            return Neighbour(running=False, asleep=True)  # nothing moves it, so nobody waits for it
        return Neighbour(
            running=item.spec.mode is Mode.RUNNING and not item.deleting,
            going=item.deleting,
            prepared=vm is not None and vm.state is VmState.RUNNING and PREPARED in noted(item, vm_id),
            asleep=self._journal.of(item.slot_owner) is None and (not vm_id or (vm is not None and vm.state is VmState.SUSPENDED)),
            gone=False,
        )

    # --- a rollout --------------------------------------------------------------------------------------------------------------------

    def rollout(self, key: Key) -> str:
        """Why this object's machine is not replaced for a changed profile yet, for the sake of the others of its tree; '' when it may be.
        Asked once more before a replacement is begun."""
        member = self.membership(key)
        if member is None:
            return ""
        name, busy = f"vmtree/{member.tree.key.name}", []
        if member.tree.obj.annotations.get(PAUSED):
            return f"the rollout of {name} is paused; `reconciler rollout resume {name}` lets it go on"
        if member.place in member.known.beside:
            return f"the category of node {member.place} changes first"
        for place, at in member.known.keys.items():
            item = self._table.lieutenant(at) if at != key else None
            if item is None or item.deleting:
                continue
            if item.record.replacement.failed:
                why = item.record.replacement.failed.splitlines()[0][:200]
                return f"the rollout of {name} stopped at node {place}: {why}; correct the profile, or `reconciler rollout undo {name}`"
            ready = LieutenantStatus.load(item.obj.status).condition("Ready")
            down = item.spec.mode is Mode.RUNNING and (ready is None or ready.status != "True")
            if item.record.replacement.state or down or place in member.known.beside:
                busy.append(place)
        if len(busy) >= member.spec.strategy.max_unavailable:
            return f"node {', '.join(busy[:3])} comes first: strategy.maxUnavailable of {name} is {member.spec.strategy.max_unavailable}"
        return ""

    @property
    def went_on_at(self) -> float:
        """When the fleet was last halted no longer."""
        return self._table.went_on_at

    # --- room -----------------------------------------------------------------------------------------------------------------------

    def no_room(self, key: Key) -> Held | None:
        """Why no machine may be made for this object now (G-09). Asked once more, without a pause, before a create is written down."""
        if self._table.halted:
            return Held(TreeReason.HALTED, "the fleet is halted; `reconciler resume --halted` lets it go on")
        member = self.membership(key)
        if member is not None and member.known.beside.get(member.place) == key:
            return Held(TreeReason.HANDING_OVER, f"another machine takes the place of what node {member.place} had")
        return self._in_line(ROOM, member, key, self._no_room(member))

    def full(self, key: Key) -> bool:
        """A limit on how many machines there are leaves no room for one of this object."""
        return self._no_room(self.membership(key), making=False) is not None

    def may_not_take(self, key: Key) -> Held | None:
        """Why this object may not even take a machine that is there already: it would be one more in its tree."""
        if self._table.halted:
            return Held(TreeReason.HALTED, "the fleet is halted; `reconciler resume --halted` lets it go on")
        member = self.membership(key)
        return self._no_room(member, whole_fleet=False) if member is not None else None

    def fleet_is_full(self) -> bool:
        """There is no room for one more machine."""
        return no_room(self._fleet_limit()) is not None

    def awaited(self) -> bool:
        """Something that is declared stands in line for room in the fleet, as far as is known."""
        return any(profile_of(key) is None and self._waits(ROOM, key) for key in self._waiting.get((ROOM, None), ()))

    def _fleet_limit(self) -> list[Limit]:
        if self._settings.max_vms is None:
            return []
        there = len(self._table.owned()) + sum(1 for owner in self._journal.under_way() if not self._table.filled(owner))
        return [Limit(there, self._settings.max_vms, "the fleet's limit of VMs (--max-vms)")]

    def _no_room(self, member: Membership | None, whole_fleet: bool = True, making: bool = True) -> Held | None:
        limits = self._fleet_limit() if whole_fleet else []
        if member is not None:
            bounds, ledger, name = member.spec.limits, self.ledger(member), f"of vmtree/{member.tree.key.name}"
            limits.append(Limit(ledger.vms, bounds.max_vms, f"limits.maxVMs {name}"))
            if making and not self.foreseeing:
                limits.append(Limit(ledger.creating, bounds.max_concurrent_creates, f"limits.maxConcurrentCreates {name}"))
        return no_room(limits)

    def no_work(self, key: Key) -> Held | None:
        """Why no task may be sent to this agent now, when it has none (G-09)."""
        if self._table.halted:
            return Held(TreeReason.HALTED, "the fleet is halted; `reconciler resume --halted` lets it go on")
        member = self.membership(key)
        if member is None:
            return None
        if (changing := self._changes_hands(member, key)) is not None:
            return self._in_line(WORK, member, key, changing)
        if member.spec.limits.max_working is None or self.working(key):
            return None
        name = f"limits.maxWorking of vmtree/{member.tree.key.name}"
        held = no_room([Limit(self.ledger(member).working, member.spec.limits.max_working, name)])
        return self._in_line(WORK, member, key, held)

    def _changes_hands(self, member: Membership, key: Key) -> Held | None:
        """G-14: of the two objects of a place whose category changes the new one gets no work before it has the files, the old one none
        from the moment at which the new one is ready."""
        former, state = member.known.beside.get(member.place), member.known.places[member.place].beside.state
        held = state in ("Settling", "Going") if key == former else state in ("Making", "Settling")
        return Held(TreeReason.HANDING_OVER, f"the category of node {member.place} changes, and its files come first") if held else None

    def awaited_by(self, key: Key) -> str:
        """What a machine has to run for although its agent has no work: its files are to be brought over; '' for nothing."""
        member = self.membership(key)
        if member is None or member.known.beside.get(member.place) != key:
            return ""
        return f"vmtree/{member.tree.key.name}" if member.known.places[member.place].beside.state == "Settling" else ""

    def _in_line(self, what: str, member: Membership | None, key: Key, held: Held | None) -> Held | None:
        """Who waits for room is remembered in the order in which they came."""
        lines: list[tuple[str, Key | None]] = [(what, member.tree.key)] if member is not None else []
        lines += [(what, None)] if what == ROOM and self._settings.max_vms is not None else []
        for at in lines:
            line = self._waiting.setdefault(at, {})
            if held is not None:
                line.setdefault(key)
            else:
                line.pop(key, None)
        return held

    def next_in_line(self, what: str, tree: Key | None) -> Iterator[Key]:
        """Those whose turn it is when there is more room since an object of this tree (None: of none) changed or went: the first few of
        the tree, and of the fleet."""
        for of in (tree, None) if tree is not None else (None,):
            line = tuple(self._waiting.get((what, of), ()))
            yield from islice((at for at in line if self._waits(what, at)), AT_ONCE)

    def _waits(self, what: str, key: Key) -> bool:
        """It is still in need of what it stands in line for; whoever asked is in line, so also those who need nothing now."""
        item = self._table.lieutenant(key)
        if item is None or item.deleting:
            return False
        if what == WORK:
            return any(task.record.phase == "Pending" for task in self._table.tasks_of(key))
        spec, record = item.spec, item.record
        runs = spec.mode is Mode.RUNNING and spec.management_policy is not ManagementPolicy.OBSERVE_ONLY
        if any(not slot.vm_id for node, slot in record.slots().items() if node or (runs and spec.placement.type is PlacementType.VM)):
            return True
        snapshots = spec.snapshots
        return runs and snapshots is not None and to_be_checked(record.slot, snapshots.verify.value, snapshots.keep) is not None

    def ledger(self, member: Membership) -> Ledger:
        """What counts against the limits of a tree. A create counts from the moment at which it is written down."""
        under_way = set(self._journal.under_way())
        vms = self.foreseen.get(member.tree.key, 0)
        creating = working = 0
        for key in member.known.names:
            item = self._table.lieutenant(key)
            if item is None:
                continue
            for node, slot in item.record.slots().items():
                on_its_way = not slot.vm_id and SlotOwner.of(key, item.uid, node) in under_way
                vms += bool(slot.vm_id) or on_its_way
                creating += on_its_way or self._booting(item, slot)
            working += bool(member.spec.limits.max_working) and self.working(key)
        return Ledger(vms, creating, working)

    def _booting(self, item: LieutenantItem, slot: SlotRecord) -> bool:
        """One that the last list lacks may be, as long as nothing was ever found on it."""
        if not slot.vm_id:
            return False
        latest = self._fleet.latest
        vm = latest.vms.get(slot.vm_id) if latest is not None else None
        if vm is not None:
            return vm.state is VmState.BOOTING
        return PREPARED not in noted(item, slot.vm_id)

    def working(self, key: Key) -> bool:
        """Whether a task was sent to this agent and is not over."""
        return any(task.record.sent for task in self._table.tasks_of(key))

    def members(self, tree: AnyItem) -> Iterable[LieutenantItem]:
        """What a tree has declared, as far as it is there."""
        if not isinstance(tree.record, TreeRecord):
            return ()
        found = (self._table.lieutenant(key) for key in self._of(tree, tree.record).names)
        return (item for item in found if item is not None)


def noted(item: LieutenantItem, vm_id: str) -> Mapping[str, object]:
    """The done-marks that were found on this very machine."""
    status = item.obj.status
    return as_map(as_map(status.get("machine")).get("marks")) if as_map(status.get("vm")).get("id") == vm_id else {}
