"""From an empty cluster to an empty platform: installed with `kubectl apply -k`, then the smallest fleet there is, word for word, with real
machines and real pi. There is no kubelet: the operator is a process with the arguments of its Deployment, as its service account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.keys import Json
from reconciler.vers.simulator.image import GuestImage
from reconciler.vers.simulator.knobs import Knobs
from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import Platform, eventually, platform
from tests.e2e.chaos import AGENT, Machine
from tests.e2e.conftest import image
from tests.kube.assets import ROOT
from tests.kube.controlplane import ControlPlane, Namespace
from tests.kube.test_pages import operator_of

__all__ = ["image"]  # a fixture

pytestmark = [
    pytest.mark.real("kube"),
    pytest.mark.real("pi"),
    pytest.mark.real("bwrap"),
    pytest.mark.slow,
    pytest.mark.timeout(600),
]

QUICKSTART = ROOT / "tests" / "manifests" / "valid" / "quickstart.yaml"
INVALID = ROOT / "tests" / "manifests" / "invalid"


def write(path: str, content: str, say: str) -> list[Json]:
    return [{"tool": "write", "args": {"path": path, "content": content}}, {"say": say}]


RULES: list[tuple[str, list[Json]]] = [
    ("Create server.js", write("server.js", "require('http')\n", "the server is there")),
    ("Add GET /users", write("users.json", "[]\n", "users are told")),
    ("Write tests for both routes", write("server.test.js", "require('node:test')\n", "both routes are tested")),
    ("What is there now", write("later.txt", "later\n", "more")),
]

PROFILE = """apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {{name: lightweight}}
spec:
  source: {{image: default}}
  agent:
    model: {{provider: scripted, id: scripted}}
    providers:
    - {{name: scripted, baseUrl: "{url}", api: openai-completions}}
  steps: [{{name: mark, run: "echo {mark} > /root/mark.txt"}}]
"""
"""In place of the one that is built in, with a model that is at hand."""


@pytest.fixture
def real(image: GuestImage) -> Iterator[Platform]:
    with platform(SimulatorConfig(guests="isolated", image=image, knobs=Knobs(foreign_vms=2)), RULES) as running:
        yield running


def is_paused(real: Platform, vm_id: str) -> bool:
    return real.simulator.world.present[vm_id].suspended


def wait(team: Namespace, what: str, condition: str, seconds: int = 90) -> None:
    team.kubectl("wait", what, f"--for={condition}", f"--timeout={seconds}s", seconds=seconds + 10)


@pytest.mark.guarantee("G-01")
@pytest.mark.guarantee("G-05")
@pytest.mark.guarantee("G-08")
@pytest.mark.guarantee("G-42")
def test_installed_and_used_from_the_first_to_the_last(private_plane: ControlPlane, real: Platform, tmp_path: Path) -> None:
    plane = private_plane
    plane.kubectl("apply", "--server-side", "-k", str(ROOT / "deploy"))
    key = tmp_path / "key.txt"
    key.write_text(real.endpoints.environment()["VERS_API_KEY"])
    plane.kubectl("-n", "reconciler", "create", "secret", "generic", "vers", f"--from-file=VERS_API_KEY={key}")
    program, args = operator_of(plane, tmp_path, real)
    program.env["RECONCILER_SETTLE_SECONDS"] = "2"
    plane.kubectl("create", "namespace", "team")
    team = Namespace(plane, "team")
    with program.operator(*args) as operator:
        operator.says("in charge of all namespaces")

        # Applied, done, as a person sees it.
        team.apply(PROFILE.format(url=real.model.url, mark="first"))
        team.kubectl("apply", "-f", str(QUICKSTART))
        wait(team, "lt/api", "condition=Ready", 120)
        for name in ("api-1-skeleton", "api-2-users", "api-3-tests"):
            wait(team, f"ltask/{name}", "condition=Ready")
            assert team.get("ltask", name)["status"]["phase"] == "Succeeded"
        status = team.get("lt", "api")["status"]
        assert real.present() == [status["vm"]["id"]]
        machine = Machine(real, status["vm"]["id"])
        pid = machine.named(AGENT)
        team.kubectl("apply", "-f", str(QUICKSTART))
        assert "created" not in team.kubectl("apply", "-f", str(QUICKSTART))

        # Mistakes are refused with the field's name, and nothing else happens.
        for name, field in (("typo-field.yaml", ""), ("bad-enum.yaml", ""), ("empty-prompt.yaml", "prompt")):
            done = team.try_kubectl("apply", "-f", str(INVALID / name))
            assert done.returncode != 0
            expected = (INVALID / name).read_text("utf-8").split("\n", 1)[0].split()[3].rpartition(".")[2]
            assert (field or expected) in done.stderr
        team.kubectl("apply", "-f", str(INVALID / "bad-schedule.yaml"))
        wait(team, "lt/a", "condition=Stalled")
        assert "spec.snapshots.schedule" in json.dumps(team.get("lt", "a")["status"])
        team.kubectl("delete", "lt/a", "--timeout=60s")
        assert real.present() == [status["vm"]["id"]]
        assert machine.named(AGENT) == pid

        # Asleep and awake: the same machine, the same process.
        team.kubectl("patch", "lt/api", "--type=merge", "-p", '{"spec": {"mode": "Suspended"}}')
        wait(team, "lt/api", "condition=Suspended")
        wait(team, "lt/api", "condition=Ready")
        assert is_paused(real, status["vm"]["id"])
        team.kubectl("patch", "lt/api", "--type=merge", "-p", '{"spec": {"mode": "Running"}}')
        wait(team, "lt/api", "condition=Available")
        assert real.ever() == [status["vm"]["id"]]
        assert machine.named(AGENT) == pid

        # Another profile: the machine stays until its lieutenant says otherwise; the conversation goes with it.
        team.apply(PROFILE.format(url=real.model.url, mark="second"))
        wait(team, "lt/api", "jsonpath={.status.boot.outdated}=true")
        assert real.present() == [status["vm"]["id"]]
        before = machine.session()
        team.kubectl("patch", "lt/api", "--type=merge", "-p", '{"spec": {"update": {"onProfileChange": "Recreate"}}}')
        wait(team, "lt/api", "condition=UpToDate", 120)
        wait(team, "lt/api", "condition=Ready", 120)
        (other,) = real.present()
        assert other != status["vm"]["id"]
        work: Json = {"lieutenantRef": {"name": "api"}, "prompt": "What is there now", "acceptance": [{"file": {"path": "later.txt"}}]}
        team.apply(json.dumps({"apiVersion": "fleet.vers.sh/v1alpha1", "kind": "Task", "metadata": {"name": "later"}, "spec": work}))
        wait(team, "ltask/later", "condition=Ready")
        assert Machine(real, other).session()[: len(before)] == before

        # Deleted: nothing is left, and nobody else's machine was touched.
        team.kubectl("delete", "-f", str(QUICKSTART), "--timeout=120s", seconds=130)
        team.kubectl("delete", "ltask/later", "bp/lightweight", "--timeout=60s")
        eventually(lambda: not real.present(), "no machine is left")
        assert team.list("fleet") == []
        assert len(real.simulator.world.present) == 2, "somebody else's"
        assert operator.stop() == 0
        assert "Traceback" not in operator.said
        assert "is forbidden" not in operator.said
