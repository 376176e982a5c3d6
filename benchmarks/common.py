"""What every benchmark needs: interleaved runs, their spread, a table, and a verdict on ratios only.

Absolute numbers say little about another machine; each benchmark therefore measures a floor in the same run and is judged by the ratio.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Of one measured thing over several runs, in the unit measured."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio with a bound: `at_least`, else at most. `stretch` is told, not demanded."""

    name: str
    value: float
    target: float
    stretch: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.at_least else self.value <= self.target


def interleave(cases: Mapping[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Run every case `runs` times in turn (a, b, a, b, …), so that a machine that slows down slows all of them."""
    results: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(runs):
        for name, case in cases.items():
            results[name].append(case())
    return results


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a title: text to the left, numbers to the right."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(head), *cells]) for column in range(len(head))]
    numeric = [bool(rows) and all(isinstance(row[column], int | float) for row in rows) for column in range(len(head))]
    print(f"\n{title}\n")
    for line in [list(head), ["-" * width for width in widths], *cells]:
        print(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(line, widths, numeric, strict=True)
            ).rstrip()
        )


def judge(goals: Sequence[Goal]) -> int:
    """Print each goal and return the exit code: 0 when all targets are met, else 1."""
    rows = [
        (
            goal.name,
            goal.value,
            f"{'≥' if goal.at_least else '≤'} {_text(goal.target)}",
            _text(goal.stretch),
            "met" if goal.met else "MISSED",
        )
        for goal in goals
    ]
    table("Goals", ("ratio", "measured", "target", "stretch", ""), rows)
    sys.stdout.flush()
    return 0 if all(goal.met for goal in goals) else 1


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
