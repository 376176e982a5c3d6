"""The window of a budget: sliding, or one that begins anew with the calendar of a time zone. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from reconciler.api.budget import Budget, Calendar


def begins(budget: Budget, now: float) -> float:
    """Since when spending counts (seconds of the epoch)."""
    if budget.calendar is None:
        return now - budget.window_seconds
    return _edge(budget.calendar, budget.time_zone, now, 0)


def ends(budget: Budget, now: float) -> float | None:
    """When it begins anew; None for one that slides."""
    return None if budget.calendar is None else _edge(budget.calendar, budget.time_zone, now, 1)


def _edge(calendar: Calendar, time_zone: str, now: float, ahead: int) -> float:
    """The midnight at which the window began, or with `ahead` 1 the one at which the next begins; on the clock of the zone, so that a
    day may have 23 or 25 hours."""
    zone = UTC if time_zone == "UTC" else ZoneInfo(time_zone)
    day = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    match calendar:
        case Calendar.DAY:
            edge = day + timedelta(days=ahead)
        case Calendar.WEEK:
            edge = day + timedelta(days=7 * ahead - day.weekday())
        case Calendar.MONTH:
            first = day.replace(day=1)
            edge = (first + timedelta(days=32)).replace(day=1) if ahead else first
    return edge.timestamp()
