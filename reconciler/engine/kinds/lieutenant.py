"""Lieutenant with its Tasks as a plug-in: they share one session, so they are one work set with one reconcile key."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.core.decisions import AbortTurn, Acknowledge, GuestAction, LocalAction, SessionAction, SlotAction, TaskAction
from reconciler.core.keys import Key, boot_profile, lieutenant, task
from reconciler.core.lasterror import LastError
from reconciler.core.lieutenant import afterwards, workset
from reconciler.core.lieutenant.status import lieutenant_status
from reconciler.core.plan import Plan, Step
from reconciler.core.records import ACTIVE
from reconciler.core.snapshot.workset import WorkSet
from reconciler.core.task.status import task_status
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.guest import GuestActs
from reconciler.engine.act.local import LocalActs
from reconciler.engine.act.requests import RequestActs
from reconciler.engine.act.session import SessionActs
from reconciler.engine.act.slot import SlotActs
from reconciler.engine.act.task import TaskActs
from reconciler.engine.ports import StoredObject
from reconciler.engine.registry import Announce, Kind, StatusUpdate
from reconciler.engine.state.objects import LieutenantItem

NAME = lieutenant("", "").kind
TASK_NAME = task("", "").kind
PROFILE_NAME = boot_profile("", "").kind


class LieutenantKind(Kind[WorkSet]):
    """Its snapshot: the lieutenant and all its tasks."""

    def __init__(self, context: ActContext) -> None:
        self.t, self._table, self._gatherer = context, context.table, context.gatherer
        self._slot, self._guest, self._local = SlotActs(context), GuestActs(context), LocalActs(context)
        self._session, self._task, self._requests = SessionActs(context), TaskActs(context), RequestActs(context)

    def follow(self, key: Key) -> None:
        item = self._table.lieutenant(key)
        if item is not None:
            self.t.watches.watch(item)

    async def observe(self, key: Key) -> WorkSet:
        return await self._gatherer.work_set(key)

    def plan(self, snapshot: WorkSet) -> Plan:
        return workset.plan(snapshot)

    def after(self, snapshot: WorkSet, step: Step) -> WorkSet | None:
        return afterwards.after(snapshot, step)

    def probing(self, snapshot: WorkSet) -> bool:
        return self.t.settings.health_probes

    # --- act ------------------------------------------------------------------------------------------------------------------

    async def act(self, snapshot: WorkSet, step: Step) -> WorkSet | None:
        """On the objects as they are now: an act before this one may have written."""
        item, action = self._table.lieutenant(snapshot.key), step.action
        if step.key != snapshot.key:
            found = self._table.task(step.key)
            if found is not None and isinstance(action, TaskAction):
                await self._task.act(item, found, snapshot, action)
        elif item is not None and snapshot.lieutenant is not None:
            await self._act_on_lieutenant(item, snapshot, step)
        return None

    async def _act_on_lieutenant(self, item: LieutenantItem, snapshot: WorkSet, step: Step) -> None:
        assert snapshot.lieutenant is not None
        view, action = snapshot.lieutenant, step.action
        if isinstance(action, Acknowledge):
            await self._requests.act(item, view, action)
        elif isinstance(action, AbortTurn):
            await self.t.save(item, item.record.but(abort_at=self.t.clock.now()))
            await self._task.s.interrupt(item)
        elif isinstance(action, SessionAction):
            await self._session.act(item, view, action)
        elif isinstance(action, LocalAction):
            await self._local.act(item, view, action)
        elif isinstance(action, SlotAction):
            await self._slot.act(item, view, action)
        elif isinstance(action, GuestAction):
            await self._guest.act(item, view, action)

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
                status = task_status(found.record, decided, found.obj.status, found.obj.generation, snapshot.now, convenience)
                yield StatusUpdate(key, status, decided, Announce.STALLED)

    # --- triggers -------------------------------------------------------------------------------------------------------------

    def affected(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> Iterable[Key]:
        """A task's dependents, the lieutenants that wait for a VM which this one has no more, and those whose profile changed."""
        if key.kind == TASK_NAME:
            dependents = (self._table.task(dependent) for dependent in self._table.dependents_of(key))
            yield from (self._table.reconcile_key(found.key) for found in dependents if found is not None and not found.record.finished)
        elif key.kind == NAME:
            yield from self._adopters_freed(before)
            if any(not waiting.record.finished for waiting in self._table.tasks_of(key)):
                yield key
        elif key.kind == PROFILE_NAME:
            yield from (item.key for item in self._table.of_kind(NAME) if item.key.namespace == key.namespace)

    def _adopters_freed(self, before: StoredObject | None) -> Iterable[Key]:
        slot = before.record.get("slot") if before is not None else None
        vm_id = str(slot.get("vm_id", "")) if isinstance(slot, dict) else ""
        if vm_id and self._table.owner_of(vm_id) is None:
            yield from self._table.adopters_of(vm_id)

    def platform_changed(self) -> Iterable[Key]:
        return (item.key for item in self._table.of_kind(NAME))

    def forget(self, key: Key) -> None:
        self._gatherer.profiles.forget(key)
