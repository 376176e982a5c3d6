"""The wheel: what a user installs with pip, in an environment that has nothing else, far from the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.agent.toolchain import cache_dir
from reconciler.vers.simulator.image import GuestImage
from tests.e2e.conftest import image

__all__ = ["image"]  # a fixture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]


class Installed:
    """`reconciler` of the wheel, run in an empty directory with an empty home."""

    def __init__(self, environment: Path, room: Path) -> None:
        self.environment, self.room = environment, room
        for name in ("home", "here"):
            (room / name).mkdir()

    def __call__(self, *words: str, seconds: float = 60.0, code: int = 0) -> str:
        env = {
            "PATH": f"{self.environment / 'bin'}:{os.defpath}",
            "HOME": str(self.room / "home"),
            "XDG_CACHE_HOME": str(cache_dir(os.environ).parent),
        }
        done = subprocess.run(
            ["reconciler", *words], env=env, cwd=self.room / "here", capture_output=True, text=True, timeout=seconds, check=False
        )
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def environment() -> Iterator[Path]:
    """Made as a user makes it, of the versions that this release is tested with; on disk, for it is large."""
    (ROOT / "build").mkdir(exist_ok=True)
    room = Path(tempfile.mkdtemp(dir=ROOT / "build", prefix="wheel-"))
    pip = ["-m", "pip", "--disable-pip-version-check", "--quiet"]

    def run(*argv: str) -> None:
        done = subprocess.run(argv, cwd=room, capture_output=True, text=True, timeout=800, check=False)
        if done.returncode != 0 and not os.environ.get("CI") and "onnection" in done.stderr:
            pytest.skip(f"no package index can be reached: {done.stderr.strip()[-300:]}")
        assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"

    run(sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", str(room), str(ROOT))
    (wheel,) = room.glob("reconciler-*.whl")
    run(sys.executable, "-m", "venv", str(room / "env"))
    run(str(room / "env" / "bin" / "python"), *pip, "install", "--constraint", str(ROOT / "constraints.txt"), str(wheel))
    yield room / "env"
    shutil.rmtree(room, ignore_errors=True)


@pytest.fixture
def installed(environment: Path, tmp_path: Path) -> Installed:
    return Installed(environment, tmp_path)


def test_what_needs_no_machine_runs_from_the_wheel(installed: Installed) -> None:
    assert "Follow declarations in a Kubernetes cluster" in installed("operator", "--help")
    assert json.loads(installed("schema"))["title"]
    installed("init", "fleet")
    installed("validate", "fleet")
    shutil.rmtree(installed.room / "here" / "fleet")
    assert installed("crds").count("kind: CustomResourceDefinition") == 4
    assert installed("crds", "--check") == "", "what is installed is what its models say"
    installed("crds", "--out", "made")
    assert installed("crds", "--check", "--out", "made") == ""
    shutil.rmtree(installed.room / "here" / "made")
    shutil.copy(ROOT / "examples" / "quickstart.yaml", installed.room / "here")
    installed("validate", "quickstart.yaml")
    assert sorted(path.name for path in (installed.room / "here").iterdir()) == ["quickstart.yaml"], "nothing is left lying about"


def test_an_installation_that_lost_a_kind_says_so(installed: Installed, environment: Path) -> None:
    """Far from a checkout it is compared with what it carries, and with nothing else."""
    (made,) = environment.glob("lib/python3*/site-packages/reconciler/made/lieutenants.yaml")
    whole = made.read_text()
    try:
        made.write_text(whole.replace("Lieutenant", "Captain"))
        told = installed("crds", "--check", code=1)
    finally:
        made.write_text(whole)
    assert [line.partition("; ")[2] for line in told.splitlines()] == ["install the package again"]
    assert f"{made} differs from the models" in told


@pytest.mark.real("pi")
@pytest.mark.real("bwrap")
def test_the_demo_runs_from_the_wheel(installed: Installed, image: GuestImage) -> None:
    """The keeper, the stock profiles and pi's extensions are in it too."""
    told = installed("demo", seconds=300)
    assert "task/api-3-tests  Succeeded" in told
    assert "0 VMs" in told
    assert list((installed.room / "here").iterdir()) == []
