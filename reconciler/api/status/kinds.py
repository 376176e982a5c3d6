"""The status model of each kind."""

from __future__ import annotations

from reconciler.api.status.base import Status
from reconciler.api.status.bootprofile import BootProfileStatus
from reconciler.api.status.lieutenant import LieutenantStatus
from reconciler.api.status.task import TaskStatus
from reconciler.api.status.vmtree import VMTreeStatus

STATUSES: dict[str, type[Status]] = {
    "BootProfile": BootProfileStatus,
    "VMTree": VMTreeStatus,
    "Lieutenant": LieutenantStatus,
    "Task": TaskStatus,
}
"""Kind → the model of its status."""

PLANNED: dict[str, frozenset[str]] = {
    "VMTree": frozenset({"counts", "nodes"}),
}
"""Kind → fields of its status that no part of this release writes. What is below them is not written either."""
