"""Snapshots of machines: when they are taken, how many are kept, how they are verified."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reconciler.api.cron import Schedule, TimeZone
from reconciler.api.meta import Choice, Model


class VerifySnapshots(Choice):
    """Which snapshots are restored for a look."""

    SAMPLED = "Sampled"
    ALL = "All"
    NONE = "None"


class Snapshots(Model):
    """Verified commits of the machine."""

    schedule: Schedule | None = None
    """When, as five cron fields; unset means none by the clock."""
    time_zone: TimeZone = "UTC"
    """The zone of the schedule, such as `Europe/Berlin`."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 24
    """How many; older ones that we took of it are removed, unless a machine was made from them."""
    verify: VerifySnapshots = VerifySnapshots.SAMPLED
    """Which are restored for a look, on a machine beside that goes again: `Sampled` (one in ten at least), `All`, `None`."""
    before_mutate: bool = False
    """Take one before the machine is replaced or deleted, which waits for it."""
