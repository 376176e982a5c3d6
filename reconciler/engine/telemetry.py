"""What the engine counts and times about itself: plain numbers, read by whoever shows them (`serve/metrics.py`)."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

BOUNDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
"""Upper bounds in seconds of the histograms' buckets; one more, without bound, follows."""


@dataclass(slots=True)
class Histogram:
    """How long something took. `counts`: by bucket, not cumulated; `sum`: seconds in all."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    sum: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        return sum(self.counts)


@dataclass(slots=True)
class Telemetry:
    """`effects`: by name and outcome, `ok` or the error's class. `reconciles`: reconciliations by kind and outcome."""

    effects: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    reconciles: dict[tuple[str, str], Histogram] = field(default_factory=dict)

    def effect(self, name: str, outcome: str, seconds: float) -> None:
        histogram = self.effects.get((name, outcome))
        if histogram is None:
            histogram = self.effects[name, outcome] = Histogram()
        histogram.counts[bisect_left(BOUNDS, seconds)] += 1  # as `add`, without a call: there are many effects
        histogram.sum += seconds

    def reconciled(self, kind: str, outcome: str, seconds: float) -> None:
        histogram = self.reconciles.get((kind, outcome))
        if histogram is None:
            histogram = self.reconciles[kind, outcome] = Histogram()
        histogram.add(seconds)
