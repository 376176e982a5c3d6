"""The VM of a slot as the platform tells of it: the machine itself, creates of unknown outcome, a VM to adopt, the snapshot that must
come before a deletion, and why nothing may be created for now."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from reconciler.core.fleet.breaker import Breaker
from reconciler.core.keys import SlotOwner
from reconciler.core.records import CommitRecord, SlotRecord
from reconciler.core.slot import claims, pairing
from reconciler.core.slot.claims import Owner
from reconciler.core.slot.item import SlotItem, SlotUse
from reconciler.core.slot.pairing import Pending
from reconciler.core.slot.snapshots import to_be_counted
from reconciler.core.slot.tenancy import not_allowed
from reconciler.core.snapshot.branch import Original
from reconciler.core.snapshot.machine import VmSource
from reconciler.core.snapshot.origin import UNMARKED, Named, Origin
from reconciler.core.snapshot.slot import DesiredState, OpenIntent, Slot, SnapshotSeen, Target
from reconciler.core.snapshot.vm import Absent, Commit, Seen, Unknown, Vm, VmObservation
from reconciler.engine.observe.fleet import Fleet, unread
from reconciler.engine.observe.origins import Origins
from reconciler.engine.observe.trees import Trees
from reconciler.engine.ports import Clock, Intent
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.journal import COMMIT, CREATE, Journal, commit_of
from reconciler.engine.state.objects import ObjectTable
from reconciler.errors import Forbidden, NotFound, ReconcilerError


@dataclass(slots=True)
class Hold:
    """Why nothing may be created for now: the breaker, and the hold after an empty store (design §5.9)."""

    breaker: Breaker = field(default_factory=Breaker)
    until: float = 0.0
    failing_deletes: set[str] = field(default_factory=set)


class Slots:
    """`owner`: whose VMs are ours."""

    def __init__(
        self,
        settings: EngineSettings,
        table: ObjectTable,
        fleet: Fleet,
        journal: Journal,
        clock: Clock,
        owner: Owner,
    ) -> None:
        self.settings, self.table, self.fleet, self.journal, self.clock = settings, table, fleet, journal, clock
        self.owner = owner
        self.hold = Hold()
        self.trees = Trees(settings, table, fleet, journal)
        self.origins = Origins(fleet, table, clock, owner, settings.resync_seconds * 3)
        self._first_lacking: dict[tuple[SlotOwner, str], tuple[str, float]] = {}

    @property
    def account(self) -> str:
        """Whose key the newest list was read with. A key that the platform refuses is nobody's, and concludes nothing."""
        return self.fleet.account

    async def observe_vm(self, item: SlotItem) -> Vm | Absent | Unknown:
        """For who decides about this slot: a list that shows the same wakes nobody for it."""
        observed = await self.look(item)
        if item.record.vm_id:
            self.fleet.showed(item.record.vm_id, observed)
        return observed

    async def look(self, item: SlotItem) -> Vm | Absent | Unknown:
        slot = item.record
        if slot.vm_id:
            return await self.fleet.look(slot.vm_id, lambda vm: self._claimed(vm, item), self.settings.resync_seconds * 1.5)
        try:
            await self.fleet.list_since(self.clock.now() - self.settings.resync_seconds * 3)
        except ReconcilerError as error:
            return unread(error)
        return Absent(proven=True)

    def _claimed(self, vm: Vm, item: SlotItem) -> bool:
        return claims.claimed_for(vm, self.owner, item.owner, item.record.epoch)

    async def slot(
        self,
        item: SlotItem,
        observed: Vm | Absent | Unknown,
        use: SlotUse,
        source: VmSource | None,
        now: float,
        original: Original | None = None,
        copying: bool = False,
    ) -> Slot:
        """All that decisions about this slot may depend on. `use`: what the machine in it is used for; `source`: what another one would
        be made from, None where none can be made; `original`: what it is to be a live copy of; `copying`: a copy of it is being made."""
        declared, record = item.declared, item.record
        seen: VmObservation = observed if not isinstance(observed, Vm) else self.seen(observed, item)
        blocked, until = self.blocked(item, now)
        going = declared.desired is not DesiredState.RUNNING and not item.owner.node  # another machine of the same place waits for nobody
        return Slot(
            desired=declared.desired,
            record=record,
            vm=seen,
            intent=await self.open_intent(item, seen, now),
            account=self.account,
            protected=declared.protected,
            deletion=declared.deletion,
            no_delete=declared.no_delete,
            observe_only=declared.observe_only,
            namespace=item.owner.object.namespace,
            sharing=self.settings.sharing,
            source=await self.origins.source(source) if source is not None else None,
            adopt=await self.adoption(item, declared.adopt),
            original=original,
            copying=copying,
            snapshot=await self.snapshot(item, now),
            snapshots=declared.snapshots,
            quiet=use.quiet,
            settle_seconds=self.settings.settle_seconds,
            busy=use.busy,
            mirrored=use.mirrored,
            loss=use.loss,
            lost=use.lost,
            blocked=blocked,
            blocked_until=until,
            vanished=self.vanished(record),
            suspend_overdue=use.suspend_overdue,
            not_up_yet=self.trees.not_up_yet(item.owner.object),
            not_down_yet=self.trees.not_down_yet(item.owner.object) if going else None,
            no_room=self.trees.no_room(item.owner.object) if not record.vm_id else None,
            halted=bool(self.table.halted),
            now=now,
        )

    def vanished(self, record: SlotRecord) -> bool:
        """Too many VMs are missing at once, the one of this slot among them or this slot has none."""
        return (record.vm_id in self.fleet.vanished and not record.marked_for_deletion) if record.vm_id else bool(self.fleet.vanished)

    def lacking(self, slot: SlotOwner, verb: str, token: str, begun: float) -> bool:
        """A list begun then, after the window, lacks what this call may have made: whether an earlier one lacked it too. Another
        token, or a list that has it (`''`), starts anew; so does another life of the controller."""
        known = self._first_lacking.get((slot, verb))
        if not token:
            self._first_lacking.pop((slot, verb), None)
            return False
        if known is None or known[0] != token:
            self._first_lacking[slot, verb] = token, begun
            return False
        return begun > known[1]

    def seen(self, vm: Vm, item: SlotItem) -> Seen:
        """One row of the platform, as decisions about this slot see it."""
        last = claims.epoch_on(vm.labels) == item.record.epoch
        return Seen(vm.state, self._claimed(vm, item), claims.other_claim(vm, self.owner), last)

    async def adoption(self, item: SlotItem, vm_id: str) -> Target | None:
        """The VM that `adopt` names, while it still has to be taken over."""
        if not vm_id or item.record.vm_id or item.record.adopted:
            return None
        owner = self.table.owner_of(vm_id)
        seen: VmObservation
        origin: Origin = UNMARKED
        try:
            fresh = await self.fleet.list_since(self.clock.now() - self.settings.resync_seconds * 3)
            vm = fresh.vms.get(vm_id)
            if vm is None:
                vm = await self.fleet.vers.get_vm(vm_id)
            seen = self.seen(vm, item)
            origin = await self.origins.vm(vm)
        except (NotFound, Forbidden):
            seen = Absent(proven=True)
        except ReconcilerError as error:
            seen = unread(error)
        return Target(vm_id, seen, str(owner) if owner is not None and owner != item.owner.key else "", origin)

    async def snapshot(self, item: SlotItem, now: float) -> SnapshotSeen:
        """What the platform's commits say about the one that is on its way, and about those that are kept."""
        slot, record = item.record, item.record.snapshot
        intent = self.journal.of(item.owner, COMMIT)
        on_its_way = intent is not None or bool(record.commit_id and not record.verified)
        if not on_its_way and not (slot.commits and to_be_counted(item.declared.snapshots, slot, self.settings.settle_seconds, now)):
            return SnapshotSeen()
        begun = self.clock.now()
        try:
            commits = await self.fleet.vers.list_commits()
        except ReconcilerError:
            return SnapshotSeen(intent is not None, None, None)
        names = {commit.commit_id: commit for commit in commits}
        kept = {c.commit_id: _still_ours(names[c.commit_id], c) for c in slot.commits if c.commit_id in names}
        if not on_its_way:
            return SnapshotSeen(kept=kept)
        sent_at = self.journal.ended(intent) if intent is not None else record.taken_at
        name = str(intent.payload.get("name", "")) if intent is not None else record.name
        vm_id = str(intent.payload.get("vm", "")) if intent is not None else record.vm_id
        found = next((c.commit_id for c in commits if name and c.name == name and is_of(c, vm_id, name)), "")
        listed = any(c.commit_id == record.commit_id and is_of(c, record.vm_id, record.name) for c in commits)
        over = begun >= sent_at + self.settings.settle_seconds
        lacks = over and not (found or listed)
        settled = self.lacking(item.owner, COMMIT, (name or record.commit_id) if lacks else "", begun)
        return SnapshotSeen(intent is not None, found, listed, settled, kept)

    def blocked(self, item: SlotItem, now: float) -> tuple[str, float]:
        """Why this slot may not create now, and until when."""
        if item.record.vm_id:
            return "", 0.0
        if now < self.hold.until:
            return "the store is new and the platform has VMs of this fleet; waiting for late effects of an earlier life", self.hold.until
        why = self.hold.breaker.blocks(now, len(self.hold.failing_deletes))
        return why, self.hold.breaker.next_probe if why else 0.0

    def replace_blocked(self, now: float) -> str:
        """Why no machine may be given up for a new one now: the platform might have none."""
        if self.fleet.vanished:
            return f"no machine can be made for now: {len(self.fleet.vanished)} VMs are missing at once"
        return "no machine can be made for now: the store is new" if now < self.hold.until else ""

    def no_room(self, now: float) -> str:
        """Why the platform may have no room for another machine."""
        why = self.hold.breaker.doubts(now, len(self.hold.failing_deletes))
        return f"no machine can be made for now: {why}" if why else ""

    async def open_intent(self, item: SlotItem, seen: VmObservation, now: float) -> OpenIntent | None:
        """What became of the create whose answer never came."""
        intent = self.journal.of(item.owner)
        if intent is None or item.record.vm_id:
            if intent is not None:  # what fills a slot closes its create with it: only the answer to that write was lost
                self.journal.closed(intent)
            self.lacking(item.owner, CREATE, "", now)
            return None
        made = self.journal.made(intent)
        if made and self.table.owner_of(made) is None:  # it was answered, and that could not be written down
            return OpenIntent(intent.token, settled=False, candidates=(made,))
        settled_at = self.journal.ended(intent) + self.settings.settle_seconds
        if now < settled_at:
            since = max(intent.sent_at, now - self.settings.moving_seconds)
        else:
            lacked = self._first_lacking.get((item.owner, CREATE))
            since = settled_at if lacked is None or lacked[0] != intent.token else math.nextafter(lacked[1], math.inf)
        try:
            fresh = await self.fleet.list_since(since)
        except ReconcilerError:
            return OpenIntent(intent.token, settled=False, candidates=None)
        owned, seen_at = self.journal.all_made().union(self.table.owned()), self.fleet.first_seen
        pending = [self.pending(one) for one in self.journal.creates(self.table.filled) if not self.journal.made(one)]
        unknown = pairing.strangers([p for p in pending if p.commit], fresh.vms, owned, seen_at)
        await self.fleet.read_lineage([vm.vm_id for vm in unknown])
        if any(p.commit.startswith(pairing.VM) for p in pending):
            await self.origins.complete_lineage([vm.vm_id for vm in unknown])
        candidates = pairing.pair(pending, fresh.vms, owned, seen_at, self.fleet.lineage).get(intent.token, ())
        candidates = await self.allowed(intent, candidates)
        over = fresh.begun >= settled_at
        lacks = over and candidates == ()
        twice = self.lacking(item.owner, CREATE, intent.token if lacks else "", fresh.begun)
        if lacks and not twice:
            self.fleet.read_again(vm.vm_id for vm in unknown)
        return OpenIntent(intent.token, settled=twice if lacks else over, candidates=candidates, certain=self.certain(intent))

    async def allowed(self, intent: Intent, candidates: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Those of the candidates whose disk this namespace may read: an intent may have been taken from a status that somebody forged.
        None: whose they are could not be read."""
        commit, namespace, sharing = commit_of(intent), intent.owner.object.namespace, self.settings.sharing
        if not candidates or not commit:
            return candidates
        if commit.startswith(pairing.VM):
            original = commit.removeprefix(pairing.VM)
            return () if not_allowed(Named("VM", original, self.origins.parent(original)), namespace, sharing) else candidates
        if commit.startswith(pairing.REF) and not_allowed(Named("reference", commit, UNMARKED), namespace, sharing):
            return ()
        kept: list[str] = []
        for vm_id in candidates:
            parent = self.fleet.lineage[vm_id].parent_commit_id or ""
            named = Named("commit", parent, await self.origins.commit(parent))
            if isinstance(named.origin, Unknown):
                return None
            if not_allowed(named, namespace, sharing) is None:
                kept.append(vm_id)
        return tuple(kept)

    def pending(self, intent: Intent) -> Pending:
        """An open create, as pairing needs it. What is noted in it about the platform's clock is believed only as far as lists do."""
        low, _ = self.fleet.platform_clock(intent.sent_at)
        _, high = self.fleet.platform_clock(self.journal.ended(intent) + self.settings.settle_seconds)
        known = [at for at in (intent.server_time, low) if at is not None]
        account = str(intent.payload.get("account", "")) or self.account
        return Pending(
            intent.token, commit_of(intent), min(known, default=None), intent.sent_at, high, account, intent.owner.object.namespace
        )

    def certain(self, intent: Intent) -> bool:
        """Whether a VM that fits this create was made by it: marked at birth; or the only one of its commit, in an account where nobody
        else makes VMs from it. Of a reference nobody knows which commit it was."""
        commit = commit_of(intent)
        return not commit or (self.settings.dedicated_account and not commit.startswith(pairing.REF))


def is_of(commit: Commit, vm_id: str, name: str) -> bool:
    """Whether this commit is one of the VM, under the name that it was to have where the platform does not say of which."""
    return commit.parent_vm_id == vm_id if commit.parent_vm_id else bool(name) and commit.name == name


def _still_ours(commit: Commit, kept: CommitRecord) -> bool:
    """What the platform lists under this id is what we made: of that machine, and under the name that we gave it."""
    return commit.name == kept.name and commit.parent_vm_id in ("", kept.vm_id)
