"""The fleet's breaker, and back-off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.backoff import delay
from reconciler.core.breaker import FAILED_DELETES, Breaker

CLOSED = Breaker()
OPEN = CLOSED.failed("netlink", 1000.0, 0.0)


def test_closed_it_stops_nobody() -> None:
    assert CLOSED.blocks("a", 0.0) == ""
    assert CLOSED.probe("a") == CLOSED


@pytest.mark.guarantee("G-06")
def test_open_it_stops_everybody_and_says_why() -> None:
    assert OPEN.blocks("a", 1001.0) == "the platform refuses new VMs: netlink"


@pytest.mark.guarantee("G-06")
def test_when_the_time_comes_one_may_try_and_the_others_wait_for_it() -> None:
    due = OPEN.next_probe
    assert OPEN.blocks("a", due) == ""
    probing = OPEN.probe("a")
    assert probing.blocks("a", due) == ""
    assert probing.blocks("b", due) != ""


@pytest.mark.guarantee("G-06")
def test_since_when_it_is_open_stays_and_success_closes_it() -> None:
    again = OPEN.failed("ceph", 2000.0, 0.0)
    assert (again.since, again.failures, again.reason) == (1000.0, 2, "ceph")
    assert again.succeeded() == Breaker()


@pytest.mark.guarantee("G-06")
def test_probes_of_an_hour_are_few() -> None:
    breaker, now, probes = CLOSED, 0.0, 0
    while now < 3600:
        probes += 1
        breaker = breaker.failed("full", now, 0.0)
        now = breaker.next_probe
    assert probes <= 17


@pytest.mark.guarantee("G-06")
def test_creates_wait_while_deletions_pile_up() -> None:
    assert CLOSED.blocks("a", 0.0, FAILED_DELETES) == ""
    assert "deletions keep failing" in CLOSED.blocks("a", 0.0, FAILED_DELETES + 1)


@pytest.mark.guarantee("G-25")
@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_delay_doubles_up_to_its_bound_and_jitter_takes_at_most_half(attempt: int, jitter: float) -> None:
    full = min(2.0 * 2.0 ** min(attempt - 1, 30), 300.0)
    assert full / 2 <= delay(attempt, jitter) <= full


@pytest.mark.guarantee("G-25")
def test_the_delays_of_a_crash_loop() -> None:
    assert [delay(n, 0.0) for n in range(1, 10)] == [2, 4, 8, 16, 32, 64, 128, 256, 300]
