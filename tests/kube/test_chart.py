"""deploy/chart: rendered and installed by the real Helm on a real API server, and the same as the plain manifests beside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from reconciler.cli.options import with_globals
from reconciler.config import Config
from reconciler.notify.settings import read_sinks
from tests.kube import frugal
from tests.kube.assets import ROOT, Assets, versions
from tests.kube.controlplane import ControlPlane, documents, running
from tests.kube.test_deploy import DEPLOY, NEVER, Right, may, objects

pytestmark = pytest.mark.real("kube")

CHART = DEPLOY / "chart"
EVERYTHING = ("serviceMonitor.enabled=true", "alerts.enabled=true", "store.secretName=reconciler-store")


class Helm:
    """The program, for one cluster."""

    def __init__(self, program: Path, plane: ControlPlane) -> None:
        self._program, self._plane = program, plane

    def __call__(self, *words: str, fails: bool = False) -> str:
        home = self._plane.home
        env = {
            "PATH": os.defpath,
            "HOME": str(home),
            "KUBECONFIG": str(self._plane.admin.kubeconfig),
            "HELM_CACHE_HOME": str(home / "helm"),
            **frugal.OF_COMMANDS,
        }
        done = subprocess.run([str(self._program), *words], env=env, cwd=home, capture_output=True, text=True, timeout=100, check=False)
        assert (done.returncode != 0) == fails, f"helm {' '.join(words)}\n{done.stdout}{done.stderr}"
        assert fails or done.stderr == "", "it warns of nothing"
        return done.stdout + done.stderr

    def rendered(self, namespace: str, *values: str) -> list[dict[str, Any]]:
        release = f"v{versions().kubernetes}"
        told = self(
            "template",
            "reconciler",
            str(CHART),
            "--kube-version",
            release,
            "-n",
            namespace,
            *(word for value in values for word in ("--set", value)),
        )
        file = self._plane.home / "chart.yaml"
        file.write_text(told)
        return documents(file)


@pytest.fixture(scope="module")
def plane(kube_assets: Assets) -> Iterator[ControlPlane]:
    with running(kube_assets) as made:
        yield made


@pytest.fixture
def helm(helm_program: Path, plane: ControlPlane) -> Helm:
    return Helm(helm_program, plane)


def named(made: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By kind and by name, without what says which installation it is."""
    found: dict[str, dict[str, Any]] = {}
    for one in made:
        text = json.dumps({key: value for key, value in one.items() if key != "metadata"})
        text = text.replace('"app.kubernetes.io/instance": "reconciler", ', "").replace(', "app.kubernetes.io/instance": "reconciler"', "")
        found[f"{one['kind']}/{one['metadata']['name']}"] = json.loads(text)
    return found


