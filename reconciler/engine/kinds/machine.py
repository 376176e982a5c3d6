"""The machine of a tree's node without an agent as a plug-in: observed and acted on as a lieutenant's machine is."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.core.keys import Key
from reconciler.core.lasterror import LastError
from reconciler.core.lieutenant import spare
from reconciler.core.plan import Plan, is_action
from reconciler.core.snapshot.workset import WorkSet
from reconciler.core.tree import machine
from reconciler.core.tree.places import MACHINE
from reconciler.engine.kinds.lieutenant import PROFILE_NAME, LieutenantKind
from reconciler.engine.ports import StoredObject
from reconciler.engine.registry import StatusUpdate


class MachineKind(LieutenantKind):
    """Its snapshot: a lieutenant's without tasks, of which the stages of the agent are not asked."""

    def plan(self, snapshot: WorkSet) -> Plan:
        if snapshot.lieutenant is None:
            return Plan(snapshot.key)
        decided = machine.plan(snapshot.lieutenant)
        beside = spare.plan(snapshot.lieutenant, not is_action(decided))
        return Plan(snapshot.key, {snapshot.key: spare.together(decided, beside)}, beside=beside)

    def status(self, snapshot: WorkSet, plan: Plan, error: LastError) -> Iterable[StatusUpdate]:
        item = self._table.lieutenant(snapshot.key)
        if item is not None and snapshot.lieutenant is not None and plan.own is not None:
            told = machine.status(snapshot.lieutenant, plan.own, item.obj.status, item.obj.generation, error)
            yield StatusUpdate(item.key, told, plan.own)

    def affected(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> Iterable[Key]:
        if key.kind == PROFILE_NAME:
            yield from (item.key for item in self._table.of_kind(MACHINE) if item.key.namespace == key.namespace)

    def platform_changed(self) -> Iterable[Key]:
        return (item.key for item in self._table.of_kind(MACHINE))
