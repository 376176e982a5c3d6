"""deploy/one-namespace: as many times in one cluster as there are namespaces, each with its own rights and nothing outside of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.background import eventually
from tests.kube.controlplane import ControlPlane, Namespace
from tests.kube.test_deploy import DEPLOY, Right, may, objects
from tests.program import Program

pytestmark = pytest.mark.real("kube")

NEEDED = (
    Right("list", "secrets"),
    Right("patch", "fleet.vers.sh/lieutenants"),
    Right("create", "coordination.k8s.io/leases"),
)


def account(namespace: str) -> str:
    return f"system:serviceaccount:{namespace}:reconciler"


def overlay(room: Path, namespace: str) -> Path:
    """As docs/kubernetes.md says: one line moves all of it."""
    folder = room / namespace
    folder.mkdir()
    if not (room / "deploy").exists():
        (room / "deploy").symlink_to(DEPLOY)
    (folder / "kustomization.yaml").write_text(f"resources: [../deploy/one-namespace]\nnamespace: {namespace}\n")
    return folder


@pytest.mark.guarantee("G-60")
def test_installed_twice_each_has_its_own_rights_and_keeps_them(private_plane: ControlPlane, tmp_path: Path) -> None:
    """Also after the other one was removed again."""
    plane = private_plane
    plane.kubectl("apply", "--server-side", "-k", str(DEPLOY / "cluster"))
    folders = {name: overlay(tmp_path, name) for name in ("team-a", "team-b")}
    for name, folder in folders.items():
        plane.kubectl("create", "namespace", name)
        plane.kubectl("apply", "--server-side", "-k", str(folder))

    def has_all(name: str) -> bool:
        mine = all(may(plane, right, name, user=account(name)) for right in NEEDED)
        return mine and may(plane, Right("get", "namespaces"), "kube-system", "kube-system", user=account(name))

    assert [name for name in folders if not has_all(name)] == []
    assert [right for right in NEEDED if may(plane, right, "team-a", user=account("team-b"))] == []
    plane.kubectl("delete", "-k", str(folders["team-b"]), "--wait=false")
    eventually(lambda: not may(plane, NEEDED[0], "team-b", user=account("team-b")), "the rights of the removed one are gone")
    assert has_all("team-a")
    eventually(lambda: plane.get("/apis/fleet.vers.sh/v1alpha1/lieutenants")[0] == 200, "the kinds are everybody's")


def test_it_owns_nothing_outside_of_its_namespace_and_not_the_namespace(control_plane: ControlPlane, tmp_path: Path) -> None:
    made = objects(control_plane, overlay(tmp_path, "team-a"))
    assert {one["metadata"].get("namespace") for one in made} == {"team-a"}
    assert "Namespace" not in {one["kind"] for one in made}


@pytest.mark.guarantee("G-60")
def test_an_operator_that_may_not_read_kube_system_waits_and_begins_when_it_may(
    private_plane_with_kinds: ControlPlane, tmp_path: Path
) -> None:
    plane = private_plane_with_kinds
    team = plane.namespace("team")
    plane.kubectl("delete", "clusterrolebinding", "operator")
    env = {"KUBECONFIG": str(plane.operator.kubeconfig), "VERS_BASE_URL": "http://127.0.0.1:9", "VERS_API_KEY": "k"}
    with Program(tmp_path / "operator", env, warm=True).operator("--namespace", team.name) as operator:
        operator.says("waiting: ")
        operator.says('cannot get resource "namespaces"')
        operator.says("bind the ClusterRole reconciler-cluster")
        plane.install_rbac()
        eventually(lambda: "/team" in installation(team), "it has begun: its Lease says whose machines are its own")
        assert operator.said.count("waiting: ") == 1, "it is told once"
        assert operator.stop() == 0


def installation(team: Namespace) -> str:
    found = team.get("lease", "reconciler-default")["metadata"]["annotations"]
    return str(found.get("fleet.vers.sh/installation", ""))
