"""Follows the objects of an engine: which tasks are with which agent, and which have just ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from opentelemetry.metrics import Meter

from reconciler.core.conversation import parse
from reconciler.core.keys import Key, as_map
from reconciler.core.keys import lieutenant as lieutenant_key
from reconciler.core.messages import Message
from reconciler.core.records import TaskRecord, run_of
from reconciler.engine.ports import Secrets, Store, StoredObject
from reconciler.engine.redaction import redact
from reconciler.engine.subscriptions import Unsubscribe
from reconciler.engine.view import EngineView
from reconciler.errors import ReconcilerError
from reconciler.otel.spans import Spans
from reconciler.otel.work import Agent, Value, Work, ids_of, work_of

ENDED = 1000
"""Tasks that ended and whose spans are still to be made, at most."""
READ = 4 << 20
"""Bytes of a conversation that are read for one task; of a longer turn there is no span below that of the task."""
SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


class Measures:
    """The histograms of the GenAI conventions."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, what: str) -> Callable[[float, dict[str, Value]], None]:
            return meter.create_histogram(name, "s", what, explicit_bucket_boundaries_advisory=SECONDS).record

        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens of model calls.", explicit_bucket_boundaries_advisory=TOKENS
        ).record
        self._call = seconds("gen_ai.client.operation.duration", "Model calls.")
        self._agent = seconds("gen_ai.invoke_agent.duration", "Tasks, from their delivery to their end.")
        self._tool = seconds("gen_ai.execute_tool.duration", "Tool calls.")

    def of(self, work: Work) -> None:
        """Of a task and all below it. No id and no name of a user's object is an attribute."""
        kept = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.tool.name", "error.type")
        attributes: dict[str, Value] = {name: work.attributes[name] for name in kept if name in work.attributes}
        operation, took = attributes["gen_ai.operation.name"], max(work.ended - work.begun, 0.0)
        {"chat": self._call, "invoke_agent": self._agent, "execute_tool": self._tool}[str(operation)](took, attributes)
        if operation == "chat":
            for kind in ("input", "output"):
                self._tokens(int(str(work.attributes[f"gen_ai.usage.{kind}_tokens"])), {**attributes, "gen_ai.token.type": kind})
        for one in work.below:
            self.of(one)


class Follow:
    """`content`: whether what was said is told. `dropped`: tasks of which nothing is told, because too many ended at once."""

    def __init__(self, content: bool) -> None:
        self._content = content
        self._spans: Spans | None = None
        self._measures: Measures | None = None
        self._with: dict[Key, dict[Key, str]] = {}
        self._ended: deque[StoredObject] = deque()
        self._more = asyncio.Event()
        self._engine: EngineView | None = None
        self._store: Store | None = None
        self._secrets: Secrets | None = None
        self._unsubscribe: Unsubscribe = lambda: None
        self.dropped = 0

    def to(self, spans: Spans | None, measures: Measures) -> None:
        """Where it goes."""
        self._spans, self._measures = spans, measures

    def attach(self, engine: EngineView, store: Store, secrets: Secrets) -> None:
        """Another engine takes the place of the one before."""
        self._unsubscribe()
        self._with.clear()
        self._engine, self._store, self._secrets = engine, store, secrets
        for key in engine.table.all_keys():
            if (item := engine.table.get(key)) is not None:
                self._changed(key, None, item.obj)
        self._unsubscribe = engine.subscribe(changes=self._changed)

    def linked(self, key: Key) -> Iterable[tuple[int, int]]:
        """The spans of the tasks that are with this agent, or of the task itself."""
        return [ids_of(uid) for uid in self._with.get(key, {}).values()]

    def _changed(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
        if key.kind != "Task":
            return
        agent = agent_of(after or before)
        running = after is not None and bool(after.record.get("delivering_at")) and not after.record.get("finished_at")
        if running and after is not None:
            self._with.setdefault(agent, {})[key] = after.uid
        elif agent in self._with:
            self._with[agent].pop(key, None)
            if not self._with[agent]:
                del self._with[agent]
        if after is not None and before is not None and _told(after) and not _told(before):
            if len(self._ended) >= ENDED:
                self._ended.popleft()
                self.dropped += 1
            self._ended.append(after)
            self._more.set()

    async def run(self) -> None:
        """Make the spans of what ended, for ever."""
        while True:
            await self._more.wait()
            self._more.clear()
            await self.rest()

    async def rest(self) -> None:
        """Of what has ended until now."""
        while self._ended:
            task = self._ended.popleft()
            work = work_of(task, self._agent(task), await self._turn(task), self._content_of() if self._content else None)
            if self._spans is not None:
                self._spans.work(work)
            if self._measures is not None:
                self._measures.of(work)

    def _content_of(self) -> Callable[[str], str]:
        secrets = self._secrets
        return lambda text: redact(text, secrets) if secrets is not None else ""

    def _agent(self, task: StoredObject) -> Agent:
        key = agent_of(task)
        item = self._engine.table.get(key) if self._engine is not None else None
        if item is None:
            return Agent(key, "")
        model = as_map(item.obj.status.get("agent")).get("model")
        return Agent(key, item.uid, model if isinstance(model, str) else "")

    async def _turn(self, task: StoredObject) -> tuple[Message, ...]:
        """What was said in its last attempt, from the mirror in the store."""
        record = TaskRecord.load(task.record)
        size = record.span_end - record.landed
        if self._store is None or not record.session or record.landed < 0 or not 0 < size <= READ:
            return ()
        try:
            data = await self._store.session(record.session, record.landed, size)
        except ReconcilerError:
            return ()
        messages, _ = parse(data, record.landed)
        return run_of(messages, record.landed, record.span_end)


def agent_of(task: StoredObject | None) -> Key:
    """Whose task it is."""
    assert task is not None
    name = as_map(task.spec.get("lieutenantRef")).get("name")
    return lieutenant_key(task.key.namespace, str(name or ""))


def _told(task: StoredObject) -> bool:
    """Its result is written down."""
    return bool(task.status.get("finishedAt"))
