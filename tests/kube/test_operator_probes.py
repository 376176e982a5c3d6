"""What an operator's process serves over HTTP, from its first moment to its last."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.background import eventually
from tests.kube.controlplane import ControlPlane, Namespace
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
    return Program(
        tmp_path, {"KUBECONFIG": str(kubeconfig), "RECONCILER_HTTP_TOKEN": TOKEN, "VERS_BASE_URL": "http://127.0.0.1:9"}, warm=True
    )


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
        assert {re.sub(r"\{.*", "", name) for name in told} == {
            "reconciler_leading",
            "reconciler_info",
            "reconciler_background_down",
        }, "nothing else is true yet"
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


def test_one_that_may_not_have_the_lease_is_not_ready(program: Program, cluster: Namespace) -> None:
    other = f"{cluster.name}-other"
    cluster.plane.kubectl("create", "namespace", other)
    with program.operator("--namespace", cluster.name, "--lease-namespace", other, "--listen", "127.0.0.1:0") as operator:
        front = Front(operator)
        operator.says("the lease can't be had: ")
        assert front.probes() == (200, 503)
        assert operator.stop() == 0


def test_one_that_never_reached_the_api_server_is_not_ready_until_it_does(program: Program, cluster: Namespace) -> None:
    with cluster.plane.api_down():
        operator = program.operator("--namespace", cluster.name, "--listen", "127.0.0.1:0")
        operator.__enter__()
        front = Front(operator)
        operator.says("the lease can't be had: the API server can't be reached")
        assert front.probes() == (200, 503)
    with operator:
        eventually(lambda: front.probes() == (200, 200), "it begins")
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


@pytest.mark.guarantee("G-62")
def test_operators_whose_namespaces_overlap_meet_where_they_are_told_to(program: Program, cluster: Namespace, tmp_path: Path) -> None:
    """On one Lease, so that one acts; what the other one serves besides is told, and its store is of the same installation."""
    other, third = cluster.plane.namespace(), cluster.plane.namespace()
    second = Program(tmp_path / "second", {name: program.env[name] for name in ("KUBECONFIG", "VERS_BASE_URL")}, warm=True)
    where = ("--lease-namespace", third.name)
    with program.operator("--namespace", cluster.name, *where) as one:
        one.says(f"in charge of {cluster.name}, by the Lease {third.name}/{LEASE}")
        with second.operator("-n", f"{cluster.name},{other.name}", *where) as two:
            two.says(f"so {other.name} is not served: give both the same namespaces")
            assert "in charge of" not in two.said.replace("is in charge, of", "")
            eventually(lambda: installation_of(third).endswith(f"/{third.name}"), "it says whose machines are its own")
            before = installation_of(third)
            assert one.stop() == 0
            two.says(f"in charge of {cluster.name}, {other.name}, by the Lease")
            assert installation_of(third) == before
            assert two.stop() == 0
    wrong = program.full("operator", "-A", "--lease-namespace", "No/where")
    assert (wrong.returncode, "can't be a namespace" in wrong.stderr) == (64, True)


def installation_of(namespace: Namespace) -> str:
    return str(namespace.get("lease", LEASE)["metadata"]["annotations"].get("fleet.vers.sh/installation", ""))


def test_a_lease_that_has_no_place(program: Program, private_plane: ControlPlane) -> None:
    """Served everywhere from outside of the cluster, it is where deploy/ would have it; if that is not there, the log says what to do."""
    program.env["KUBECONFIG"] = str(private_plane.admin.kubeconfig)
    with program.operator("--all-namespaces") as operator:
        operator.says('namespaces "reconciler" not found: make that namespace, or name another one with --lease-namespace')
        private_plane.kubectl("create", "namespace", "reconciler")
        operator.says("in charge of all namespaces, by the Lease reconciler/reconciler-default")
        assert operator.stop() == 0
