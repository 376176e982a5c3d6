"""Lieutenant with its Tasks as a plug-in: they share one session, so they are one work set with one reconcile key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from reconciler.core.decisions import (
    AbortTurn,
    Acknowledge,
    Act,
    Create,
    GovernAction,
    GuestAction,
    LabelClaim,
    LocalAction,
    MirrorSession,
    ReadBack,
    ReplacementAction,
    RunStep,
    RunVerify,
    SessionAction,
    SlotAction,
    SpareAction,
    TakeSnapshot,
    TakeWarm,
    TaskAction,
    WriteFiles,
)
from reconciler.core.keys import Key, as_map, boot_profile, lieutenant, source_key, task
from reconciler.core.lasterror import LastError
from reconciler.core.lieutenant import afterwards, workset
from reconciler.core.lieutenant.policies import at_vm
from reconciler.core.lieutenant.status import lieutenant_status
from reconciler.core.plan import Plan, Step
from reconciler.core.records import ACTIVE
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.vm import Seen, Vm, VmState
from reconciler.core.snapshot.workset import GoesOn, WorkSet
from reconciler.core.task.status import task_status
from reconciler.core.tree.places import MACHINE
from reconciler.core.values import replaced
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.governance import GovernActs
from reconciler.engine.act.guest import GuestActs
from reconciler.engine.act.local import LocalActs
from reconciler.engine.act.preparation import kind_of_check, running
from reconciler.engine.act.replacement import ReplacementActs
from reconciler.engine.act.requests import RequestActs
from reconciler.engine.act.session import SessionActs
from reconciler.engine.act.slot import SlotActs
from reconciler.engine.act.spare import SpareActs
from reconciler.engine.act.task import TaskActs
from reconciler.engine.act.warm import WarmActs
from reconciler.engine.observe.workset import alone
from reconciler.engine.ports import StoredObject
from reconciler.engine.registry import Announce, Change, Kind, StatusUpdate
from reconciler.engine.state.objects import LieutenantItem, with_record
from reconciler.engine.state.slots import LieutenantSlot, vms_in

NAME = lieutenant("", "").kind
TASK_NAME = task("", "").kind
PROFILE_NAME = boot_profile("", "").kind

ON_ITS_MACHINE: TypeAlias = GuestAction | LabelClaim
"""After these only its machine is looked at again."""

ON_THE_WAY_NO_MORE: TypeAlias = WriteFiles | RunStep | RunVerify | ReadBack
"""These change nothing by which the way into its machine goes."""

KNOWN_SECONDS = 2.0
"""What was observed so long ago is observed again before anything else is decided."""


class LieutenantKind(Kind[WorkSet]):
    """Its snapshot: the lieutenant and all its tasks."""

    def __init__(self, context: ActContext) -> None:
        self.t, self._table, self._gatherer = context, context.table, context.gatherer
        self._slot, self._guest, self._local = SlotActs(context), GuestActs(context), LocalActs(context)
        self._spare = SpareActs(context, self._slot)
        self._session, self._task, self._requests = SessionActs(context), TaskActs(context), RequestActs(context)
        self._replacement, self._warm = ReplacementActs(context), WarmActs(context)
        self._govern = GovernActs(context)

    def follow(self, key: Key) -> None:
        item = self._table.lieutenant(key)
        if item is not None:
            self.t.watches.watch(item)

    async def observe(self, key: Key) -> WorkSet:
        """Its books first, where it is not known what of them was written: nothing more may come that is counted."""
        item = self._table.lieutenant(key)
        if item is not None:
            await self._gatherer.budgets.settle(item, self.t.clock.now(), self.t.store.meta)
        return await self._gatherer.work_set(key)

    def plan(self, snapshot: WorkSet) -> Plan:
        return workset.plan(snapshot)

    def after(self, snapshot: WorkSet, step: Step) -> WorkSet | None:
        return afterwards.after(snapshot, step)

    def probing(self, snapshot: WorkSet) -> bool:
        lt = snapshot.lieutenant
        return self.t.settings.health_probes or (lt is not None and bool(lt.slot.snapshots and lt.slot.snapshots.schedule))

    # --- act ------------------------------------------------------------------------------------------------------------------

    def begun(self, snapshot: WorkSet, steps: Sequence[Step]) -> Sequence[Change]:
        """A step or check of the profile that is about to run."""
        item, action = self._table.lieutenant(snapshot.key), steps[0].action
        if item is None or snapshot.lieutenant is None or not isinstance(action, RunStep | RunVerify):
            return ()
        view = at_vm(snapshot.lieutenant) if snapshot.lieutenant.standby is not None else snapshot.lieutenant
        kind, name = kind_of_check(view, action)
        boot, _ = running(view, item.record.boot, kind, name)
        return [(item.key, with_record(item.record.but(boot=boot)))] if boot is not item.record.boot else ()

    async def act(self, snapshot: WorkSet, step: Step) -> WorkSet | None:
        """On the objects as they are now: an act before this one may have written."""
        item, action = self._table.lieutenant(snapshot.key), step.action
        if step.key != snapshot.key:
            found = self._table.task(step.key)
            if found is not None and isinstance(action, TaskAction):
                await self._task.act(item, found, snapshot, action)
            return None
        if item is None or snapshot.lieutenant is None:
            return None
        if isinstance(action, MirrorSession):
            await self._session.act(item, snapshot.lieutenant, action)
            return self._after_saving(snapshot, step) if self._holds(snapshot) else None
        then = await self._act_on_lieutenant(item, snapshot.lieutenant, action)
        if then is not None and not action.then_observe:
            return self._known(snapshot, then, action)
        return await self._looked_into(snapshot, action) if isinstance(action, ON_ITS_MACHINE) else None

    async def _act_on_lieutenant(self, item: LieutenantItem, view: LieutenantView, action: Act) -> LieutenantView | None:
        """Returns the snapshot after it, None when only looking can tell."""
        if isinstance(action, GuestAction):
            return await self._guest.act(item, view, action)
        if isinstance(action, Acknowledge):
            await self._requests.act(item, view, action)
        elif isinstance(action, AbortTurn):
            await self.t.save(item, item.record.but(abort_at=self.t.clock.now()))
            await self._task.s.interrupt(item)
        elif isinstance(action, GovernAction):
            await self._govern.act(item, action)
        elif isinstance(action, SessionAction):
            await self._session.act(item, view, action)
        elif isinstance(action, LocalAction):
            await self._local.act(item, view, action)
        elif isinstance(action, SpareAction):
            await self._spare.act(item, view, action)
        elif isinstance(action, ReplacementAction):
            await self._replacement.act(item, view, action)
        elif isinstance(action, TakeWarm):
            await self._warm.take(item, action)
        elif isinstance(action, SlotAction):
            if isinstance(action, TakeSnapshot):
                await self._guest.before_a_snapshot(item, view, action)
            blueprint = view.rendered if isinstance(view.rendered, Rendered) else None
            await self._slot.act(LieutenantSlot(item), view.slot.vm, blueprint, action)
        return None if action.then_observe else afterwards.after_lieutenant(view, action)

    def _after_saving(self, snapshot: WorkSet, step: Step) -> WorkSet | None:
        """The snapshot with what was read in the store, and in the books."""
        then, item = afterwards.after(snapshot, step), self._table.lieutenant(snapshot.key)
        if then is None or then.lieutenant is None or item is None:
            return then
        return replaced(then, lieutenant=then.lieutenant.but(record=item.record))

    def _holds(self, snapshot: WorkSet) -> bool:
        """After what was read has been saved: nothing was declared meanwhile, it is not old, and there is no more to be read."""
        item, lt = self._table.lieutenant(snapshot.key), snapshot.lieutenant
        return (
            item is not None and lt is not None and self._goes_on(snapshot, item, self.t.clock.now()) and lt.session_seen <= lt.mirror_size
        )

    def _goes_on(self, snapshot: WorkSet, item: LieutenantItem, now: float) -> bool:
        """Nothing was declared since it was observed, and that is not too long ago to go on with it."""
        if now > snapshot.observed_at + KNOWN_SECONDS or item.spec is not snapshot.spec:
            return False
        return item.obj.deleted_at == snapshot.deleted_at

    def _asked(self, lt: LieutenantView, item: LieutenantItem) -> bool:
        """Annotations of it have changed since it was observed."""
        return lt.requests is not None and lt.requests.annotations != item.obj.annotations

    async def _looked_into(self, snapshot: WorkSet, action: ON_ITS_MACHINE) -> WorkSet | None:
        """The snapshot after an act on its machine, which was looked at and into again; None where that does not do."""
        item, lt = self._table.lieutenant(snapshot.key), snapshot.lieutenant
        if item is None or lt is None or not self._goes_on(snapshot, item, self.t.clock.now()) or self._asked(lt, item):
            return None
        if isinstance(action, LabelClaim):
            self.follow(snapshot.key)  # from here on it is a machine of ours
        observed = await self._gatherer.slots.observe_vm(LieutenantSlot(item))
        if not isinstance(observed, Vm) or item is not self._table.lieutenant(snapshot.key):
            return None
        if not self._goes_on(snapshot, item, self.t.clock.now()):
            return None
        return await self._gatherer.inside_again(snapshot, item, observed, isinstance(action, GuestAction))

    def _known(self, snapshot: WorkSet, lt: LieutenantView, action: Act) -> WorkSet | None:
        """The snapshot after this act, with our books as they are now; None when something else changed meanwhile, or when what was
        observed is too old to go on with."""
        item, now = self._table.lieutenant(snapshot.key), self.t.clock.now()
        if item is None or not self._goes_on(snapshot, item, now) or self._asked(lt, item):
            return None
        slot = item.record.slot
        if isinstance(action, Create):
            made = replaced(lt.slot, record=slot, now=now, vm=Seen(VmState.BOOTING, claimed=False), original=None)
            lt = lt.but(record=item.record, now=now, slot=made, guest=None, agent=None, standby=None)
            return replaced(snapshot, now=now, lieutenant=lt) if slot.vm_id else None
        goes_on = GoesOn.NO
        if isinstance(action, GuestAction) and alone(lt):
            goes_on = GoesOn.PREPARED if isinstance(action, ON_THE_WAY_NO_MORE) else GoesOn.INSIDE
        if goes_on and item.record is lt.record:
            lt = lt.inside(now=now)  # the slot's time is taken when it is asked
        else:
            lt = lt.but(record=item.record, now=now, slot=replaced(lt.slot, record=slot, now=now))
        same = snapshot.lieutenant is not None and lt.lt.agent is snapshot.lieutenant.lt.agent
        talk = snapshot.talk if same else afterwards.talk_after(snapshot.talk, lt)
        return replaced(snapshot, now=now, lieutenant=lt, talk=talk, goes_on=goes_on)

    # --- status ---------------------------------------------------------------------------------------------------------------

    def status(self, snapshot: WorkSet, plan: Plan, error: LastError) -> Iterable[StatusUpdate]:
        profiles, decision = self._gatherer.profiles, plan.own
        item = self._table.lieutenant(snapshot.key)
        if item is not None and snapshot.lieutenant is not None and decision is not None:
            active = next((f.key.name for f in snapshot.tasks if f.record.phase in ACTIVE and f.spec.delivery.value == "Queue"), "")
            pending = sum(1 for f in snapshot.tasks if f.record.phase == "Pending")
            convenience = profiles.unsupported(item.key, item.obj.spec)[1]
            convenience += profiles.profile_unsupported(item.key.namespace, item.spec.profile_ref.name)[1]
            status = lieutenant_status(
                snapshot.lieutenant, decision, item.obj.status, item.obj.generation, pending, active, convenience, error
            )
            yield StatusUpdate(item.key, status, decision, Announce.PHASES)
        for key, decided in plan.decisions.items():
            found = self._table.task(key)
            if found is not None:
                convenience = profiles.unsupported(key, found.obj.spec)[1]
                obj = found.obj
                of_task = task_status(found.record, decided, obj.status, obj.generation, snapshot.now, convenience, obj.created_at)
                yield StatusUpdate(key, of_task, decided, Announce.STALLED)

    # --- triggers -------------------------------------------------------------------------------------------------------------

    def affected(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> Iterable[Key]:
        """A task's dependents, the lieutenants that wait for a VM which this one has no more, and those whose profile changed."""
        if key.kind == TASK_NAME:
            dependents = (self._table.task(dependent) for dependent in self._table.dependents_of(key))
            yield from (self._table.reconcile_key(found.key) for found in dependents if found is not None and not found.record.finished)
        if key.kind in (NAME, MACHINE):
            yield from (fork for fork in self._table.forks_of(key) if self._waits_for_its_copy(fork))
            yield from {source for obj in (before, after) if (source := source_of(obj)) is not None}
            yield from self._adopters_freed(before) if self._table.adopting() else ()
        if key.kind == NAME:
            if any(not waiting.record.finished for waiting in self._table.tasks_of(key)):
                yield key
        elif key.kind == PROFILE_NAME:
            yield from (item.key for item in self._table.of_kind(NAME) if item.key.namespace == key.namespace)

    def _waits_for_its_copy(self, fork: Key) -> bool:
        item = self._table.lieutenant(fork)
        return item is not None and not item.record.slot.vm_id and not item.record.slot.branch.vm_id

    def _adopters_freed(self, before: StoredObject | None) -> Iterable[Key]:
        for vm_id in vms_in(before.record) if before is not None else ():
            if vm_id and self._table.owner_of(vm_id) is None:
                yield from self._table.adopters_of(vm_id)

    def platform_changed(self) -> Iterable[Key]:
        return (item.key for item in self._table.of_kind(NAME))

    def forget(self, key: Key) -> None:
        self._gatherer.profiles.forget(key)
        self._gatherer.providers.forget(key)


def source_of(obj: StoredObject | None) -> Key | None:
    """What this one is to be a live copy of; None for none, or once the copy was made."""
    if obj is None or not obj.spec.get("fork") or as_map(as_map(obj.record.get("slot")).get("branch")).get("vm_id"):
        return None
    return source_key(obj.key.namespace, as_map(as_map(obj.spec.get("fork")).get("from")))
