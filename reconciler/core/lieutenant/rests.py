"""How what is remembered of rests changes. Pure."""

from __future__ import annotations

from reconciler.core.records import RestRecord

SHORTEST = 0.001
"""Seconds that a wake took at least, so that one that was measured is told from one that was not."""


def rested(old: RestRecord, reason: str, now: float) -> RestRecord:
    """It rests from now on, or is wanted again."""
    if reason:
        return old.but(reason=reason, since=now, woken_at=0.0)
    return old.but(reason="", since=0.0, woken_at=now, seconds=0.0)


def awake(old: RestRecord, now: float) -> RestRecord:
    """It can work again."""
    return old.but(seconds=max(now - old.woken_at, SHORTEST))
