"""Spans: of every reconciliation, of the external effects in it, and of tasks that ended.

A reconciliation is a trace of its own, with its effects below it and links to the spans of the tasks that are with its agent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from reconciler.core.keys import Key
from reconciler.otel.work import Work

KINDS = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT}
_NS = 1_000_000_000


class Ids(RandomIdGenerator):
    """Random ids, but for spans that are given theirs."""

    def __init__(self) -> None:
        self._given: tuple[int, int] | None = None

    @contextmanager
    def given(self, trace_id: int, span_id: int) -> Iterator[None]:
        """The one span that is started inside has these."""
        self._given = (trace_id, span_id)
        try:
            yield
        finally:
            self._given = None

    def generate_trace_id(self) -> int:
        return self._given[0] if self._given is not None else int(super().generate_trace_id())

    def generate_span_id(self) -> int:
        return self._given[1] if self._given is not None else int(super().generate_span_id())


class Waiting(SpanProcessor):
    """Ended spans that wait to be exported: so many, beyond them the oldest go and are counted. It has no thread."""

    def __init__(self, most: int) -> None:
        self._spans: deque[ReadableSpan] = deque()
        self._most = most
        self.dropped = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        return None

    def on_end(self, span: ReadableSpan) -> None:
        if not span.context.trace_flags.sampled:
            return
        if len(self._spans) >= self._most:
            self._spans.popleft()
            self.dropped += 1
        self._spans.append(span)

    def take(self, most: int) -> list[ReadableSpan]:
        return [self._spans.popleft() for _ in range(min(most, len(self._spans)))]

    def __len__(self) -> int:
        return len(self._spans)

    def shutdown(self) -> None:
        return None

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class Spans:
    """Makes them. `linked`: the spans (trace, span) of the tasks that are with the agent of this key."""

    def __init__(self, tracer: trace.Tracer, ids: Ids, linked: Callable[[Key], Iterable[tuple[int, int]]]) -> None:
        self._tracer, self._ids, self._linked = tracer, ids, linked

    @contextmanager
    def effect(self, name: str) -> Iterator[None]:
        with self._tracer.start_as_current_span(name, kind=SpanKind.CLIENT, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield
            except BaseException as error:
                _failed(span, type(error).__name__)
                raise

    @contextmanager
    def look(self, key: Key) -> Iterator[Callable[[str], None]]:
        attributes = {"reconciler.kind": key.kind, "reconciler.namespace": key.namespace, "reconciler.name": key.name}
        before = set(self._linked(key))
        links = [Link(_context(*one)) for one in sorted(before)]
        with self._tracer.start_as_current_span(f"reconcile {key.kind}", context=Context(), attributes=attributes, links=links) as span:

            def ended(outcome: str) -> None:
                for one in sorted(set(self._linked(key)) - before):  # sent in this very look
                    span.add_link(_context(*one))
                if outcome != "ok":
                    _failed(span, outcome)

            yield ended

    def work(self, work: Work, parent: Context | None = None) -> None:
        """Spans of what is over."""
        with self._ids.given(work.trace_id, work.span_id):
            span = self._tracer.start_span(
                work.name,
                context=parent if parent is not None else Context(),
                kind=KINDS[work.kind],
                attributes=work.attributes,
                start_time=int(work.begun * _NS),
            )
        for at, name, attributes in work.notes:
            span.add_event(name, attributes, int(at * _NS))
        if work.error:
            span.set_status(Status(StatusCode.ERROR, work.error))
        inside = trace.set_span_in_context(span, Context())
        for one in work.below:
            self.work(one, inside)
        span.end(int(max(work.ended, work.begun) * _NS))


def _failed(span: trace.Span, what: str) -> None:
    """The class of an error alone: its text may hold anything."""
    span.set_attribute("error.type", what)
    span.set_status(Status(StatusCode.ERROR, what))


def _context(trace_id: int, span_id: int) -> SpanContext:
    return NonRecordingSpan(SpanContext(trace_id, span_id, True, TraceFlags(TraceFlags.SAMPLED))).get_span_context()
