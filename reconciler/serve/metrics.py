"""The controller in Prometheus' terms. Read when asked for; nothing is kept here. No name, id or text of a user is a label,
but for the names of models' providers and of sinks for notices."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from reconciler.core.attention import attention_of, attention_of_repository
from reconciler.engine.outbox import Figures
from reconciler.engine.supervision import Supervisor
from reconciler.engine.telemetry import BOUNDS, Histogram
from reconciler.engine.view import EngineView

Labels = TypeVar("Labels", bound=tuple[str, ...])

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NOTICES = ("delivered", "failed", "refused", "dropped")


Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


@dataclass(frozen=True, slots=True)
class Front:
    """How the way to a cluster does. `writes`: of statuses; `failing`: objects that could not be taken in or told of; `swallowed`:
    errors after which it was tried again, by name; `lost`: events that nobody will see, by cause; `watching`: False when only a new
    process will hear of changes again."""

    writes: int
    failing: int
    watch_restarts: int
    reconcile_errors: Mapping[str, int]
    lost: Mapping[str, int]
    watching: bool = True


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers come from, asked at each scrape. `engine`: None while there is none, which leaves what is true without one;
    `answered`: the platform's answers by method and status; `leading`: whether this controller may act; `front`: None without a cluster;
    `source_errors`: failures to follow declarations, by class; `following`: False while they are not followed; `supervisor`: of what
    runs in the background; `more`: families of others; `now`: seconds since the epoch."""

    engine: Callable[[], EngineView | None]
    answered: Callable[[], Mapping[tuple[str, str], int]]
    leading: Callable[[], bool]
    front: Callable[[], Front | None] = lambda: None
    source_errors: Callable[[], Mapping[str, int]] = dict
    following: Callable[[], bool] = lambda: True
    supervisor: Supervisor = field(default_factory=Supervisor)
    more: Callable[[], Iterable[Metric]] = tuple
    now: Callable[[], float] = time.time


