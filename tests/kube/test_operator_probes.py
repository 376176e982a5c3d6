"""What an operator's process serves over HTTP, from its first moment to its last."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.background import eventually
from tests.kube.controlplane import Namespace
from tests.program import Controller, Program

pytestmark = pytest.mark.real("kube")

TOKEN = "a-token-of-some-length"
LEASE = "reconciler-default"


class Front:
    def __init__(self, operator: Controller) -> None:
        self.operator = operator
        operator.says("listening on ")
        port = re.search(r"listening on 127\.0\.0\.1:(\d+)", operator.said)
        assert port is not None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port[1]}", trust_env=False, headers={"Authorization": f"Bearer {TOKEN}"})

    def probes(self) -> tuple[int, int]:
        return self.http.get("/healthz").status_code, self.http.get("/readyz").status_code

    def metrics(self) -> dict[str, str]:
        answer = self.http.get("/metrics")
        assert answer.status_code == 200
        lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
        return dict(line.rsplit(" ", 1) for line in lines)  # type: ignore[misc]


@pytest.fixture
def program(tmp_path: Path, cluster: Namespace) -> Program:
    kubeconfig = cluster.inside(cluster.plane.operator).kubeconfig
    return Program(tmp_path, {"KUBECONFIG": str(kubeconfig), "RECONCILER_HTTP_TOKEN": TOKEN, "VERS_BASE_URL": "http://127.0.0.1:9"})


@pytest.fixture
def taken(cluster: Namespace) -> Iterator[None]:
    """Somebody else is in charge."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    cluster.plane.apply(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": cluster.name},
            "spec": {"holderIdentity": "another", "leaseDurationSeconds": 3600, "renewTime": now},
        }
    )
    return


@pytest.mark.guarantee("G-62")
@pytest.mark.usefixtures("taken")
def test_one_that_stands_by_is_healthy_and_ready_and_says_that_it_does_not_lead(program: Program, cluster: Namespace) -> None:
    with program.operator("--namespace", cluster.name, "--listen", "127.0.0.1:0") as operator:
        front = Front(operator)
        operator.says("standing by: another is in charge")
        assert front.probes() == (200, 200)
        told = front.metrics()
        assert told["reconciler_leading"] == "0.0"
        assert {re.sub(r"\{.*", "", name) for name in told} == {"reconciler_leading", "reconciler_info"}, "nothing else is true yet"
        cluster.kubectl("delete", "lease", LEASE)
        eventually(lambda: front.metrics()["reconciler_leading"] == "1.0", "it leads")
        eventually(lambda: "reconciler_queue_depth" in front.metrics(), "its engine tells")
        assert front.metrics()["reconciler_platform_up"] == "0.0"
        assert front.metrics()["reconciler_cluster_failing_objects"] == "0.0"
        assert front.probes() == (200, 200)
        assert operator.stop() == 0


def test_one_that_can_not_begin_is_not_ready(program: Program, cluster: Namespace) -> None:
    """In charge, but its namespace can't be read: restarting helps nothing, and it is of no use yet."""
    other = f"{cluster.name}-other"
    cluster.plane.kubectl("create", "namespace", other)
    with program.operator("--namespace", f"{cluster.name},{other}", "--listen", "127.0.0.1:0") as operator:
        front = Front(operator)
        operator.says("waiting: ")
        assert front.probes() == (200, 503)
        assert f'in the namespace "{other}"' in operator.said
        assert operator.stop() == 0


@pytest.mark.guarantee("G-64")
def test_nothing_listens_unless_it_is_said_where(program: Program, cluster: Namespace) -> None:
    with program.operator("--namespace", cluster.name) as operator:
        operator.says("in charge of")
        assert "listening" not in operator.said
        assert operator.stop() == 0
    wrong = program.full("operator", "--namespace", cluster.name, "--listen", "everywhere")
    assert wrong.returncode == 64
    assert "--listen" in wrong.stderr
