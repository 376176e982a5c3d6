"""What the checks of `doctor` have in common."""

from __future__ import annotations

from reconciler.errors import ReconcilerError


class Remark(ReconcilerError):
    """Something a check found that does not keep things from working."""
