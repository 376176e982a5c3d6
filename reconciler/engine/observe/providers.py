"""The providers of the agents' models, as far as their prompts told of them: a breaker for each provider and key."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from reconciler.core.keys import Key
from reconciler.core.lieutenant.fallback import Candidate, as_declared, choose, fallback_of, next_due, refused_by_pi, with_use
from reconciler.core.lieutenant.provider import in_force, missing_key, provider_of
from reconciler.core.provider.breaker import CLOSED, PROVIDERS, ProviderBreaker, kept
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.provider import NO_PROVIDER, Fallback, Provider
from reconciler.core.snapshot.rendered import Rendered, Unresolved
from reconciler.core.snapshot.stages import Idle
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
        self._several: dict[Key, tuple[Rendered, tuple[Provider, ...], dict[int, Rendered]]] = {}

    def of(
        self,
        item: LieutenantItem,
        rendered: Rendered | Unresolved,
        agent: Agent | Unknown | None,
        tasks: list[TaskItem],
        due: float = 0.0,
    ) -> Provider:
        """What the agent's model needs, and whether it works. `due`: when the first of several may be tried, where none answers."""
        if not isinstance(rendered, Rendered):
            return NO_PROVIDER
        told = agent.process.model if isinstance(agent, Agent) and isinstance(agent.process, Up) else ""
        if missing_key(rendered, rendered.model):
            told = ""  # without its key pi has another model, or none: what matters is the one it should have
        made = self._need(item.key, rendered, told or rendered.model)
        wanted = any(task.record.phase == "Pending" and task.spec.delivery.value == "Queue" for task in tasks)
        return self.now(made, wanted, due)

    def in_use(
        self, item: LieutenantItem, rendered: Rendered | Unresolved, agent: Agent | Unknown | None, idle: Idle, now: float
    ) -> tuple[Rendered | Unresolved, Fallback | None, float]:
        """The rendering with the one of its models that is to answer, what is told of that, and when the next of them may be tried."""
        if not isinstance(rendered, Rendered) or not rendered.fallbacks:
            return rendered, None, 0.0
        rendered = self._base(item.key, rendered)
        process = agent.process if isinstance(agent, Agent) and isinstance(agent.process, Up) else None
        pid, has = (process.pid, process.model or "") if process is not None else (0, "")
        candidates = tuple(
            Candidate(use, self.now(needed), refused_by_pi(item.record.config, rendered, place, pid))
            for place, (use, needed) in enumerate(zip(rendered.uses(), self._all(item.key, rendered), strict=True))
        )
        place = choose(candidates, has, idle.sent, bool(idle.wanted), now)
        return self._using(item.key, rendered, place), fallback_of(candidates, place), next_due(candidates)

    def _base(self, key: Key, rendered: Rendered) -> Rendered:
        """As it was declared, where this is a rendering with another one of its models."""
        known = self._several.get(key)
        if known is not None and any(made is rendered for made in known[2].values()):
            return known[0]
        return as_declared(rendered)

    def _all(self, key: Key, rendered: Rendered) -> tuple[Provider, ...]:
        """What each of its models needs; made once from each rendering."""
        known = self._several.get(key)
        if known is None or known[0] is not rendered:
            needed = tuple(provider_of(rendered, use.model, str(key)) for use in rendered.uses())
            known = self._several[key] = (rendered, needed, {})
        return known[1]

    def _using(self, key: Key, rendered: Rendered, place: int) -> Rendered:
        """The rendering with this one of its models; one and the same each time."""
        made = self._several[key][2]
        return made.setdefault(place, with_use(rendered, place))

    def _need(self, key: Key, rendered: Rendered, model: str) -> Provider:
        """Which provider and key; made once from each rendering."""
        known = self._needs.get(key)
        if known is None or known[0] is not rendered or known[1] != model:
            known = self._needs[key] = (rendered, model, provider_of(rendered, model, str(key)))
        return known[2]

    def forget(self, key: Key) -> None:
        """The lieutenant is gone."""
        self._needs.pop(key, None)
        self._several.pop(key, None)

    def now(self, provider: Provider, wanted: bool = False, due: float = 0.0) -> Provider:
        """The same with its breaker as it is now. `provider`: as it is made, with none."""
        breaker = in_force(self.breakers, provider) if self.breakers else CLOSED
        if provider.breaker.certain:
            breaker = provider.breaker
        if breaker is CLOSED and not wanted and not due:
            return provider
        return replace(provider, breaker=breaker, probing=self.probing(breaker), wanted=wanted, due=due)

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
        several = self._several.items()
        sharing += [key for key, (_, needs, _) in several if any(scope in (one.scope, one.model_scope) for one in needs)]
        for key in dict.fromkeys(sharing):
            for listener in tuple(self.on_change):
                listener(key)

    def open_by_name(self) -> dict[str, int]:
        """Of the providers that agents here need, how many breakers are open for each: 0 where all is well."""
        found: dict[str, set[str]] = {}
        for _, _, needed in self._needs.values():
            name = needed.name if _NAME.fullmatch(needed.name) else OTHER
            found.setdefault(name, set()).update({needed.scope, needed.model_scope} & self.breakers.keys())
        return {name: len(scopes) for name, scopes in found.items()}
