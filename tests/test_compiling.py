"""What is compiled before the workers begin is what they look for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compiling import compile_all, is_compiled

HELPER = "VALUE = {value}\n"
TEST = "from helper import VALUE\n\n\ndef test_one() -> None:\n    assert VALUE == {value}\n"
TELLING = """
import sys
import pytest

sys.addaudithook(lambda event, args: event == "compile" and print("compiled", args[1], flush=True))
sys.exit(pytest.main(["-q", "-s", "-p", "no:cacheprovider"]))
"""


def compiled_by_a_run(folder: Path) -> set[str]:
    """Which of the files there pytest compiles for itself."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_") and name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    argv = [sys.executable, "-c", TELLING]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=90, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [Path(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("compiled ")]
    return {path.name for path in told if path.parent == folder}


def test_what_was_compiled_is_compiled_no_more_until_it_changes(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    paths = [tmp_path / name for name in ("helper.py", "test_it.py")]
    for value in (1, 1000):
        paths[0].write_text(HELPER.format(value=value))
        paths[1].write_text(TEST.format(value=value))
        assert not any(is_compiled(request.config, path) for path in paths)
        compile_all(request.config, paths)
        assert all(is_compiled(request.config, path) for path in paths)
        assert compiled_by_a_run(tmp_path) == set()


def test_a_run_tells_what_nobody_compiled(tmp_path: Path) -> None:
    """So that the test above is none that can't fail."""
    (tmp_path / "helper.py").write_text(HELPER.format(value=1))
    (tmp_path / "test_it.py").write_text(TEST.format(value=1))
    assert compiled_by_a_run(tmp_path) == {"helper.py", "test_it.py"}


def test_a_file_with_an_error_is_left_to_whoever_imports_it(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    paths = [tmp_path / name for name in ("helper.py", "test_it.py", "test_other.py")]
    for path in paths:
        path.write_text("def :\n")
    paths[2].write_text(TEST.format(value=1))
    compile_all(request.config, paths)
    assert [is_compiled(request.config, path) for path in paths] == [False, False, True]
