"""The words for people that `status.phase` may have, by kind; whoever waits for another one waits for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

LieutenantPhase = Literal[
    "Pending", "Provisioning", "Starting", "Idle", "Working", "Suspending", "Suspended", "Stalled", "Unreachable", "Unknown", "Terminating"
]
MachinePhase = Literal["Provisioning", "Starting", "Running", "Suspending", "Suspended", "Stalled", "Unreachable", "Unknown", "Terminating"]
"""Of a machine of a tree that has no agent."""
TreePhase = Literal["Pending", "Progressing", "Ready", "Suspended", "Stalled", "Unknown", "Terminating"]
RestingPhase = Literal["Pending", "Ready", "Stalled"]
"""Of what needs no machine of its own."""
TaskPhase = Literal[
    "Pending",
    "Delivering",
    "Running",
    "AwaitingApproval",
    "Verifying",
    "Unknown",
    "Succeeded",
    "Failed",
    "TimedOut",
    "Expired",
    "Cancelled",
]

PHASES: Mapping[str, tuple[str, ...]] = {
    "Lieutenant": get_args(LieutenantPhase),
    "VMTree": get_args(TreePhase),
    "BootProfile": get_args(RestingPhase),
    "Task": get_args(TaskPhase),
}
