"""When a declared schedule falls due: five cron fields in a time zone, which knows of daylight saving. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from reconciler.api.cron import fields_of


@lru_cache(maxsize=4096)
def next_after(schedule: str, time_zone: str, after: float) -> float | None:
    """The first time of this schedule after `after` (seconds of the epoch); None: it never comes, such as on February 30."""
    zone = UTC if time_zone == "UTC" else ZoneInfo(time_zone)
    try:
        return next(CronSim(fields_of(schedule), datetime.fromtimestamp(after, zone))).timestamp()
    except (CronSimError, StopIteration):
        return None
