"""Processes of commands that a warm process forks are nobody's danger."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = """
import os, signal, subprocess
from pathlib import Path
from tests import warm

if __name__ == "__main__":
    stopped = subprocess.Popen(["sleep", "100"])
    os.kill(stopped.pid, signal.SIGSTOP)
    with open(os.devnull, "r+b") as nothing:
        assert warm.start(["version"], dict(os.environ), Path.cwd(), (nothing, nothing, nothing)).wait(60) == 0
    stopped.kill()
    print("still there")
"""


def test_a_command_that_ends_while_another_process_is_stopped_hangs_up_on_no_test() -> None:
    """The kernel sends SIGHUP to a group of processes that becomes an orphan with one of them stopped."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=env, start_new_session=True, capture_output=True, text=True, timeout=90, check=False
    )
    assert (done.returncode, done.stdout) == (0, "still there\n"), done.stderr
