"""The providers of the agents' models, as far as their prompts told of them: a breaker for each provider and key."""

from __future__ import annotations

import re
from collections.abc import Callable

from reconciler.core.keys import Key
from reconciler.core.lieutenant.provider import in_force, provider_of
from reconciler.core.provider.breaker import CLOSED, PROVIDERS, ProviderBreaker, kept
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.provider import NO_PROVIDER, Provider
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.vm import Unknown
from reconciler.engine.ports import PutMeta
from reconciler.engine.state.objects import LieutenantItem, ObjectTable, TaskItem

OTHER = "other"
"""Stands for a provider with a name of a form that none has: it may be the machine that says it."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Providers:
    """`breakers`: by the scope of a provider; only open ones. `on_change`: told of each lieutenant that may have more to do, or less,
    since a breaker opened, closed, or may be tried sooner."""

    def __init__(self, table: ObjectTable) -> None:
        self.table = table
        self.on_change: list[Callable[[Key], None]] = []
        self.breakers: dict[str, ProviderBreaker] = {}
        self._needs: dict[Key, tuple[Rendered, str, Provider]] = {}

    def of(self, item: LieutenantItem, rendered: Rendered | Unresolved, agent: Agent | Unknown | None, tasks: list[TaskItem]) -> Provider:
        """What the agent's model needs, and whether it works."""
        if not isinstance(rendered, Rendered):
            return NO_PROVIDER
        told = agent.process.model if isinstance(agent, Agent) and isinstance(agent.process, Up) else ""
        made = self._need(item.key, rendered, told or rendered.model)
        wanted = any(task.record.phase == "Pending" and task.spec.delivery.value == "Queue" for task in tasks)
        return self.now(made, wanted)

    def _need(self, key: Key, rendered: Rendered, model: str) -> Provider:
        """Which provider and key; made once from each rendering."""
        known = self._needs.get(key)
        if known is None or known[0] is not rendered or known[1] != model:
            known = self._needs[key] = (rendered, model, provider_of(rendered, model, str(key)))
        return known[2]

    def forget(self, key: Key) -> None:
        """The lieutenant is gone."""
        self._needs.pop(key, None)

    def now(self, provider: Provider, wanted: bool = False) -> Provider:
        """The same with its breaker as it is now."""
        breaker = in_force(self.breakers, provider)
        return Provider(
            scope=provider.scope,
            model_scope=provider.model_scope,
            name=provider.name,
            model=provider.model,
            key=provider.key,
            breaker=breaker,
            probing=self.probing(breaker),
            wanted=wanted,
        )

    def probing(self, breaker: ProviderBreaker) -> bool:
        """The task that is the probe is still with its agent."""
        if not breaker.prober:
            return False
        kind, _, rest = breaker.prober.partition("/")
        namespace, _, name = rest.partition("/")
        found = self.table.task(Key(kind, namespace, name))
        return found is not None and found.record.sent

    def put(self, scope: str, breaker: ProviderBreaker) -> tuple[PutMeta, ...]:
        """The breaker from now on, and what keeps it over a restart of the controller."""
        before = self.breakers.get(scope, CLOSED)
        if before == breaker:
            return ()
        if breaker.open:
            self.breakers[scope] = breaker
        else:
            self.breakers.pop(scope, None)
        if before.reason != breaker.reason or breaker.next_probe < before.next_probe:
            self._tell(scope)
        return (PutMeta(PROVIDERS, kept(self.breakers)),)

    def _tell(self, scope: str) -> None:
        """Whoever shares this provider and key."""
        sharing = [key for key, (_, _, needed) in self._needs.items() if scope in (needed.scope, needed.model_scope)]
        for key in sharing:
            for listener in tuple(self.on_change):
                listener(key)

    def open_by_name(self) -> dict[str, int]:
        """Of the providers that agents here need, how many breakers are open for each: 0 where all is well."""
        found: dict[str, set[str]] = {}
        for _, _, needed in self._needs.values():
            name = needed.name if _NAME.fullmatch(needed.name) else OTHER
            found.setdefault(name, set()).update({needed.scope, needed.model_scope} & self.breakers.keys())
        return {name: len(scopes) for name, scopes in found.items()}
