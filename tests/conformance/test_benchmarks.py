"""The benchmarks work, and what they count (never what they time) holds: real engine, client and store over the simulated platform."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import bytecodes, converge, httpcalls, polite, resync
from benchmarks.common import Goal
from benchmarks.fleet import CONCURRENCY, Platform, platform

COUNT = 30


@pytest.fixture
def at() -> Iterator[Platform]:
    with platform(0.0) as running:
        yield running


@pytest.mark.guarantee("G-02", "G-45")
async def test_a_fleet_from_nothing_takes_two_calls_a_lieutenant_and_few_lists(at: Platform, tmp_path: Path) -> None:
    sample = await converge.measure(at, COUNT, tmp_path, calls_for_latency=3)
    assert sample.creates == COUNT
    assert sample.calls - sample.lists == converge.CALLS_EACH * COUNT
    assert sample.most_at_once <= CONCURRENCY


@pytest.mark.guarantee("G-45")
async def test_a_fleet_at_rest_costs_one_list_a_resync_and_nothing_else(at: Platform, tmp_path: Path) -> None:
    sample = await resync.measure(at, COUNT, tmp_path, resync_seconds=0.2)
    assert (sample.gets, sample.changes, sample.writes) == (0, 0, 0)
    assert sample.lists <= 1 + 1 / resync.RESYNCS  # one more may begin while the last one is digested


@pytest.mark.guarantee("G-02")
@pytest.mark.slow
async def test_refused_calls_are_repeated_as_asked_and_no_create_blind(tmp_path: Path) -> None:
    faults = ("new_root:5:before:429", "label:7:before:429", "label:15:before:503")
    with platform(0.0, faults) as at:
        sample = await polite.measure(at, COUNT, tmp_path)
    assert (sample.made, sample.refused, sample.asked) == (COUNT, 3, 1)
    assert sample.waited >= 1
    assert sample.calls - sample.lists == converge.CALLS_EACH * COUNT + 3
    assert sample.most_at_once <= CONCURRENCY


@pytest.mark.slow
async def test_work_is_counted_by_function(tmp_path: Path) -> None:
    found = await bytecodes.counted(2, tmp_path)
    assert {"work_set", "evaluate", "lieutenant_status"} <= {code.co_name for code in found}


@pytest.mark.slow
async def test_every_http_client_makes_its_calls() -> None:
    with httpcalls.server() as url:
        costs = [await httpcalls.measure(client, url, CONCURRENCY) for client in httpcalls.CLIENTS]
    assert min(cost.cpu for cost in costs) > 0
    assert min(cost.over for cost in costs) >= 1.0


def test_the_slope_is_the_exponent() -> None:
    assert converge.slope([(100, 3 * 100**1.5), (1_000, 3 * 1_000**1.5), (10_000, 3 * 10_000**1.5)]) == pytest.approx(1.5)


@pytest.mark.parametrize(("value", "at_least", "met"), [(1.2, False, True), (1.4, False, False), (1.4, True, True), (1.2, True, False)])
def test_a_goal_is_judged_by_its_side(value: float, at_least: bool, met: bool) -> None:
    assert Goal("ratio", value, 1.3, 1.1, at_least).met is met