class ControllerCollector(Collector):
    """One process, whether it acts or stands by."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        engine, front = self._sources.engine(), self._sources.front()
        yield _gauge("reconciler_info", "The running release.", ["version"], {(metadata.version("reconciler"),): 1})
        yield _gauge("reconciler_leading", "1 while this controller may act.", [], {(): int(self._sources.leading())})
        if engine is not None:
            yield from _of_engine(engine, self._sources.answered())
            yield from _of_people(engine, self._sources.now())
        failures = _single(self._sources.source_errors())
        yield _counters("reconciler_source_errors", "Failures to follow declarations, tried again.", ["error"], failures)
        supervisor = self._sources.supervisor
        ended = _single(supervisor.restarts)
        yield _counters("reconciler_background_restarts", "Background tasks that ended and began anew.", ["task"], ended)
        down = {(label,): int(label in supervisor.down()) for label in supervisor.labels()}
        yield _gauge("reconciler_background_down", "1 while a background task waits for its next beginning.", ["task"], down)
        yield from self._sources.more()
        if front is not None:
            yield from _of_front(front)


def _of_engine(engine: EngineView, answered: Mapping[tuple[str, str], int]) -> Iterator[Family]:
    telemetry, queue, fleet = engine.telemetry, engine.queue_state(), engine.fleet_state()
    yield _histograms("reconciler_reconcile_seconds", "Looks at an object until it rests.", ["kind", "outcome"], telemetry.reconciles)
    yield _histograms("reconciler_effect_seconds", "Calls to platform, machines and store.", ["effect", "outcome"], telemetry.effects)
    yield _gauge("reconciler_queue_depth", "Objects that wait to be looked at.", [], {(): queue.depth})
    yield _gauge("reconciler_queue_oldest_seconds", "How long the first of them has waited.", [], {(): queue.oldest})
    yield _counters("reconciler_platform_answers", "Attempts of calls to the platform, by HTTP status.", ["method", "code"], answered)
    yield _counters(
        "reconciler_swallowed_errors", "Errors after which a look was tried again.", ["error"], _single(engine.reconcile_errors)
    )
    yield _gauge("reconciler_objects", "Declared objects by kind and phase.", ["kind", "phase"], _objects(engine))
    yield _gauge(
        "reconciler_vms",
        "VMs of this fleet in the last list, by state.",
        ["state"],
        {(state,): number for state, number in fleet.vms.items()},
    )
    yield _gauge("reconciler_orphan_vms", "VMs that say they are ours and have no owner here.", [], {(): len(fleet.orphans)})
    yield _gauge("reconciler_breaker_open", "1 while the platform refuses new VMs.", [], {(): int(bool(fleet.breaker))})
    yield _gauge(
        "reconciler_provider_breakers_open",
        "Keys and models of a model provider that takes no prompts now.",
        ["provider"],
        _single(fleet.providers),
    )
    yield _gauge("reconciler_halted", "1 while the fleet is halted: nothing is created or delivered.", [], {(): int(bool(fleet.halted))})
    yield _gauge("reconciler_failing_deletes", "VMs whose deletion keeps failing.", [], {(): fleet.failing_deletes})
    yield _gauge("reconciler_spent_us_dollars", "What all agents spent in the last 40 days.", [], {(): float(fleet.spent.cost)})
    yield _gauge("reconciler_spent_tokens", "Tokens of all agents in the last 40 days.", [], {(): fleet.spent.tokens})
    yield _gauge("reconciler_cost_unknown_tokens", "Those of which nobody knows the cost.", [], {(): fleet.spent.unpriced})
    notices = engine.notices()
    if notices:
        yield from _of_notices(notices)
    yield _gauge("reconciler_platform_up", "1 while the platform's list can be read.", [], {(): int(not fleet.platform)})


def _of_people(engine: EngineView, now: float) -> Iterator[Family]:
    """What `reconciler get attention` lists."""
    ages: dict[tuple[str, str], list[float]] = {}
    items = (engine.table.get(key) for key in engine.table.all_keys())
    of_repositories = map(attention_of_repository, engine.declarations.prunes.repositories.values())
    found = [*(attention_of(item.obj.status) for item in items if item is not None), *(one[1] for one in of_repositories if one)]
    for needed in found:
        if needed is not None:
            ages.setdefault((needed.sort, needed.reason), []).append(needed.age(now))
    labels, text = ["sort", "reason"], "What waits for a person: questions, blocks and failures"
    yield _gauge("reconciler_attention", f"{text}.", labels, {of: len(found) for of, found in ages.items()})
    yield _gauge(
        "reconciler_attention_oldest_seconds", f"{text}: age of the oldest.", labels, {of: max(found) for of, found in ages.items()}
    )


def _of_notices(notices: Mapping[str, Figures]) -> Iterator[Family]:
    by_outcome = {(sink, outcome): found.counts.get(outcome, 0) for sink, found in notices.items() for outcome in NOTICES}
    yield _counters(
        "reconciler_notices", "Notices by sink and what became of them; failed ones are tries.", ["sink", "outcome"], by_outcome
    )
    waiting = {(sink,): found.waiting for sink, found in notices.items()}
    yield _gauge("reconciler_notices_waiting", "Notices that wait for their sink.", ["sink"], waiting)
    oldest = {(sink,): found.oldest for sink, found in notices.items()}
    yield _gauge("reconciler_notices_oldest_seconds", "How long the first of them has waited.", ["sink"], oldest)


def _of_front(front: Front) -> Iterator[Family]:
    yield _counters("reconciler_cluster_status_writes", "Statuses written to the cluster.", [], {(): front.writes})
    yield _gauge("reconciler_cluster_failing_objects", "Objects that can't be taken in or told of now.", [], {(): front.failing})
    yield _counters("reconciler_cluster_watch_restarts", "Times the watch had to begin anew.", [], {(): front.watch_restarts})
    yield _counters(
        "reconciler_cluster_swallowed_errors", "Errors at the cluster, tried again.", ["error"], _single(front.reconcile_errors)
    )
    yield _counters("reconciler_cluster_lost_events", "Kubernetes Events that were not posted.", ["cause"], _single(front.lost))


def _single(counts: Mapping[str, int]) -> dict[tuple[str], int]:
    return {(name,): count for name, count in counts.items()}


def _objects(engine: EngineView) -> dict[tuple[str, ...], int]:
    items = (item.obj for key in engine.table.all_keys() if (item := engine.table.get(key)) is not None)
    return dict(Counter((obj.key.kind, str(obj.status.get("phase") or "Pending")) for obj in items))


def exposition(collector: Collector) -> bytes:
    """The text that Prometheus scrapes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)


def _gauge(name: str, text: str, labels: list[str], values: Mapping[Labels, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _counters(name: str, text: str, labels: list[str], values: Mapping[Labels, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _histograms(name: str, text: str, labels: list[str], values: Mapping[Labels, Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, histogram in sorted(values.items()):
        reached, buckets = 0, []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), histogram.counts, strict=True):
            reached += count
            buckets.append((bound, float(reached)))
        family.add_metric(key, buckets, histogram.sum)
    return family
