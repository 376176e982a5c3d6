"""A simulated platform with real machines and real pi, a scripted model, and the program beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.agent.host import end_all
from reconciler.agent.toolchain import find_toolchain
from reconciler.core.keys import Json
from reconciler.errors import Terminal
from reconciler.vers.simulator.image import GuestImage
from reconciler.vers.simulator.isolated import missing_for_isolation
from reconciler.vers.simulator.knobs import Knobs
from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import Platform, platform
from tests.program import Program

PROFILE = """apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {{name: scripted}}
spec:
  extends: {{name: lightweight}}
  agent:
    model: {{provider: scripted, id: scripted}}
    providers:
    - {{name: scripted, baseUrl: "{url}", api: openai-completions}}
"""

API = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api, labels: {team: web}}
spec:
  # who it is
  role: Build and maintain the API server
  profileRef: {name: scripted}
"""


CANARY = "canary-5d1f0a7c9b"
RULES: list[tuple[str, list[Json]]] = [
    ("no sign of progress for 4 s", [{"tool": "bash", "args": {"command": "sleep 600"}}]),
    ("(?s)attempt 1 .*with a wrong key", [{"status": 401, "message": "Incorrect API key provided"}]),
    ("reveal", [{"tool": "bash", "args": {"command": "echo my token is $TOKEN | tee token.txt"}}, {"say": f"the token is {CANARY}"}]),
]


@pytest.fixture(scope="session")
def image() -> GuestImage:
    """Node and pi for machines; skipped with the remedy where they can't be had, but never in CI."""
    try:
        tools = find_toolchain(os.environ)
    except Terminal as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    missing = missing_for_isolation()
    if missing and os.environ.get("CI"):
        pytest.fail(f"isolated guests are required in CI; {missing}")
    if missing:
        pytest.skip(missing)
    return GuestImage(tools.node_dir, tools.pi_dir)


@pytest.fixture
def real(image: GuestImage) -> Iterator[Platform]:
    """The platform; two VMs of somebody else are there from the start."""
    with platform(SimulatorConfig(guests="isolated", image=image, knobs=Knobs(foreign_vms=2)), RULES) as running:
        yield running


@pytest.fixture
def reconciler(real: Platform, tmp_path: Path) -> Iterator[Program]:
    """The program, and a folder `specs` with one lieutenant whose model is scripted. Agents on this host that a test leaves are ended."""
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "profile.yaml").write_text(PROFILE.format(url=real.model.url))
    (specs / "api.yaml").write_text(API)
    program = Program(tmp_path, {**real.endpoints.environment(), "RECONCILER_SETTLE_SECONDS": "2", "RECONCILER_RESYNC_SECONDS": "1"})
    yield program
    for directory in (program.state.resolve() / "agents").glob("*"):
        end_all(f"{directory}/tree/root")
