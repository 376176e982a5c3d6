"""The engine in Prometheus' terms. Read when asked for; nothing is kept here. No name, id or text of a user is a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from reconciler.engine.loop import Engine
from reconciler.engine.telemetry import BOUNDS, Histogram

Labels = TypeVar("Labels", bound=tuple[str, ...])

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class EngineCollector(Collector):
    """`answered`: the platform's answers by method and status. `leading`: whether this controller may act."""

    def __init__(self, engine: Engine, answered: Callable[[], Mapping[tuple[str, str], int]], leading: Callable[[], bool]) -> None:
        self._engine, self._answered, self._leading = engine, answered, leading

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        engine, telemetry = self._engine, self._engine.effects.telemetry
        yield _gauge("reconciler_info", "The running release.", ["version"], {(metadata.version("reconciler"),): 1})
        yield _gauge("reconciler_leading", "1 while this controller may act.", [], {(): int(self._leading())})
        yield _histograms("reconciler_reconcile_seconds", "Looks at an object until it rests.", ["kind", "outcome"], telemetry.looks)
        yield _histograms("reconciler_effect_seconds", "Calls to platform, machines and store.", ["effect", "outcome"], telemetry.effects)
        yield _gauge("reconciler_queue_depth", "Objects that wait to be looked at.", [], {(): engine.queue.depth()})
        yield _gauge("reconciler_queue_oldest_seconds", "How long the first of them has waited.", [], {(): engine.queue.oldest()})
        yield _counters(
            "reconciler_platform_answers", "Attempts of calls to the platform, by HTTP status.", ["method", "code"], self._answered()
        )
        swallowed = {(name,): count for name, count in engine.swallowed.items()}
        yield _counters("reconciler_swallowed_errors", "Errors after which a look was tried again.", ["error"], swallowed)
        yield _gauge("reconciler_objects", "Declared objects by kind and phase.", ["kind", "phase"], self._objects())
        yield _gauge("reconciler_vms", "VMs of this fleet in the last list, by state.", ["state"], self._vms())
        yield _gauge("reconciler_orphan_vms", "VMs that say they are ours and have no owner here.", [], {(): len(engine.orphans.found)})
        hold = engine.gatherer.hold
        yield _gauge("reconciler_breaker_open", "1 while the platform refuses new VMs.", [], {(): int(bool(hold.breaker.reason))})
        yield _gauge("reconciler_failing_deletes", "VMs whose deletion keeps failing.", [], {(): len(hold.failing_deletes)})
        yield _gauge("reconciler_platform_up", "1 while the platform's list can be read.", [], {(): int(not engine.platform_message)})

    def _objects(self) -> dict[tuple[str, ...], int]:
        table = self._engine.table
        items = (item.obj for key in table.all_keys() if (item := table.get(key)) is not None)
        return dict(Counter((obj.key.kind, str(obj.status.get("phase") or "Pending")) for obj in items))

    def _vms(self) -> dict[tuple[str, ...], int]:
        latest, owned = self._engine.fleet.latest, self._engine.table.owned()
        return dict(Counter((vm.state.value,) for vm in latest.vms.values() if vm.vm_id in owned)) if latest is not None else {}


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
