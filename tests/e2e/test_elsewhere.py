"""The suite passes however it is started: without a terminal, under `nohup`, with another umask, locale and time zone, from a path with
a blank."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", "build", "node_modules", ".*_cache", ".hypothesis")
PARTS = (
    "tests/test_children.py",
    "tests/simulator/test_simulator_gateway.py",
    "tests/simulator/test_simulator_service.py",
    "tests/sources/test_unreadable.py",
    "tests/sources/test_watching.py",
    "tests/sources/test_secrets.py",
    "tests/cli/test_cli_edit_form.py",
    "tests/agent/test_keeper.py",
    "tests/core/test_cron.py",
    "tests/core/test_spending.py",
)
"""Of what starts programs, makes files, reads clocks or judges permissions, what takes seconds."""
SCRIPT = 'umask 077; exec nohup setsid -w "$@" < /dev/null'


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_part_of_the_suite_passes_as_a_service_in_an_odd_place_would_run_it(tmp_path: Path) -> None:
    place = tmp_path / "a path" / "check out"
    shutil.copytree(ROOT, place, ignore=LEFT_OUT, symlinks=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "LC_"))}
    env = {**inherited, "PYTHONPATH": str(place), "LC_ALL": "C", "TZ": "Pacific/Kiritimati"}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", "-m", "not slow", *PARTS]
    done = subprocess.run(
        ["sh", "-c", SCRIPT, "sh", *command], cwd=place, env=env, capture_output=True, text=True, timeout=850, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    assert " passed" in done.stdout
