"""The status of a BootProfile."""

from __future__ import annotations

from reconciler.api.status.base import Status, section


@section
class BootProfileStatus(Status):
    """Whether a profile can be used; written by the controller."""
