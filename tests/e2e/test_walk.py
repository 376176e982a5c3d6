"""docs/start.md, typed line by line in one shell, from an empty folder to a reviewed fleet; real machines and real pi."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import image

__all__ = ["image"]  # a fixture, for its skips

pytestmark = [
    pytest.mark.real("pi"),
    pytest.mark.real("bwrap"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("image"),
]

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"^ {4}(\S.*?)(?:\s+# exit code (\d)\b.*)?$", re.MULTILINE)


def script() -> str:
    """The commands of the page, each followed by a check of its exit code: 0, or what a comment behind it says."""
    lines = ["set -u"]
    for number, (command, code) in enumerate(COMMAND.findall((ROOT / "docs" / "start.md").read_text("utf-8"))):
        lines.append(f"echo '$ {number}' >&2")
        lines.append(command)
        lines.append(f'code=$?; [ "$code" = {code or 0} ] || {{ echo "command {number} ended with $code" >&2; exit 1; }}')
    return "\n".join(lines)


@pytest.mark.guarantee("G-41")
def test_the_first_steps_followed_word_by_word(tmp_path: Path) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "reconciler").write_text(f'#!/bin/sh\nexec {sys.executable} -m reconciler "$@"\n')
    (bin_ / "reconciler").chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = somebody\n\temail = somebody@example.com\n")
    env = {
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
        "RECONCILER_STATE": str(tmp_path / "state"),
        "RECONCILER_SETTLE_SECONDS": "3",
        "RECONCILER_RESYNC_SECONDS": "1",
    }
    with (tmp_path / "log").open("w+") as log:
        shell = subprocess.Popen(["bash", "-c", script()], env=env, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
        try:
            code = shell.wait(280)
        finally:
            os.killpg(shell.pid, signal.SIGTERM)  # the simulator that the page starts
        log.seek(0)
        said = log.read()
    assert code == 0, said
    assert "Create" in said
    assert "1 file changed, 1 insertion(+), 1 deletion(-)" in said, "the edit touched one line"
    assert "nothing to do: what is declared is true" in said
