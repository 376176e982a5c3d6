"""VMTree as a plug-in. It only reports."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.conditions import resting_status
from reconciler.core.keys import Key
from reconciler.core.lasterror import LastError
from reconciler.core.plan import Plan, Step
from reconciler.core.tree import policies
from reconciler.core.tree.policies import TreeSnapshot
from reconciler.engine.act.context import ActContext
from reconciler.engine.registry import Kind, StatusUpdate


class VMTreeKind(Kind[tuple[Key, TreeSnapshot | None]]):
    """Its snapshot is its key with what was found of it; None: it does not exist."""

    def __init__(self, context: ActContext) -> None:
        self._table, self._clock = context.table, context.clock

    async def observe(self, key: Key) -> tuple[Key, TreeSnapshot | None]:
        item = self._table.get(key)
        if item is None or not isinstance(item.spec, VMTreeSpec):
            return key, None
        return key, TreeSnapshot(len(item.spec.nodes), item.deleting)

    def plan(self, snapshot: tuple[Key, TreeSnapshot | None]) -> Plan:
        key, view = snapshot
        return Plan(key, {} if view is None else {key: policies.plan(view)})

    async def act(self, snapshot: tuple[Key, TreeSnapshot | None], step: Step) -> None:
        raise AssertionError(f"nothing is decided for a tree that could be done: {step}")

    def status(self, snapshot: tuple[Key, TreeSnapshot | None], plan: Plan, error: LastError) -> Iterable[StatusUpdate]:
        item = self._table.get(plan.key)
        if item is not None and plan.own is not None:
            yield StatusUpdate(plan.key, resting_status(plan.own, item.obj.status, item.obj.generation, self._clock.now()), plan.own)
