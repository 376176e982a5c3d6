"""Where things are on a machine, unless a profile says otherwise."""

from __future__ import annotations

WORK_DIR = "/root/workspace"
"""Where pi, steps, checks and relative paths begin."""
AGENT_DIR = "/root/.pi/agent"
"""pi's own files."""
