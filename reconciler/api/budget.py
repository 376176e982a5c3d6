"""Budgets: how much may be spent, within which window, and what happens then."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reconciler.api.cron import TimeZone
from reconciler.api.meta import Choice, Model, Money

Tokens = Annotated[int, Field(ge=1, le=1_000_000_000_000)]
Percent = Annotated[int, Field(ge=1, le=100)]


class OnExceeded(Choice):
    """What happens when a budget is spent."""

    WARN = "Warn"
    DENY_NEW = "DenyNew"
    ABORT = "Abort"
    SUSPEND = "Suspend"


class Calendar(Choice):
    """A window that begins anew with the calendar."""

    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"


class Budget(Model):
    """Money, tokens and machine hours within a window."""

    max_cost: Money | None = None
    """Most US dollars, as a decimal string."""
    max_tokens: Tokens | None = None
    """Most tokens, in and out."""
    max_machine_hours: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Most hours that machines run, those of several agents added up."""
    window_seconds: Annotated[int, Field(ge=1, le=3_024_000)] = 86_400
    """Length of the sliding window, 35 days at most."""
    calendar: Calendar | None = None
    """Instead of a sliding window one that begins anew at midnight, of every day, every Monday, or every first of the month."""
    time_zone: TimeZone = "UTC"
    """Where it is midnight then."""
    warn_at_percent: Percent = 80
    """When to warn."""
    on_exceeded: OnExceeded = OnExceeded.SUSPEND
    """What happens when it is spent: the escalation warn, steer, abort, suspend ends here."""


class TaskBudget(Model):
    """What one task may cost, all of its attempts together."""

    max_cost: Money | None = None
    """Most US dollars, as a decimal string."""
    max_tokens: Tokens | None = None
    """Most tokens, in and out."""
    warn_at_percent: Percent = 80
    """When to warn."""
