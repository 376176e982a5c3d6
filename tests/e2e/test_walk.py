"""The README's first fleet and then docs/start.md, typed line by line in one shell, from an empty folder to a reviewed fleet; real
machines and real pi. Somebody does so on a new machine: with an empty home, where git does not know who commits."""

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
    """The commands of both pages, each followed by a check of its exit code: 0, or what a comment behind it says. After those of the README
    the fleet is made, too; then another folder is entered."""
    readme = (ROOT / "README.md").read_text("utf-8").partition("## Begin a fleet of your own\n")[2].partition("\n## ")[0]
    first = [*COMMAND.findall(readme), ("reconciler run --once", ""), ("cd ../../start", "")]
    lines = ["set -u", "mkdir readme start && cd readme"]
    for number, (command, code) in enumerate([*first, *COMMAND.findall((ROOT / "docs" / "start.md").read_text("utf-8"))]):
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
    env = {
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
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
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=tmp_path / "start" / "fleet", capture_output=True, text=True, check=True
    ).stdout
    assert code == 0, said
    assert "Create" in said
    assert "1 file changed, 1 insertion(+), 1 deletion(-)" in said, "the edit touched one line"
    assert "nothing to do: what is declared is true" in said
    assert "mode: Running " in (tmp_path / "readme" / "fleet" / "specs" / "fleet.yaml").read_text(), "the first fleet is left alone"
    assert "AccountChanged" not in said
    assert not (home / ".local" / "state").exists(), "a fleet to try things on is nobody else's"
    assert status == "", "nothing of a simulated platform is left to be committed"
