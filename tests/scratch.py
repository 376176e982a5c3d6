"""Temporary files of the tests live in memory: stores, simulated disks and etcd else spend half of a run waiting for the disk.

What the tests prove of a crash is about processes that die, so that nothing is lost by it. `TMPDIR`, where it is set, is respected."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
LEAST_FREE = 2 << 30
"""Bytes; a run has a few hundred megabytes at a time."""


def free_memory() -> int:
    """Bytes that the kernel says are to be had."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 0)


def suits(place: Path) -> bool:
    """Whether there is a file system with room, from which programs can be run (a container's often forbids it)."""
    if not os.access(place, os.W_OK | os.X_OK):
        return False
    found = os.statvfs(place)
    return not found.f_flag & os.ST_NOEXEC and min(found.f_bavail * found.f_frsize, free_memory() // 2) >= LEAST_FREE


def use_memory() -> None:
    """Choose the place for this process and those it starts, the workers of xdist among them."""
    if "TMPDIR" not in os.environ and suits(MEMORY):
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # what was chosen before the variable was set
