"""Times as documents have them: RFC 3339, written in UTC, read from any time zone."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(at: float) -> str:
    """RFC 3339, UTC, whole seconds, as Kubernetes writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def timestamp_ms(at: float) -> str:
    """RFC 3339, UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def timestamp_us(at: float) -> str:
    """RFC 3339, UTC, with microseconds (`MicroTime` in Kubernetes)."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(text: object) -> float | None:
    """RFC 3339 → seconds since the epoch; without a time zone UTC is meant. None when it is no time."""
    if not isinstance(text, str) or not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
