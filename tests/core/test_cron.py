"""When a schedule falls due, in any time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from reconciler.api.cron import expand
from reconciler.core.cron import next_after


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "then"),
    [
        ("0 * * * *", "UTC", "2026-11-21T08:17", "2026-11-21T09:00"),
        ("@daily", "Europe/Berlin", "2026-11-21T08:17", "2026-11-22T00:00"),
        ("*/5 * * * mon-fri", "UTC", "2026-11-21T08:17", "2026-11-23T00:00"),
        ("10/20 3 * * *", "UTC", "2026-11-21T03:11", "2026-11-21T03:30"),
        ("0 0 * * 7", "UTC", "2026-11-21T08:17", "2026-11-22T00:00"),
    ],
)
def test_the_next_time_is_the_first_one_after(schedule: str, zone: str, after: str, then: str) -> None:
    assert next_after(schedule, zone, at(after, zone)) == at(then, zone)


def test_a_time_that_falls_into_the_hour_that_spring_skips_still_comes_once() -> None:
    due = next_after("30 2 * * *", "Europe/Berlin", at("2026-03-28T12:00", "Europe/Berlin"))
    assert due is not None
    assert at("2026-03-29T01:59", "Europe/Berlin") < due <= at("2026-03-29T03:30", "Europe/Berlin")
    assert next_after("30 2 * * *", "Europe/Berlin", due) == at("2026-03-30T02:30", "Europe/Berlin")


def test_a_time_in_the_hour_that_autumn_repeats_comes_once() -> None:
    first = next_after("30 2 * * *", "Europe/Berlin", at("2026-10-24T12:00", "Europe/Berlin"))
    assert first is not None
    second = next_after("30 2 * * *", "Europe/Berlin", first)
    assert second == at("2026-10-26T02:30", "Europe/Berlin")


def test_a_time_that_never_comes_is_told_as_that() -> None:
    expand("0 0 30 2 *")
    assert next_after("0 0 30 2 *", "UTC", at("2026-11-21T08:17")) is None
