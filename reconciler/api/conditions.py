"""The conditions that status may have, of every kind; whoever waits for another one waits for ever."""

from __future__ import annotations

CONDITIONS = frozenset(
    {
        *("Ready", "Reconciling", "Stalled", "Unsupported"),
        *("Available", "VMReady", "AgentReachable", "AgentConfigured", "UpToDate", "Suspended", "ProfilePartlyApplied", "WorkspaceLost"),
        *("Forked", "SecretsUnread", "SnapshotsFailing", "OutputDrift", "PruneBlocked"),
    }
)
