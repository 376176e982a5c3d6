"""Eight hundred objects (two thousand with `make soak`) in one `kubectl apply`: all are taken, nothing loops hot, and what it costs is
bounded. The operator is a process; what it asked of the API server is read from that server's audit."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from reconciler.api.registry import KINDS
from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import Platform, eventually, platform
from tests.effort import SOAKING
from tests.kube.assets import Assets
from tests.kube.controlplane import ControlPlane, Namespace
from tests.kube.prepared import with_kinds
from tests.kube.test_deploy import AUDIT
from tests.program import Controller, Program

pytestmark = [pytest.mark.real("kube"), pytest.mark.slow, pytest.mark.timeout(600)]

LIEUTENANTS, TASKS = (1200, 800) if SOAKING else (480, 320)
PER_LIEUTENANT = TASKS // 2
QUEUED = 50
"""Tasks that wait for one of them, and how many of those its queue takes; the others wait outside."""
OBJECTS = LIEUTENANTS + TASKS
CPU = 0.05
"""Seconds for each object, from nothing to rest. Half of it is usual; when each costs more the more there are, four times, of two thousand
ten times."""
MEMORY = 200
"""MiB more than before."""
QUIET = 10.0
"""Seconds at rest in which nothing is asked but what keeps the Lease."""
TOKEN = "a-token-of-some-length"


def declared() -> list[dict[str, Any]]:
    """Lieutenants that sleep, so that nothing is made for them, and tasks that wait for two of them."""

    def one(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        return {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}

    asleep = {"role": "Wait", "mode": "Suspended", "profileRef": {"name": "lightweight"}}
    return [
        *(one("Lieutenant", f"lt-{number:04}", asleep) for number in range(LIEUTENANTS)),
        *(
            one("Task", f"t-{number:04}", {"lieutenantRef": {"name": f"lt-{number // PER_LIEUTENANT:04}"}, "prompt": "do it"})
            for number in range(TASKS)
        ),
    ]


@dataclass
class Audit:
    """What the operator asked of the API server, read on as it grows."""

    file: Path
    user: str
    seen: int = 0
    asked: Counter[str] = field(default_factory=Counter)

    def read(self) -> Counter[str]:
        """Requests since the last look, by verb and resource."""
        fresh: Counter[str] = Counter()
        with self.file.open() as lines:
            lines.seek(self.seen)
            for line in iter(lines.readline, ""):
                if not line.endswith("\n"):
                    break
                self.seen += len(line.encode())
                entry = json.loads(line)
                at = entry.get("objectRef") or {}
                if entry["user"]["username"] == self.user:
                    fresh["/".join(part for part in (entry["verb"], at.get("resource", ""), at.get("subresource", "")) if part)] += 1
        self.asked += fresh
        return fresh


@dataclass
class Operator:
    process: Controller
    http: httpx.Client

    def looks(self) -> float:
        """How often any object was looked at."""
        lines = self.http.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("reconciler_reconcile_seconds_count"))

    def cpu(self) -> float:
        """Seconds."""
        fields = Path(f"/proc/{self.process.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """MiB that the process has in use."""
        status = Path(f"/proc/{self.process.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) >> 10


@pytest.fixture
def stub() -> Iterator[Platform]:
    with platform(SimulatorConfig(guests="stub")) as made:
        yield made


@pytest.fixture
def audited(kube_assets: Assets, room_of_the_run: Path, tmp_path: Path) -> Iterator[tuple[ControlPlane, Audit]]:
    policy, log = tmp_path / "policy.json", tmp_path / "audit.log"
    policy.write_text(json.dumps(AUDIT))
    with with_kinds(kube_assets, room_of_the_run, [f"--audit-policy-file={policy}", f"--audit-log-path={log}"]) as plane:
        yield plane, Audit(log, plane.operator.name)


@pytest.fixture
def operator(audited: tuple[ControlPlane, Audit], stub: Platform, tmp_path: Path) -> Iterator[tuple[Operator, Namespace]]:
    team = audited[0].namespace("team")
    env = {**stub.endpoints.environment(), "KUBECONFIG": str(team.plane.operator.kubeconfig), "RECONCILER_HTTP_TOKEN": TOKEN}
    with Program(tmp_path, env).operator("-n", "team", "--listen", "127.0.0.1:0") as process:
        process.says("in charge of team")
        port = re.search(r"listening on 127\.0\.0\.1:(\d+)", process.said)
        assert port is not None
        http = httpx.Client(base_url=f"http://127.0.0.1:{port[1]}", trust_env=False, headers={"Authorization": f"Bearer {TOKEN}"})
        yield Operator(process, http), team
        assert process.stop() == 0
        assert "Traceback" not in process.said


def collection(plural: str) -> str:
    return f"/apis/fleet.vers.sh/v1alpha1/namespaces/team/{plural}"


def objects(plane: ControlPlane) -> list[dict[str, Any]]:
    return [one for plural in ("lieutenants", "tasks") for one in plane.get(collection(plural))[1]["items"]]


def told(obj: dict[str, Any]) -> bool:
    return bool(obj.get("status", {}).get("observedGeneration") == obj["metadata"]["generation"])


def resting(operator: Operator, audit: Audit) -> None:
    """Nothing is looked at, asked or written any more but what keeps the Lease; a watch that was quiet for long begins anew."""
    eventually(lambda: sum(audit.read().values()) <= 2, "it comes to rest", 60, pause=2.0)
    looks = operator.looks()
    time.sleep(QUIET)
    asked = audit.read()
    assert asked.pop("update/leases") >= QUIET / 4
    watches = sum(asked.pop(f"watch/{kind.plural}", 0) for kind in KINDS)
    assert watches <= len(KINDS)
    assert asked == {}
    assert operator.looks() == looks


@pytest.mark.guarantee("G-45")
def test_many_objects_at_once(audited: tuple[ControlPlane, Audit], operator: tuple[Operator, Namespace]) -> None:
    """Applied, changed and deleted by one command each. One hold, one or two statuses and one or two Events for each; nothing at rest."""
    (plane, audit), (process, team) = audited, operator
    audit.read()
    memory, cpu = process.memory(), process.cpu()
    everything = plane.home / "everything.json"
    everything.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": declared()}))
    team.kubectl("apply", "--server-side", "-f", str(everything), seconds=200)
    eventually(lambda: all(told(one) for one in objects(plane)), "all are taken", 200, pause=1.0)
    resting(process, audit)
    assert len(objects(plane)) == OBJECTS
    reasons = Counter(next(c["reason"] for c in one["status"]["conditions"] if c["type"] == "Ready") for one in objects(plane))
    assert reasons == {"Suspended": LIEUTENANTS, "LieutenantSuspended": 2 * QUEUED, "QueueFull": TASKS - 2 * QUEUED}
    asked = dict(audit.asked)
    assert process.looks() <= 1.5 * OBJECTS
    assert (asked["patch/lieutenants"], asked["patch/tasks"]) == (LIEUTENANTS, TASKS), "each is held once"
    assert asked["update/lieutenants/status"] + asked["update/tasks/status"] <= 1.2 * OBJECTS
    assert asked["create/events"] <= 1.2 * OBJECTS
    assert sum(count for name, count in asked.items() if name.startswith(("get/", "list/")) and "lease" not in name) <= 100
    print(f"{process.cpu() - cpu:.1f} s of CPU, {process.memory() - memory} MiB, {process.looks():.0f} looks, {asked}")
    assert process.cpu() - cpu <= CPU * OBJECTS
    assert process.memory() - memory <= MEMORY

    looks = process.looks()
    team.kubectl("label", "lt,ltask", "--all", "measured=yes", seconds=200)
    resting(process, audit)
    changed = audit.asked - Counter(asked)
    assert not [name for name in changed if "status" in name or "events" in name], "there is nothing to say about a label"
    assert process.looks() - looks <= 1.5 * OBJECTS

    team.kubectl("delete", "ltask,lt", "--all", "--wait=false", seconds=200)
    eventually(lambda: not objects(plane), "all are gone", 400, pause=1.0)
    resting(process, audit)
    assert process.memory() - memory <= MEMORY
    gone = audit.asked - Counter(asked) - changed
    print(f"{process.cpu() - cpu:.1f} s of CPU, {process.memory() - memory} MiB, {process.looks():.0f} looks, {dict(gone)}")
    assert gone["patch/lieutenants"] + gone["patch/tasks"] <= 1.1 * OBJECTS, "each is let go once"
    assert gone["update/lieutenants/status"] + gone["update/tasks/status"] <= 2.2 * OBJECTS
    assert gone["get/lieutenants"] + gone["get/tasks"] <= 1.2 * OBJECTS
