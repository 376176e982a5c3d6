"""What README and docs/kubernetes.md tell to type, typed. There is no kubelet: the operator is a process with the arguments of its
Deployment, as its service account."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.registry import BY_NAME
from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import Platform, platform
from tests.kube.assets import ROOT
from tests.kube.controlplane import ControlPlane, Identity
from tests.program import Program

pytestmark = [pytest.mark.real("kube"), pytest.mark.slow]

PAGES = {
    "README.md": ["In a Kubernetes cluster"],
    "docs/kubernetes.md": ["Begin", "The command line", "GitOps"],
}


def commands(page: str, sections: list[str]) -> list[str]:
    """The indented lines of these sections, in order."""
    parts = re.split(r"^## (.+)$", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    return [line.strip() for name in sections for line in re.findall(r"^ {4}\S.*$", texts[name], re.MULTILINE)]


@pytest.fixture
def stub() -> Iterator[Platform]:
    with platform(SimulatorConfig(guests="stub")) as running:
        yield running


def operator_of(plane: ControlPlane, folder: Path, stub: Platform) -> tuple[Program, list[str]]:
    """What the kubelet would start: arguments and key from the cluster, and the account's own token."""
    found: dict[str, Any] = json.loads(plane.kubectl("-n", "reconciler", "get", "deploy/reconciler", "-o", "json"))
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == "operator"
    token = plane.kubectl("-n", "reconciler", "create", "token", found["spec"]["template"]["spec"]["serviceAccountName"]).strip()
    account = Identity("account", token, folder / "account.kubeconfig")
    account.kubeconfig.write_text(json.dumps(plane._kubeconfig(account, "default")))
    secret = json.loads(plane.kubectl("-n", "reconciler", "get", "secret", "vers", "-o", "json"))
    key = base64.b64decode(secret["data"]["VERS_API_KEY"]).decode()
    env = {**stub.endpoints.environment(), "VERS_API_KEY": key, "KUBECONFIG": str(account.kubeconfig), "RECONCILER_RESYNC_SECONDS": "1"}
    args = [re.sub(r"^0\.0\.0\.0:\d+$", "127.0.0.1:0", word) for word in container["args"][1:]]
    return Program(folder / "operator", env), args


@pytest.mark.parametrize("page", list(PAGES))
def test_the_page_followed_word_by_word(private_plane: ControlPlane, stub: Platform, tmp_path: Path, page: str) -> None:
    plane = private_plane
    for name in ("deploy", "examples", "crds"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "key.txt").write_text(stub.endpoints.environment()["VERS_API_KEY"])
    env = {
        "PATH": f"{plane.assets.directory}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path / "home"),
        "KUBECONFIG": str(plane.admin.kubeconfig),
        "RECONCILER_STATE": str(tmp_path / "none"),
    }
    operator = None
    try:
        for line in commands(page, PAGES[page]):
            done = subprocess.run(["bash", "-c", line], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
            assert done.returncode == (2 if line.startswith("reconciler plan") else 0), f"{line}\n{done.stdout}\n{done.stderr}"
            if "create secret generic vers" in line:
                program, args = operator_of(plane, tmp_path, stub)
                operator = program.operator(*args)
                operator.says("in charge of all namespaces")
    finally:
        if operator is not None:
            assert operator.stop() == 0
    assert operator is not None
    lease = json.loads(plane.kubectl("-n", "reconciler", "get", "lease", "reconciler-default", "-o", "json"))
    assert lease["metadata"]["annotations"]["fleet.vers.sh/serves"] == "*"
    assert lease["metadata"]["annotations"]["fleet.vers.sh/installation"].endswith("/reconciler")
    assert "is forbidden" not in operator.said
    assert not (tmp_path / "none").exists()
    if page == "docs/kubernetes.md":
        told = json.loads(plane.kubectl("-n", "argocd", "get", "cm", "argocd-cm", "-o", "json"))["data"]
        script = (ROOT / "examples" / "gitops" / "argocd-health.lua").read_text("utf-8")
        assert told == {f"resource.customizations.health.fleet.vers.sh_{kind}": script for kind in BY_NAME}
