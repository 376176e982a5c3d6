"""The status of a BootProfile."""

from __future__ import annotations

from typing import Annotated, Literal

from reconciler.api.status.base import AtMost, Count, Id, Section, Status, Time, section
from reconciler.api.status.lieutenant import SlotCreate

CREATES = 64
"""Creates that are told of."""


@section
class BakeStatus(Section):
    """What came of baking it."""

    state: Literal["None", "Baking", "Baked"] = "None"
    """`Baked`: machines of the profile as it is now begin with `commit`; else they are made without."""
    commit: Id | None = None
    """The newest commit that was baked, maybe of an earlier revision."""
    at: Time | None = None
    """When it was."""
    kept: Count = 0
    """How many commits there are."""
    warm: Count = 0
    """How many machines are kept ready, suspended, for the next lieutenants."""
    warming: Count = 0
    """How many more are being made ready."""
    creates: Annotated[tuple[SlotCreate, ...], AtMost(CREATES)] | None = None
    """Creates of its machines that may be on their way."""


@section
class BootProfileStatus(Status):
    """Whether a profile can be used; written by the controller."""

    bake: BakeStatus | None = None
    """Its baked machine, where `bake` is enabled."""
