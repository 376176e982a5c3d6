"""What is written down of the providers of models: that one said no, that one is asked, that it answers."""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.decisions import HoldForProvider
from reconciler.core.keys import Key
from reconciler.core.provider.breaker import CLOSED
from reconciler.core.records import TaskRecord
from reconciler.core.snapshot.provider import Provider
from reconciler.engine.act.context import ActContext
from reconciler.engine.ports import PutMeta
from reconciler.engine.state.objects import LieutenantItem, TaskItem, with_record


class ProviderActs:
    def __init__(self, context: ActContext) -> None:
        self.t = context

    async def hold(
        self, lieutenant: LieutenantItem, task: TaskItem, provider: Provider, action: HoldForProvider, fresh: TaskRecord
    ) -> None:
        """The breaker opens, and the task waits with its attempts as they were; one durable write. `fresh`: the record of one
        that waits again."""
        t, now, old = self.t, self.t.clock.now(), task.record
        error = t.redact(action.error)
        providers = t.gatherer.providers
        scope = provider.model_scope if action.trouble.only_model else provider.scope
        before = providers.breakers.get(scope, CLOSED)
        breaker = before.failed(action.trouble, error, now)
        kept = providers.put(scope, breaker)
        record = fresh.but(message=error, held=old.held + 1)
        words = providers.now(provider).words
        said = t.recorder.event(lieutenant.key, lieutenant.uid, breaker.reason, words, "Warning") if breaker.reason != before.reason else []
        await t.table.update([(task.key, with_record(record))], *kept, *said)

    def may_send(self, provider: Provider) -> bool:
        """As it is now: another lieutenant may have been told no, or be its probe, since this was planned."""
        now = self.t.gatherer.providers.now(provider)
        return not now.breaker.blocks(self.t.clock.now(), now.probing)

    async def sending(self, task: Key, provider: Provider) -> None:
        """A prompt of this task is about to go to it. While it is not known to work, that is the one probe."""
        providers, now = self.t.gatherer.providers, self.t.clock.now()
        kept: list[PutMeta] = []
        for scope in (provider.scope, provider.model_scope):
            if (breaker := providers.breakers.get(scope, CLOSED)).open:
                kept += providers.put(scope, breaker.probe(now, str(task)))
        if kept:
            await self.t.table.update([], kept[-1])

    async def answered(self, lieutenant: LieutenantItem, provider: Provider) -> None:
        """Everybody may send again."""
        kept = [row for scope in (provider.scope, provider.model_scope) for row in self.t.gatherer.providers.put(scope, CLOSED)]
        if kept:
            said = self.t.recorder.event(lieutenant.key, lieutenant.uid, Reason.PROVIDER_ANSWERS, provider.model or provider.name)
            await self.t.table.update([], kept[-1], *said)

    async def asked_for(self, provider: Provider) -> None:
        """A person wants it tried now."""
        providers, now = self.t.gatherer.providers, self.t.clock.now()
        kept = [
            row
            for scope in (provider.scope, provider.model_scope)
            for row in providers.put(scope, providers.breakers.get(scope, CLOSED).asked_for(now))
        ]
        if kept:
            await self.t.table.update([], kept[-1])
