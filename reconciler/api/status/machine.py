"""The status of a machine without an agent."""

from __future__ import annotations

from reconciler.api.status.lieutenant import LieutenantStatus


class MachineStatus(LieutenantStatus):
    """What was observed of it: as of a lieutenant, without what concerns an agent."""
