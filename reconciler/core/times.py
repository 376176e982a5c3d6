"""Times as documents have them."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(at: float) -> str:
    """RFC 3339, UTC, whole seconds, as Kubernetes writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
