"""How much the suite tries in a run, and by which seed it chooses, so that a run can be repeated.

Hypothesis has three profiles: `quick` (the default), `full` and `soak`; `--hypothesis-profile` names another one. Fault points are a
sample that changes with every run (in CI: with every commit): `FAULT_SEED` repeats one, `FAULT_SHARE` says how many are struck (one
in so many; 1 is all). With `SOAK` set, explorations are wide and chaos is long (`make soak`)."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

T = TypeVar("T")
SEED = "FAULT_SEED"
SHARE = "FAULT_SHARE"
SOAKING = bool(os.environ.get("SOAK"))
"""Whether this run has hours."""
LONGER = 10 if SOAKING else 1
"""Chaos has so many times the rounds, and the time for them."""
DEFAULT_SHARE = 10
EXAMPLES = {"quick": 40, "full": 400, "soak": 5_000}
"""Examples of each property, by profile."""


def register_profiles() -> None:
    """Make the profiles known to Hypothesis and load the quick one; its plugin loads the one that the command line names."""
    for name, examples in EXAMPLES.items():
        settings.register_profile(name, max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
    settings.load_profile("quick")


def choose_seed() -> None:
    """Choose the seed of this run, unless one is given. Workers of xdist inherit it with the environment."""
    os.environ.setdefault(SEED, str(random.SystemRandom().randrange(1_000_000)))


def seed() -> str:
    """The seed of this run."""
    choose_seed()
    return os.environ[SEED]


def share() -> int:
    """One in so many fault points is struck."""
    return int(os.environ.get(SHARE, DEFAULT_SHARE))


def sample(name: str, points: Sequence[T], most: int) -> list[T]:
    """At most so many of these points, chosen by the seed and the name, in their order."""
    if most >= len(points):
        return list(points)
    chosen = random.Random(f"{seed()}/{name}").sample(range(len(points)), most)
    return [points[index] for index in sorted(chosen)]


def one_in(share: int, name: str, points: Sequence[T]) -> list[T]:
    """One in so many of these points, chosen by the seed and the name, in their order; at least one."""
    return sample(name, points, -(-len(points) // share))


# --- hooks, imported by conftest.py -------------------------------------------------------------------------------------------


def pytest_report_header(config: pytest.Config) -> str:
    return f"fault points: {SEED}={seed()} {SHARE}={share()}"


def told_at_the_end(terminalreporter: pytest.TerminalReporter) -> None:
    """With a failure, how the choice is repeated."""
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        terminalreporter.write_line(f"to strike the same fault points again: {SEED}={seed()} {SHARE}={share()}")
