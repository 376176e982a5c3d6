"""OTLP: what the controller does, as OpenTelemetry has it, sent beside the loop. A collector that is slow or dead costs so many spans,
which are counted, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Protocol, TypeVar

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family

from reconciler.engine.ports import Store
from reconciler.engine.supervision import Supervisor
from reconciler.engine.view import EngineView
from reconciler.otel.follow import Follow, Measures
from reconciler.otel.metrics import converted
from reconciler.otel.settings import Wanted
from reconciler.otel.spans import Ids, Spans, Waiting

log = logging.getLogger("reconciler.otel")

T = TypeVar("T")
LAST_SECONDS = 1.5
"""What is still to be told at the end may take so long."""
NAME = "reconciler"


class Kept(EngineView, Protocol):
    """An engine with its store."""

    @property
    def store(self) -> Store: ...


class Otlp:
    """`spans` is what the engine is given to trace by; None when only metrics are wanted. `version`, `instance`: of this program, and what
    tells this process from others."""

    def __init__(self, wanted: Wanted, version: str, instance: str) -> None:
        self._wanted, self._begun = wanted, time.time_ns()
        resource = Resource({"service.version": version, "service.instance.id": instance}).merge(Resource.create())
        if str(resource.attributes["service.name"]).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": NAME}))
        self._resource, self._scope = resource, InstrumentationScope(NAME, version)
        self._waiting, ids = Waiting(wanted.spans), Ids()
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=ids)
        tracers.add_span_processor(self._waiting)
        self._reader = InMemoryMetricReader()
        meters = MeterProvider([self._reader], resource, shutdown_on_exit=False)
        self.follow = Follow(wanted.content)
        made = Spans(tracers.get_tracer(NAME, version), ids, self.follow.linked)
        self.follow.to(made if wanted.traces else None, Measures(meters.get_meter(NAME, version)))
        self.spans = made if wanted.traces else None
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._told: dict[str, bool] = {}

    @asynccontextmanager
    async def exporting(self, families: Callable[[], Iterable[Family]], supervisor: Supervisor) -> AsyncIterator[None]:
        """While it is open what there is to tell is sent. `families`: those of /metrics, read now."""
        tasks: list[asyncio.Task[None]] = []
        spans = OTLPSpanExporter() if self._wanted.traces else None
        metrics = OTLPMetricExporter() if self._wanted.metrics else None
        if spans is not None:
            tasks.append(supervisor.start("trace export", lambda: self._export_spans(spans)))
        if metrics is not None:
            tasks.append(supervisor.start("metric export", lambda: self._export_metrics(metrics, families)))
        tasks.append(supervisor.start("task spans", self.follow.run))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await self.follow.rest()
                    if spans is not None:
                        await self._send_spans(spans)
                    if metrics is not None:
                        await self._send_metrics(metrics, families)

    async def _export_spans(self, exporter: OTLPSpanExporter) -> None:
        while True:
            await asyncio.sleep(self._wanted.span_seconds)
            await self._send_spans(exporter)

    async def _send_spans(self, exporter: OTLPSpanExporter) -> None:
        while some := self._waiting.take(self._wanted.batch):
            came = await in_thread(lambda some=some: exporter.export(some) is SpanExportResult.SUCCESS)  # type: ignore[misc]
            self._outcome("traces", came)
            if not came:  # the exporter has tried as long as it may
                self._waiting.dropped += len(some)
                return

    async def _export_metrics(self, exporter: OTLPMetricExporter, families: Callable[[], Iterable[Family]]) -> None:
        while True:
            await asyncio.sleep(self._wanted.metric_seconds)
            await self._send_metrics(exporter, families)

    async def _send_metrics(self, exporter: OTLPMetricExporter, families: Callable[[], Iterable[Family]]) -> None:
        ours = converted([*families(), *self.families()], self._begun, time.time_ns())
        measured = self._reader.get_metrics_data()
        if measured is not None:  # of two scopes of one name the encoder keeps one
            ours += [metric for one in measured.resource_metrics for scope in one.scope_metrics for metric in scope.metrics]
        data = MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(self._scope, ours, "")], "")])
        self._outcome("metrics", await in_thread(lambda: exporter.export(data) is MetricExportResult.SUCCESS))

    def _outcome(self, signal: str, came: bool) -> None:
        """Told when it changes, counted always."""
        self._outcomes[signal, "ok" if came else "failed"] += 1
        if self._told.get(signal, True) != came:
            self._told[signal] = came
            if came:
                log.warning("OTLP: %s come through again", signal)
            else:
                log.warning("OTLP: %s do not come through: see OTEL_EXPORTER_OTLP_ENDPOINT and the collector; trying again", signal)

    def families(self) -> Iterable[Family]:
        """How the sending does, for /metrics too."""
        exports = CounterMetricFamily("reconciler_otlp_exports", "Exports by OTLP.", labels=["signal", "outcome"])
        for key, count in sorted(self._outcomes.items()):
            exports.add_metric(key, count)
        yield exports
        dropped = CounterMetricFamily("reconciler_otlp_dropped_spans", "Spans that no collector took, or that were too many.")
        dropped.add_metric([], self._waiting.dropped + self.follow.dropped)
        yield dropped
        waiting = GaugeMetricFamily("reconciler_otlp_waiting_spans", "Spans that wait to be exported.")
        waiting.add_metric([], len(self._waiting))
        yield waiting

    def attach(self, engine: Kept) -> None:
        """Follow what this engine does, from now on."""
        self.follow.attach(engine, engine.store, engine.secrets)


async def in_thread(act: Callable[[], T]) -> T:
    """In a thread of its own that keeps no process from ending. The exporters bound what it may take (OTEL_EXPORTER_OTLP_TIMEOUT)."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = act()
        except Exception as error:  # noqa: BLE001  # handed on
            failure = error
        with suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="otlp", daemon=True).start()
    return await done
