"""The families of /metrics as OTLP has them: the same numbers, read from the same place at the same moment."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)
from prometheus_client.core import Metric as Family
from prometheus_client.samples import Sample

CUMULATIVE = AggregationTemporality.CUMULATIVE


def converted(families: Iterable[Family], begun: int, now: int) -> list[Metric]:
    """`begun`, `now`: nanoseconds since the epoch, of the process's start and of this reading."""
    found = []
    for family in families:
        if family.type == "histogram":
            points = _histograms(family.samples, begun, now)
            if points:
                found.append(Metric(family.name, family.documentation, "s", Histogram(points, CUMULATIVE)))
            continue
        numbers = [NumberDataPoint(dict(one.labels), begun, now, one.value) for one in family.samples]
        if not numbers:
            continue
        unit = "s" if family.name.endswith("_seconds") else "1"
        data = Sum(numbers, CUMULATIVE, is_monotonic=True) if family.type == "counter" else Gauge(numbers)
        found.append(Metric(family.name, family.documentation, unit, data))
    return found


def _histograms(samples: Iterable[Sample], begun: int, now: int) -> list[HistogramDataPoint]:
    """One point for each set of labels; Prometheus counts buckets cumulatively, OTLP each by itself."""
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for one in samples:
        labels = tuple(sorted((name, value) for name, value in one.labels.items() if name != "le"))
        if one.name.endswith("_bucket"):
            buckets.setdefault(labels, []).append((float(one.labels["le"]), one.value))
        elif one.name.endswith("_sum"):
            sums[labels] = one.value
    points = []
    for labels, reached in buckets.items():
        counts = [int(reached[0][1]), *(int(after - before) for (_, before), (_, after) in pairwise(reached))]
        bounds = [bound for bound, _ in reached[:-1]]
        total = sums.get(labels, 0.0)
        # The least and the greatest are not kept; without them the fields, which OTLP has as optional, are left out.
        points.append(HistogramDataPoint(dict(labels), begun, now, sum(counts), total, counts, bounds, None, None))  # type: ignore[arg-type]
    return points
