"""The conditions that status may have, by kind; whoever waits for another one waits for ever."""

from __future__ import annotations

from collections.abc import Mapping

EVERYWHERE = frozenset({"Ready", "Reconciling", "Stalled", "Unsupported", "PruneBlocked", "DeclarationInvalid"})
CONDITIONS = EVERYWHERE | {
    *("Available", "VMReady", "AgentReachable", "AgentConfigured", "UpToDate", "Suspended", "ProfilePartlyApplied", "WorkspaceLost"),
    *("Forked", "SecretsUnread", "SnapshotsFailing", "OutputDrift"),
}
"""Of any kind."""
CONDITIONS_OF: Mapping[str, frozenset[str]] = {
    "Lieutenant": CONDITIONS,
    "VMTree": EVERYWHERE,
    "BootProfile": EVERYWHERE,
    "Task": EVERYWHERE,
}
