"""`reconciler operator` as a user has it: processes, real machines, real pi, a real API server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.background import Platform, eventually
from tests.e2e.conftest import API, PROFILE, image, real
from tests.kube.controlplane import ControlPlane
from tests.program import Program

__all__ = ["image", "real"]  # fixtures

pytestmark = [pytest.mark.real("kube"), pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow]

TASK = """apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: {name}}}
spec:
  lieutenantRef: {{name: api}}
  prompt: |
    Write {name}.txt <<<[{{"tool":"write","args":{{"path":"{name}.txt","content":"hello\\n"}}}},{{"say":"{name}.txt is written"}}]>>>
  acceptance:
  - file: {{path: {name}.txt, minBytes: 6}}
"""


@pytest.mark.guarantee("G-62")
@pytest.mark.guarantee("G-01")
def test_a_fleet_in_a_cluster(private_plane: ControlPlane, real: Platform, tmp_path: Path) -> None:
    """Two operators, each with a store of its own; the kinds come later than they do; the one in charge is killed."""
    plane = private_plane
    plane.install_rbac()
    team = plane.namespace("team")
    env = {
        **real.endpoints.environment(),
        "RECONCILER_SETTLE_SECONDS": "2",
        "RECONCILER_RESYNC_SECONDS": "1",
        "KUBECONFIG": str(plane.operator.kubeconfig),
    }
    first, second = Program(tmp_path / "first", env), Program(tmp_path / "second", env)
    with first.operator("--namespace", "team") as one:
        one.says("waiting: the cluster does not serve")
        with second.operator("-n", "team") as two:
            two.says("standing by")
            plane.install_crds()
            team.apply("---\n".join([PROFILE.format(url=real.model.url), API, TASK.format(name="before")]))
            team.kubectl("wait", "lt/api", "--for=condition=Ready", "--timeout=90s", seconds=100)
            team.kubectl("wait", "ltask/before", "--for=condition=Ready", "--timeout=90s", seconds=100)
            status = team.get("lt", "api")["status"]
            assert real.present() == [status["vm"]["id"]]
            pid = status["agent"]["pid"]

            assert first("exec", "--kube", "-n", "team", "api", "--", "cat", "before.txt") == "hello\n"
            first("cp", "--kube", "-n", "team", "api:before.txt", "here.txt")
            assert (first.folder / "here.txt").read_text() == "hello\n"

            one.kill()
            two.says("in charge of team")
            team.apply(TASK.format(name="after"))
            team.kubectl("wait", "ltask/after", "--for=condition=Ready", "--timeout=90s", seconds=100)
            status = team.get("lt", "api")["status"]
            assert real.ever() == [status["vm"]["id"]], "no second machine"
            assert status["agent"]["pid"] == pid, "the agent never noticed"
            assert team.get("ltask", "before")["status"]["phase"] == "Succeeded"

            team.kubectl("delete", "lt,ltask,bp", "--all", "--timeout=90s", seconds=100)
            eventually(lambda: not real.present(), "no machine is left")
            assert two.stop() == 0
