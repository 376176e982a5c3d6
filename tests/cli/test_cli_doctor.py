"""`doctor` names the releases of what agents run on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.agent.toolchain import PI_TESTED, Toolchain, find_toolchain
from reconciler.errors import Terminal
from tests.cli.conftest import Run


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    """Node and pi of this host, whatever its home is from now on; skipped with the remedy where they can't be had, but never in CI."""
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"))
    try:
        return find_toolchain(os.environ)
    except Terminal as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.mark.real("pi")
def test_it_names_the_node_and_the_pi_that_agents_on_this_host_get(tools: Toolchain, run: Run) -> None:
    said = run("doctor").out.splitlines()
    (line,) = [line for line in said if line.split()[1:2] == ["tools"]]
    assert line.startswith("ok")
    assert f"pi {tools.versions['pi']} (" in line
    assert f"node {tools.versions['node']} (" in line
    assert tools.versions["pi"] in PI_TESTED
