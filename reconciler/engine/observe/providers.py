"""The providers of the agents' models, as far as their prompts told of them: a breaker for each provider and key."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.core.lieutenant.provider import in_force, provider_of
from reconciler.core.provider.breaker import CLOSED, PROVIDERS, ProviderBreaker, kept
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.provider import NO_PROVIDER, Provider
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.vm import Unknown
from reconciler.engine.ports import PutMeta
from reconciler.engine.state.objects import LieutenantItem, ObjectTable, TaskItem


class Providers:
    """`breakers`: by the scope of a provider; only open ones."""

    def __init__(self, table: ObjectTable) -> None:
        self.table = table
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
        if self.breakers.get(scope, CLOSED) == breaker:
            return ()
        if breaker.open:
            self.breakers[scope] = breaker
        else:
            self.breakers.pop(scope, None)
        return (PutMeta(PROVIDERS, kept(self.breakers)),)
