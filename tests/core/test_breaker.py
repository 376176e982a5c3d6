"""The fleet's breaker, and back-off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.backoff import delay
from reconciler.core.fleet.breaker import FAILED_DELETES, SILENCE, Breaker

CLOSED = Breaker()
OPEN = CLOSED.failed("netlink", 1000.0)


def test_closed_it_stops_nobody() -> None:
    assert CLOSED.blocks(0.0) == ""
    assert CLOSED.probe(0.0) == CLOSED


@pytest.mark.guarantee("G-06")
def test_open_it_stops_everybody_and_says_why() -> None:
    assert OPEN.blocks(1001.0) == "the platform refuses new VMs: netlink"


@pytest.mark.guarantee("G-06")
def test_when_the_time_comes_one_may_try_and_then_nobody_for_longer() -> None:
    due = OPEN.next_probe
    assert OPEN.blocks(due) == ""
    probing = OPEN.probe(due)
    assert probing.blocks(due) != ""
    assert probing.next_probe - due == 2 * (due - 1000.0)


@pytest.mark.guarantee("G-14")
def test_no_machine_is_given_up_for_a_probe_until_nobody_probes_any_more() -> None:
    due = OPEN.next_probe
    assert CLOSED.doubts(due) == ""
    assert OPEN.doubts(due) == OPEN.doubts(due + SILENCE - 1) == "the platform refuses new VMs: netlink"
    assert OPEN.doubts(due + SILENCE) == ""
    assert CLOSED.doubts(0.0, FAILED_DELETES + 1) != ""


@pytest.mark.guarantee("G-06")
def test_a_probe_that_never_comes_back_keeps_nobody_from_the_next() -> None:
    lost = OPEN.probe(OPEN.next_probe)
    assert lost.blocks(lost.next_probe) == ""


@pytest.mark.guarantee("G-06")
def test_creates_that_were_under_way_when_it_opened_do_not_lengthen_it() -> None:
    again = OPEN.failed("ceph", 1001.0)
    assert (again.since, again.next_probe, again.reason) == (1000.0, OPEN.next_probe, "ceph")
    assert again.succeeded() == Breaker()


@pytest.mark.guarantee("G-06")
def test_an_hour_without_room_costs_twelve_creates_at_most() -> None:
    breaker, creates = CLOSED, 0
    for now in range(3600):
        if not breaker.blocks(now):
            creates += 1
            breaker = breaker.probe(now).failed("full", now)
    assert 8 <= creates <= 12


@pytest.mark.guarantee("G-06")
def test_creates_wait_while_deletions_pile_up() -> None:
    assert CLOSED.blocks(0.0, FAILED_DELETES) == ""
    assert "deletions keep failing" in CLOSED.blocks(0.0, FAILED_DELETES + 1)


@pytest.mark.guarantee("G-25")
@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_delay_doubles_up_to_its_bound_and_jitter_takes_at_most_half(attempt: int, jitter: float) -> None:
    full = min(2.0 * 2.0 ** min(attempt - 1, 30), 300.0)
    assert full / 2 <= delay(attempt, jitter) <= full


@pytest.mark.guarantee("G-25")
def test_the_delays_of_a_crash_loop() -> None:
    assert [delay(n, 0.0) for n in range(1, 10)] == [2, 4, 8, 16, 32, 64, 128, 256, 300]


@pytest.mark.guarantee("G-06")
def test_it_survives_being_written_down_and_what_is_damaged_reads_as_closed() -> None:
    assert Breaker.load(OPEN.dump()) == OPEN
    assert CLOSED.dump() == ""
    assert [
        Breaker.load(text) for text in ("", "{", "[]", "7", '{"reason": "x"}', '{"reason": 1, "since": "a", "probes": 1, "next_probe": 0}')
    ] == [CLOSED] * 6
