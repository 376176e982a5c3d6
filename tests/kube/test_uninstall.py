"""Nobody loses machines by removing the kinds in passing; who means it is told how."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.api.registry import KINDS
from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import eventually, platform
from tests.kube.assets import ROOT
from tests.kube.controlplane import ControlPlane
from tests.kube.operating import Person, RealTime, charge, until
from tests.kube.test_operator import LIEUTENANT
from tests.kube.test_pages import commands, operator_of

pytestmark = pytest.mark.real("kube")

CRDS = [f"{kind.plural}.fleet.vers.sh" for kind in KINDS]
LIEUTENANTS = "lieutenants.fleet.vers.sh"
DECLARED = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def protected(plane: ControlPlane) -> None:
    """Applied, and in force: the API server takes a moment to know a policy."""
    plane.kubectl("apply", "--server-side", "-k", str(ROOT / "deploy"))
    eventually(lambda: plane.request("DELETE", f"{DECLARED}/{CRDS[0]}?dryRun=All")[0] == 403, "the policy is in force")


def test_a_kind_is_deleted_only_after_it_was_annotated(private_plane: ControlPlane) -> None:
    """One by one, as a collection, and by the command that installed it, however often it is typed; other CRDs are nobody's business."""
    plane = private_plane
    protected(plane)
    for name in CRDS:
        refused = plane.try_kubectl("delete", "crd", name)
        assert refused.returncode == 1
        assert f"kubectl annotate crd {name} fleet.vers.sh/confirm-delete=true" in refused.stderr
        assert "docs/kubernetes.md" in refused.stderr
    status, _ = plane.request("DELETE", DECLARED)
    assert status == 403
    for _ in range(2):
        refused = plane.try_kubectl("delete", "-k", str(ROOT / "deploy"), "--ignore-not-found")
        assert (refused.returncode, refused.stderr.count("fleet.vers.sh/confirm-delete=true")) == (1, len(CRDS))
    found = json.loads(plane.kubectl("get", "crd", "-o", "json"))["items"]
    assert {one["metadata"]["name"] for one in found if "deletionTimestamp" not in one["metadata"]} == set(CRDS)

    other = json.dumps(found[0]).replace("fleet.vers.sh", "example.org")
    plane.kubectl("create", "-f", "-", stdin=other)
    plane.kubectl("delete", "crd", found[0]["metadata"]["name"].replace("fleet.vers.sh", "example.org"))
    plane.kubectl("annotate", "crd", CRDS[0], "fleet.vers.sh/confirm-delete=maybe")
    assert plane.try_kubectl("delete", "crd", CRDS[0]).returncode == 1
    plane.kubectl("annotate", "--overwrite", "crd", CRDS[0], "fleet.vers.sh/confirm-delete=true")
    plane.kubectl("delete", "crd", CRDS[0], "--timeout=30s")


KEPT = {
    "managed": "managementPolicy: NoDelete",
    "retained": "deletionPolicy: Retain",
    "orphaned": "deletionPolicy: Orphan",
    "observed": "managementPolicy: ObserveOnly",
}


async def test_what_was_declared_to_stay_outlives_the_deletion_of_its_kind(
    private_plane_with_kinds: ControlPlane, tmp_path: Path, world: RealTime
) -> None:
    """A machine that nothing protects goes with its object; those that a policy keeps are there after the kind is gone; one under
    deletion protection holds the deletion of the kind back."""
    plane = private_plane_with_kinds
    person = Person(plane.namespace("team"))

    def alive() -> set[str]:
        return {machine.vm_id for machine in world.alive()}

    async with charge(person.cluster, tmp_path, world) as _:
        for name in ("plain", "guarded", *KEPT):
            await person.apply(LIEUTENANT.replace("name: ada", f"name: {name}"))
            await person.wait(f"lt/{name}", "Ready")
        vms = {name: (await person.get("lt", name))["status"]["vm"]["id"] for name in ("plain", "guarded", *KEPT)}
        for name, line in KEPT.items():
            field, value = line.split(": ")
            await person.kubectl("patch", f"lt/{name}", "--type=merge", "-p", json.dumps({"spec": {field: value}}))
        await person.kubectl("annotate", "lt/guarded", "fleet.vers.sh/deletion-protection=enabled")
        await person.kubectl("delete", "crd", LIEUTENANTS, "--wait=false")
        await until(lambda: vms["plain"] not in alive(), "what nothing protects is deleted")
        await person.sees("lt", "guarded", "Stalled", "Protected")
        assert alive() == set(vms.values()) - {vms["plain"]}
        await person.kubectl("annotate", "lt/guarded", "fleet.vers.sh/deletion-protection-")
        await until(lambda: plane.get(f"{DECLARED}/{LIEUTENANTS}")[0] == 404, "the kind is gone")
        await until(lambda: vms["guarded"] not in alive(), "and what was protected, once it no longer was")
    assert alive() == {vms[name] for name in KEPT}


@pytest.mark.slow
def test_the_section_uninstall_followed_word_by_word(private_plane: ControlPlane, tmp_path: Path) -> None:
    """On what the section before it installed: afterwards there is neither a machine nor anything of ours in the cluster, but for what
    the namespace controller, which this cluster lacks, would collect."""
    plane = private_plane
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    protected(plane)
    key = "VERS_API_KEY"
    with platform(SimulatorConfig(guests="stub")) as stub:
        (tmp_path / "key.txt").write_text(stub.endpoints.environment()[key])
        plane.kubectl("-n", "reconciler", "create", "secret", "generic", "vers", f"--from-file={key}={tmp_path / 'key.txt'}")
        plane.kubectl("create", "namespace", "team")
        plane.kubectl("apply", "-n", "team", "-f", str(ROOT / "examples" / "suspended.yaml"))
        program, args = operator_of(plane, tmp_path, stub)
        with program.operator(*args) as operator:
            operator.says("in charge of all namespaces")
            plane.kubectl("wait", "-n", "team", "lt/sleeper", "--for=condition=Ready", "--timeout=60s", seconds=70)
            env = {
                "PATH": f"{plane.assets.directory}:{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(tmp_path / "home"),
                "KUBECONFIG": str(plane.admin.kubeconfig),
            }
            typed = commands("docs/kubernetes.md", ["Uninstall"])
            assert len(typed) >= 4
            for line in typed:
                done = subprocess.run(["bash", "-c", line], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
                assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                if re.search(r"delete .*fleet --all", line):
                    assert stub.present() == []
    eventually(lambda: json.loads(plane.kubectl("get", "crd", "-o", "json"))["items"] == [], "no kind is left")
    for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings", "clusterroles", "clusterrolebindings"):
        assert "reconciler" not in plane.kubectl("get", kind, "-o", "name")
