"""The VM of a slot as the platform tells of it: the machine itself, creates of unknown outcome, a VM to adopt, the snapshot that must
come before a deletion, and why nothing may be created for now."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.api.annotations import PROTECTION
from reconciler.api.lieutenant import ManagementPolicy, OnBusy
from reconciler.api.meta import Mode
from reconciler.core.fleet.breaker import Breaker
from reconciler.core.lieutenant.session import loss_of
from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.slot.deletion import effective_deletion
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.slot import DesiredState, EffectiveDeletion, OpenIntent, Slot, SnapshotSeen, Target
from reconciler.core.snapshot.vm import Absent, Seen, Unknown, Vm, VmObservation
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.places import place_of
from reconciler.engine.ports import Clock
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.journal import COMMIT, Journal
from reconciler.engine.state.objects import LieutenantItem, ObjectTable, TaskItem
from reconciler.engine.state.transcripts import Transcript
from reconciler.errors import Forbidden, NotFound, ReconcilerError


@dataclass(slots=True)
class Hold:
    """Why nothing may be created for now: the breaker, and the hold after an empty store (design §5.9)."""

    breaker: Breaker = field(default_factory=Breaker)
    until: float = 0.0
    failing_deletes: set[str] = field(default_factory=set)


def desired_state_of(item: LieutenantItem) -> DesiredState:
    if item.deleting:
        return DesiredState.GONE
    return DesiredState.SUSPENDED if item.spec.mode is Mode.SUSPENDED else DesiredState.RUNNING


class Slots:
    """`owner`: whose VMs are ours. `account`: the platform's, whose VMs they are."""

    def __init__(
        self,
        settings: EngineSettings,
        table: ObjectTable,
        fleet: Fleet,
        journal: Journal,
        clock: Clock,
        owner: Owner,
        account: str,
    ) -> None:
        self.settings, self.table, self.fleet, self.journal, self.clock = settings, table, fleet, journal, clock
        self.owner, self.account = owner, account
        self.hold = Hold()

    async def observe_vm(self, item: LieutenantItem) -> Vm | Absent | Unknown:
        slot = item.record.slot
        if slot.vm_id:
            return await self.fleet.look(slot.vm_id, lambda vm: self._claimed(vm, item), self.settings.resync_seconds * 1.5)
        try:
            await self.fleet.list_since(self.clock.now() - self.settings.resync_seconds * 3)
        except ReconcilerError as error:
            return Unknown(str(error))
        return Absent(proven=True)

    def _claimed(self, vm: Vm, item: LieutenantItem) -> bool:
        return claims.claimed_for(vm, self.owner, item.uid, item.record.slot.epoch)

    async def slot(
        self,
        item: LieutenantItem,
        observed: Vm | Absent | Unknown,
        agent: Agent | Unknown | None,
        transcript: Transcript,
        tasks: list[TaskItem],
        now: float,
    ) -> Slot:
        spec, record = item.spec, item.record.slot
        seen: VmObservation = observed if not isinstance(observed, Vm) else self.seen(observed, item)
        desired = desired_state_of(item)
        sent = any(t.record.phase in ("Delivering", "Verifying") for t in tasks)
        busy: bool | None = sent
        if isinstance(agent, Agent):
            busy = sent or (isinstance(agent.process, Up) and (agent.process.busy or not agent.process.responsive))
        elif isinstance(agent, Unknown):
            busy = None
        if desired is DesiredState.GONE:
            busy = any(t.record.sent for t in tasks)
        asked = item.record.suspend_asked_at
        overdue = (
            desired is DesiredState.SUSPENDED
            and spec.suspend.on_busy is OnBusy.ABORT
            and asked > 0
            and now >= asked + spec.suspend.grace_seconds
        )
        blocked, until = self.blocked(item, now)
        known = max(transcript.told(place_of(item).id), item.record.session.seen)
        deletion = effective_deletion(spec.deletion_policy, spec.management_policy, item.record.detached)
        return Slot(
            desired=desired,
            record=record,
            vm=seen,
            intent=await self.open_intent(item, seen, now),
            account=self.account,
            protected=item.obj.annotations.get(PROTECTION) == "enabled",
            deletion=deletion,
            no_delete=spec.management_policy is ManagementPolicy.NO_DELETE,
            observe_only=spec.management_policy is ManagementPolicy.OBSERVE_ONLY,
            adopt=await self.adoption(item),
            snapshot=await self.snapshot(item, now) if desired is DesiredState.GONE and deletion is EffectiveDeletion.SNAPSHOT else None,
            busy=busy,
            mirrored=not isinstance(agent, Agent) or (agent.session_size <= transcript.seen and transcript.divergence is None),
            loss=loss_of(spec.session.on_lost, item.record.session, transcript.size, known),
            lost=item.record.session.lost,
            blocked=blocked,
            blocked_until=until,
            vanished=record.vm_id in self.fleet.vanished and not record.marked_for_deletion,
            suspend_overdue=overdue and busy is None,
            now=now,
        )

    def seen(self, vm: Vm, item: LieutenantItem) -> Seen:
        """One row of the platform, as decisions about this object see it."""
        return Seen(vm.state, self._claimed(vm, item), claims.other_claim(vm, self.owner))

    async def adoption(self, item: LieutenantItem) -> Target | None:
        """The VM that `adopt` names, while it still has to be taken over."""
        slot = item.record.slot
        if item.spec.adopt is None or slot.vm_id or slot.adopted:
            return None
        vm_id = item.spec.adopt.vm_id
        owner = self.table.owner_of(vm_id)
        seen: VmObservation
        try:
            fresh = await self.fleet.list_since(self.clock.now() - self.settings.resync_seconds * 3)
            vm = fresh.vms.get(vm_id)
            if vm is None:
                vm = await self.fleet.vers.get_vm(vm_id)
            seen = self.seen(vm, item)
        except (NotFound, Forbidden):
            seen = Absent(proven=True)
        except ReconcilerError as error:
            seen = Unknown(str(error))
        return Target(vm_id, seen, str(owner) if owner is not None and owner != item.key else "")

    async def snapshot(self, item: LieutenantItem, now: float) -> SnapshotSeen | None:
        """What the platform's commits say about the snapshot that must be there before the VM goes."""
        slot, record = item.record.slot, item.record.slot.snapshot
        if not slot.vm_id or slot.marked_for_deletion or record.verified:
            return None
        intent = self.journal.of(item.uid, COMMIT)
        if intent is None and not record.commit_id:
            return SnapshotSeen()
        sent_at = intent.sent_at if intent is not None else record.taken_at
        try:
            commits = await self.fleet.vers.list_commits()
        except ReconcilerError:
            return SnapshotSeen(intent is not None, None, None)
        name = str(intent.payload.get("name", "")) if intent is not None else ""
        found = next((c.commit_id for c in commits if name and c.name == name), "")
        listed = any(c.commit_id == record.commit_id for c in commits)
        return SnapshotSeen(intent is not None, found, listed, settled=now >= sent_at + self.settings.settle_seconds)

    def blocked(self, item: LieutenantItem, now: float) -> tuple[str, float]:
        """Why this slot may not create now, and until when."""
        if item.record.slot.vm_id:
            return "", 0.0
        if now < self.hold.until:
            return "the store is new and the platform has VMs of this fleet; waiting for late effects of an earlier life", self.hold.until
        why = self.hold.breaker.blocks(now, len(self.hold.failing_deletes))
        return why, self.hold.breaker.next_probe if why else 0.0

    def replace_blocked(self, now: float) -> str:
        """Why no machine may be given up for a new one now: the platform might have none."""
        why = self.hold.breaker.blocks(now, len(self.hold.failing_deletes))
        return f"no machine can be made for now: {why}" if why else ""

    async def open_intent(self, item: LieutenantItem, seen: VmObservation, now: float) -> OpenIntent | None:
        """What became of the create whose answer never came."""
        if item.record.slot.vm_id:
            self.journal.settled(item.uid)
        intent = self.journal.of(item.uid)
        if intent is None:
            return None
        settled_at = intent.sent_at + self.settings.settle_seconds
        since = settled_at if now >= settled_at else max(intent.sent_at, now - self.settings.moving_seconds)
        try:
            fresh = await self.fleet.list_since(since)
        except ReconcilerError:
            return OpenIntent(intent.token, settled=False, candidates=None)
        owned = frozenset(self.table.owned())
        pending = self.journal.pending()
        unknown = claims.strangers([p for p in pending if p.commit], fresh.vms, owned, self.fleet.first_seen, self.account)
        if any(p.commit for p in pending):
            await self.fleet.read_lineage([vm.vm_id for vm in unknown])
        pairs = claims.pair(pending, fresh.vms, owned, self.fleet.first_seen, self.fleet.lineage, self.account)
        return OpenIntent(intent.token, settled=fresh.begun >= settled_at, candidates=pairs.get(intent.token, ()))
