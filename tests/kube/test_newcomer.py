"""A newcomer with a checkout and an empty home: what README says under "A cluster to try it on", typed, ends in work that was done."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from reconciler.agent.toolchain import cache_dir
from reconciler.vers.simulator.image import GuestImage
from tests.background import eventually
from tests.e2e.conftest import image
from tests.kube.assets import ROOT, Assets
from tests.kube.test_pages import commands

__all__ = ["image"]  # a fixture

pytestmark = [pytest.mark.real("kube"), pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow, pytest.mark.timeout(400)]

COPIED = (
    "Makefile",
    "README.md",
    "constraints.txt",
    "crds",
    "deploy",
    "examples",
    "hack",
    "pyproject.toml",
    "reconciler",
    "specs",
    "tests",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What is made in it is not made in the real one."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in COPIED:
        place = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        place(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def test_the_walk_on_make_kube_ends_in_a_succeeded_task(kube_assets: Assets, image: GuestImage, checkout: Path) -> None:
    home = checkout.parent / "home"
    home.mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CACHE_HOME": str(cache_dir(os.environ).parent),
        **{name: os.environ[name] for name in ("KUBEBUILDER_ASSETS", "TMPDIR") if name in os.environ},
    }
    first, *typed = commands("README.md", ["A cluster to try it on"])
    assert first == "make kube"
    assert typed[0] == ". build/kube/env.sh"
    said = checkout.parent / "said"
    with said.open("wb") as out:
        cluster = subprocess.Popen(["bash", "-c", f"exec {first}"], cwd=checkout, env=env, stdout=out, stderr=out, start_new_session=True)
    try:

        def ready() -> bool:
            assert cluster.poll() is None, said.read_text("utf-8")
            return typed[0] in said.read_text("utf-8")

        eventually(ready, "it says what to type", 120)
        assert all(line in said.read_text("utf-8") for line in typed[:3]), "what it says is what README says"
        assert "A real model instead" in said.read_text("utf-8")
        walked = subprocess.run(
            ["bash", "-e", "-c", "\n".join(typed)], cwd=checkout, env=env, capture_output=True, text=True, timeout=240, check=False
        )
        assert walked.returncode == 0, f"{walked.stdout}{walked.stderr}{(checkout / 'build/kube/operator.log').read_text()}"
        assert "server.test.js tests both routes" in walked.stdout
        look = f"{typed[0]}; kubectl get -n team ltask -o json"
        found = json.loads(subprocess.run(["bash", "-c", look], cwd=checkout, env=env, capture_output=True, check=True).stdout)["items"]
        assert {one["metadata"]["name"]: one["status"]["phase"] for one in found} == {
            "api-1-skeleton": "Succeeded",
            "api-2-users": "Succeeded",
            "api-3-tests": "Succeeded",
        }
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(cluster.pid, signal.SIGINT)
        ended = cluster.wait(60)
    assert ended in (0, 2, -signal.SIGINT, 130), said.read_text("utf-8")
    assert not (checkout / "build" / "kube" / "env.sh").exists(), "nobody uses what is gone"
