"""BootProfile as a plug-in: it resolves, or says why not."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.core.conditions import resting_status
from reconciler.core.keys import Key, boot_profile
from reconciler.core.lasterror import LastError
from reconciler.core.plan import Plan, Step
from reconciler.core.profile import resolution
from reconciler.core.profile.rendering import profile_chain
from reconciler.core.profile.resolution import ProfileSnapshot
from reconciler.core.snapshot.rendered import Unresolved
from reconciler.engine.act.context import ActContext
from reconciler.engine.ports import StoredObject
from reconciler.engine.registry import Kind, StatusUpdate

NAME = boot_profile("", "").kind


class BootProfileKind(Kind[tuple[Key, ProfileSnapshot | None]]):
    """Its snapshot is its key with what was found of it; None: it does not exist."""

    def __init__(self, context: ActContext) -> None:
        self._table, self._profiles, self._clock = context.table, context.gatherer.profiles, context.clock

    async def observe(self, key: Key) -> tuple[Key, ProfileSnapshot | None]:
        item = self._table.get(key)
        if item is None:
            return key, None
        chain = profile_chain(key.name, lambda name: self._profiles.profile(key.namespace, name), key.namespace)
        protects, convenience = self._profiles.unsupported(key, item.obj.spec)
        return key, ProfileSnapshot(chain if isinstance(chain, Unresolved) else None, protects, convenience)

    def plan(self, snapshot: tuple[Key, ProfileSnapshot | None]) -> Plan:
        key, view = snapshot
        return Plan(key, {} if view is None else {key: resolution.plan(view)})

    async def act(self, snapshot: tuple[Key, ProfileSnapshot | None], step: Step) -> None:
        raise AssertionError(f"nothing is decided for a boot profile that could be done: {step}")

    def status(self, snapshot: tuple[Key, ProfileSnapshot | None], plan: Plan, error: LastError) -> Iterable[StatusUpdate]:
        item = self._table.get(plan.key)
        if item is not None and plan.own is not None:
            yield StatusUpdate(plan.key, resting_status(plan.own, item.obj.status, item.obj.generation, self._clock.now()), plan.own)

    def affected(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> Iterable[Key]:
        """Profiles that may extend the one that was written."""
        if key.kind == NAME:
            yield from (item.key for item in self._table.of_kind(NAME) if item.key.namespace == key.namespace and item.key != key)