@pytest.mark.parametrize("variant", ["deploy", "deploy/one-namespace"])
def test_the_chart_is_the_manifests_beside_it(helm: Helm, plane: ControlPlane, variant: str) -> None:
    """But for names, which carry the namespace where there may be several, and for the image."""
    chart = named(helm.rendered("reconciler", f"allNamespaces={str(variant == 'deploy').lower()}", "image.tag=latest"))
    plain = named(objects(plane, ROOT / variant))
    for kind in ("Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "PersistentVolumeClaim", "ServiceAccount"):
        assert chart[f"{kind}/reconciler"] == plain[f"{kind}/reconciler"], kind


SETTINGS = (
    "sharing.dedicatedAccount=false",
    "sharing.adoptUnowned={team-a,team-b}",
    "sharing.share={team-a=team-b,team-b=*}",
    "defaultModel=anthropic/claude",
    "logFormat=json",
    "verbose=true",
    "settleSeconds=90",
    "resyncSeconds=20",
)


def config_of(made: list[dict[str, Any]]) -> Config:
    """What the program makes of the arguments and variables of the rendered pod, by the command line's own reader."""
    (container,) = next(one for one in made if one["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"]
    environ = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    told: list[Config] = []

    def operator(
        config: Config, namespace: list[str] | None = None, all_namespaces: bool = False, listen: str = "", plain_http: bool = False
    ) -> None:
        told.append(config)

    app = typer.Typer()
    app.command()(with_globals("operator", operator, ()))
    command, *words = container["args"]
    assert command == "operator"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        app(words, standalone_mode=False)
    return told[0]


@pytest.mark.guarantee("G-07")
def test_values_of_the_chart_are_settings_of_the_operator(helm: Helm) -> None:
    config = config_of(helm.rendered("team-a", *SETTINGS))
    assert not config.dedicated_account
    assert config.adopt_unowned == ("team-a", "team-b")
    assert config.share == (("team-a", "team-b"), ("team-b", "*"))
    assert (config.default_model, config.log_format, config.verbose) == ("anthropic/claude", "json", True)
    assert (config.settle_seconds, config.resync_seconds) == (90.0, 20.0)
    text = '# sinks\n[[notify]]\nname = "page"\ncommand = ["page", "--now"]\n'
    escaped = text.replace(",", "\\,")
    (file,) = [one for one in helm.rendered("team-a", f"config={escaped}") if one["kind"] == "ConfigMap"]
    assert file["data"] == {"config.toml": text}
    (sink,) = read_sinks(tomllib.loads(file["data"]["config.toml"])["notify"], "config.toml")
    assert sink.name == "page"
    bare = config_of(helm.rendered("team-a"))
    assert (bare.dedicated_account, bare.adopt_unowned, bare.share) == (True, None, ())
    assert (bare.settle_seconds, bare.resync_seconds) == (60.0, 10.0)


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize("variant", ["deploy/page", "deploy/page/one-namespace"])
def test_the_page_may_act_only_where_that_is_asked_for(helm: Helm, plane: ControlPlane, tmp_path: Path, variant: str) -> None:
    """The component and the chart's value add the same argument, and the same one right where the operator serves."""
    everywhere = variant == "deploy/page"
    wide = f"allNamespaces={str(everywhere).lower()}"
    (tmp_path / "deploy").symlink_to(DEPLOY)
    overlay = tmp_path / "mine"
    overlay.mkdir()
    says = (ROOT / variant / "kustomization.yaml").read_text("utf-8")
    lines = re.findall(r"^#   ((?:resources|components): .*)$", says, re.MULTILINE)
    assert len(lines) == 2, "the component no longer says how it is used"
    (overlay / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    plain, chart = objects(plane, overlay), helm.rendered("reconciler", wide, "page.acts=true", "image.tag=latest")
    assert named(chart)["Deployment/reconciler"] == named(plain)["Deployment/reconciler"]
    (role,) = documents(DEPLOY / "cluster" / "page.yaml")
    (binding,) = [one for one in plain if one["kind"].endswith("RoleBinding") and one["metadata"]["name"] == "reconciler-page"]
    assert binding["kind"] == ("ClusterRoleBinding" if everywhere else "RoleBinding")
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (role["kind"], role["metadata"]["name"])
    made = {one["kind"]: one for one in chart if one["metadata"]["name"].endswith("-page")}
    assert set(made) == ({"ClusterRole", "ClusterRoleBinding"} if everywhere else {"Role", "RoleBinding"})
    assert made[role["kind"] if everywhere else "Role"]["rules"] == role["rules"]
    without = helm.rendered("reconciler", wide)
    assert [one for one in without if one["metadata"]["name"].endswith("-page")] == []
    assert "--page-acts" not in json.dumps(without)


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize("everywhere", [True, False])
def test_the_chart_gives_the_rights_of_the_manifests(helm: Helm, everywhere: bool) -> None:
    """Rule by rule; in one namespace as a Role, so that nothing elsewhere can be read."""
    made = helm.rendered("team-a", f"allNamespaces={str(everywhere).lower()}")
    rules = {(one["kind"], one["metadata"]["name"]): one["rules"] for one in made if one["kind"] in ("Role", "ClusterRole")}
    wanted = {
        one["metadata"]["name"]: one["rules"] for file in ("rbac.yaml", "people.yaml") for one in documents(DEPLOY / "cluster" / file)
    }
    assert rules.pop(("ClusterRole", "reconciler.team-a") if everywhere else ("Role", "reconciler")) == wanted["reconciler"]
    assert rules.pop(("Role", "reconciler-lease")) == wanted["reconciler-lease"]
    assert rules.pop(("Role", "reconciler-orphans")) == wanted["reconciler-orphans"]
    assert rules.pop(("ClusterRole", "reconciler.team-a-cluster")) == wanted["reconciler-cluster"]
    assert rules.pop(("ClusterRole", "reconciler.team-a-view")) == wanted["reconciler-view"]
    assert rules.pop(("ClusterRole", "reconciler.team-a-edit")) == wanted["reconciler-edit"]
    assert rules == {}


def test_what_is_outside_of_the_namespace_has_the_namespace_in_its_name(helm: Helm) -> None:
    for one in helm.rendered("team-a", "allNamespaces=true", *EVERYTHING):
        inside = one["metadata"].get("namespace")
        assert inside == "team-a" or (inside is None and ".team-a" in one["metadata"]["name"]), one["metadata"]


def test_monitor_alerts_and_protection_are_the_manifests(helm: Helm, plane: ControlPlane) -> None:
    """And absent unless asked for."""
    chart = named(helm.rendered("reconciler", *EVERYTHING))
    for kind, file in (("ServiceMonitor", "monitor.yaml"), ("PrometheusRule", "alerts.yaml")):
        (plain,) = documents(DEPLOY / "prometheus" / file)
        assert chart[f"{kind}/reconciler"]["spec"] == plain["spec"]
    policy, _ = documents(DEPLOY / "cluster" / "protection.yaml")
    assert chart["ValidatingAdmissionPolicy/reconciler.reconciler-kinds-stay"]["spec"] == policy["spec"]
    kinds = {one["kind"] for one in helm.rendered("reconciler")}
    assert kinds & {"ServiceMonitor", "PrometheusRule"} == set()


def test_the_component_for_prometheus_adds_both_to_an_overlay(plane: ControlPlane, tmp_path: Path) -> None:
    """As its own comment says."""
    (tmp_path / "deploy").symlink_to(DEPLOY)
    (tmp_path / "mine").mkdir()
    says = (DEPLOY / "prometheus" / "kustomization.yaml").read_text("utf-8")
    lines = re.findall(r"^#   ((?:resources|components): .*)$", says, re.MULTILINE)
    assert len(lines) == 2, "the component no longer says how it is used"
    (tmp_path / "mine" / "kustomization.yaml").write_text("\n".join(lines) + "\nnamespace: elsewhere\n")
    made = {one["kind"]: one for one in objects(plane, tmp_path / "mine")}
    assert made["ServiceMonitor"]["metadata"]["namespace"] == made["PrometheusRule"]["metadata"]["namespace"] == "elsewhere"
    (endpoint,) = made["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["port"] in {one["name"] for one in made["Service"]["spec"]["ports"]}
    assert made["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items() <= made["Service"]["metadata"]["labels"].items()


def test_helm_finds_nothing_to_say_about_the_chart(helm: Helm) -> None:
    told = helm("lint", "--strict", str(CHART), *(word for value in EVERYTHING for word in ("--set", value)))
    assert "0 chart(s) failed" in told
    release = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert release is not None
    (chart,) = documents(CHART / "Chart.yaml")
    assert chart["version"] == chart["appVersion"] == release[1]


@pytest.mark.guarantee("G-60")
def test_two_releases_in_one_cluster_and_what_stays_when_they_go(helm: Helm, plane: ControlPlane) -> None:
    """Each has its own rights; removing one takes nothing from the other; removing both leaves the kinds, what is declared, the volume
    with the store, and the policy that keeps the kinds."""
    for name in ("team-a", "team-b"):
        told = helm("install", "reconciler", str(CHART), "-n", name, "--create-namespace")
        assert f"kubectl -n {name} create secret generic vers" in told
    plane.kubectl("wait", "crd/lieutenants.fleet.vers.sh", "--for=condition=Established", "--timeout=30s")
    document = {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": "Lieutenant", "metadata": {"name": "ada", "namespace": "team-a"}}
    plane.kubectl("create", "-f", "-", stdin=json.dumps({**document, "spec": {"role": "Keep it", "profileRef": {"name": "lightweight"}}}))

    def account(name: str) -> str:
        return f"system:serviceaccount:{name}:reconciler"

    def serves(name: str) -> bool:
        rights = (Right("list", "secrets"), Right("patch", "fleet.vers.sh/lieutenants"), Right("create", "coordination.k8s.io/leases"))
        mine = all(may(plane, right, name, user=account(name)) for right in rights)
        return mine and may(plane, Right("get", "namespaces"), "kube-system", "kube-system", user=account(name))

    assert serves("team-a")
    assert serves("team-b")
    assert not may(plane, Right("list", "secrets"), "team-b", user=account("team-a"))
    assert [right for right in NEVER if may(plane, right, "team-a", user=account("team-a"))] == []

    helm("upgrade", "reconciler", str(CHART), "-n", "team-a", "--set", "allNamespaces=true")
    assert may(plane, Right("list", "secrets"), "team-b", user=account("team-a"))
    helm("uninstall", "reconciler", "-n", "team-b")
    assert serves("team-a")
    helm("uninstall", "reconciler", "-n", "team-a")
    assert not may(plane, Right("list", "secrets"), "team-a", user=account("team-a"))
    assert "ada" in plane.kubectl("get", "lt", "-n", "team-a", "-o", "name")
    assert "reconciler" in plane.kubectl("get", "pvc", "-n", "team-a", "-o", "name")
    refused = plane.try_kubectl("delete", "crd", "lieutenants.fleet.vers.sh", "--wait=false")
    assert "fleet.vers.sh/confirm-delete=true" in refused.stderr
    assert "ada" in plane.kubectl("get", "lt", "-n", "team-a", "-o", "name")
    helm("install", "reconciler", str(CHART), "-n", "team-a")  # what stayed is in nobody's way
