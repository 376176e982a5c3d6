"""The rules of the suite itself: pytest is run on small files, with the suite's own hooks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.promises import LIVE_KEY

ROOT = Path(__file__).parents[2]
CONFTEST = "from tests.promises import pytest_collection_modifyitems, pytest_configure, pytest_sessionfinish, pytest_terminal_summary\n"
INI = "[pytest]\nmarkers = guarantee(id): a promise\naddopts = --strict-markers\n"
SKIPPED = "import pytest\n\n@pytest.mark.skip(reason='no such part here')\ndef test_a():\n    pass\n"
INSIDE = "import pytest\n\ndef test_i():\n    pytest.skip('not on this machine')\n"
GOOD = "import pytest\n\n@pytest.mark.guarantee('G-04')\ndef test_b():\n    assert True\n"
BAD = "import pytest\n\n@pytest.mark.guarantee('G-05')\ndef test_c():\n    assert False\n"
HALF = "import pytest\n\n@pytest.mark.guarantee('G-04')\ndef test_d():\n    assert False\n"
LIVE = "import pytest\n\n@pytest.mark.parametrize('p', ['live'])\ndef test_e(p):\n    pytest.skip('no key')\n"
WRONG = "import pytest\n\n@pytest.mark.guarantee('G-99')\ndef test_f():\n    pass\n"


def run(directory: Path, *files: str, ci: bool, workers: bool = False) -> subprocess.CompletedProcess[str]:
    """pytest on these files, with and without CI set."""
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "pytest.ini").write_text(INI)
    for number, text in enumerate(files):
        (directory / f"test_{number}.py").write_text(text)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_") and name not in ("CI", LIVE_KEY)}
    env |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | ({"CI": "true"} if ci else {})
    parallel = ["-p", "xdist.plugin", "-n", "2"] if workers else []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *parallel]
    return subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("workers", [False, True])
def test_in_ci_a_skip_fails_the_run_and_elsewhere_it_does_not(tmp_path: Path, workers: bool) -> None:
    here = run(tmp_path, SKIPPED, INSIDE, GOOD, ci=False, workers=workers)
    assert here.returncode == 0, here.stdout
    there = run(tmp_path, SKIPPED, INSIDE, GOOD, ci=True, workers=workers)
    assert there.returncode == 1, there.stdout
    assert "2 skipped, and CI is set: in CI nothing is skipped" in there.stdout
    assert "no such part here" in there.stdout
    assert "not on this machine" in there.stdout


def test_the_last_line_is_pytests_own(tmp_path: Path) -> None:
    done = run(tmp_path, GOOD, ci=True)
    assert done.stdout.splitlines()[-1].startswith("1 passed in ")


def test_without_a_key_the_live_platform_is_no_part_of_ci(tmp_path: Path) -> None:
    assert run(tmp_path, LIVE, GOOD, ci=True).returncode == 0
    elsewhere = run(tmp_path, LIVE, GOOD, ci=False)
    assert "1 passed, 1 skipped" in elsewhere.stdout


@pytest.mark.parametrize("workers", [False, True])
def test_a_promise_counts_as_proven_only_when_no_test_of_it_failed(tmp_path: Path, workers: bool) -> None:
    done = run(tmp_path, GOOD, BAD, ci=False, workers=workers)
    assert "guarantees: 1 of " in done.stdout
    assert "guarantees broken: G-05" in done.stdout
    half = run(tmp_path, GOOD, HALF, ci=False, workers=workers)
    assert "guarantees: 0 of " in half.stdout
    assert "guarantees broken: G-04" in half.stdout


def test_a_mark_for_a_promise_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, WRONG, ci=False)
    assert done.returncode not in (0, 5)
    assert "there is no guarantee 'G-99'" in done.stdout + done.stderr
