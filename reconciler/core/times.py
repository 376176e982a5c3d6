"""Times as documents have them: RFC 3339, written in UTC, read from any time zone."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_FIRST, _LAST = -62135596800.0, 253402300799.0
"""The years 1 to 9999, all that the notation has."""


def timestamp(at: float) -> str:
    """RFC 3339, UTC, whole seconds, as Kubernetes writes it."""
    return _moment(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def timestamp_ms(at: float) -> str:
    """RFC 3339, UTC, with milliseconds."""
    return _moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def timestamp_us(at: float) -> str:
    """RFC 3339, UTC, with microseconds (`MicroTime` in Kubernetes)."""
    return _moment(at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(text: object) -> float | None:
    """RFC 3339 → seconds since the epoch; without a time zone UTC is meant. None when it is no time."""
    if not isinstance(text, str) or not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def http_date(value: str | None) -> float | None:
    """A Date header → seconds since the epoch, None when it is missing, unreadable or out of range."""
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        return moment.timestamp() if moment.tzinfo is not None else None  # without a zone it may be anybody's time
    except (ValueError, OverflowError, TypeError, IndexError):  # whatever the library's reader makes of odd words and large numbers
        return None


def _moment(at: float) -> datetime:
    """The nearest that can be written: a peer may tell any number."""
    return datetime.fromtimestamp(min(max(at, _FIRST), _LAST) if not math.isnan(at) else 0.0, UTC)
