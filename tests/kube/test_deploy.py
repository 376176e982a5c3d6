"""What `kubectl apply -k deploy` puts into a cluster: taken by a real API server, fitting the program, and with no right too many."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler import config
from reconciler.cli.program import program as command_line
from reconciler.config import VARIABLES
from reconciler.serve.credentials import TOKEN_VARIABLE
from reconciler.serve.server import read_address
from tests.kube.assets import ROOT, Assets
from tests.kube.controlplane import ControlPlane, documents, running
from tests.kube.operating import Person, RealTime, charge, until
from tests.kube.prepared import with_kinds
from tests.kube.test_operator import LIEUTENANT, task

pytestmark = pytest.mark.real("kube")

DEPLOY = ROOT / "deploy"
ACCOUNT = "system:serviceaccount:reconciler:reconciler"
VARIANTS = ("deploy", "deploy/one-namespace", "postgresql")
"""Of the operator. What is there once in a cluster (deploy/cluster) is in `deploy` and has to be there before the others."""
AUDIT = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata", "omitStages": ["RequestReceived"]}]}
"""A watch is written down when it begins: one that is on need not have ended when the log is read."""


@pytest.fixture(scope="module")
def plane(kube_assets: Assets) -> Iterator[ControlPlane]:
    """A server with what `deploy` makes."""
    with running(kube_assets) as made:
        made.kubectl("apply", "--server-side", "-k", str(DEPLOY))
        yield made


def folder_of(variant: str, room: Path) -> Path:
    """What is given to kubectl; the component in an overlay as its own comment says."""
    if variant != "postgresql":
        return ROOT / variant
    (room / "deploy").symlink_to(DEPLOY)
    overlay = room / "mine"
    overlay.mkdir()
    says = (DEPLOY / "postgresql" / "kustomization.yaml").read_text("utf-8")
    lines = re.findall(r"^#   ((?:resources|components): .*)$", says, re.MULTILINE)
    assert len(lines) == 2, "the component no longer says how it is used"
    (overlay / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    return overlay


def objects(plane: ControlPlane, folder: Path) -> list[dict[str, Any]]:
    rendered = plane.home / "rendered.yaml"
    rendered.write_text(plane.kubectl("kustomize", str(folder)))
    return documents(rendered)


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    template: dict[str, Any] = deployment["spec"]["template"]
    return template


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_accepted_as_it_stands(plane: ControlPlane, variant: str, tmp_path: Path) -> None:
    """By one command, with nothing unknown in it and without a warning (the namespace asks for those about pods); and its pod
    passes the restricted standard, which something privileged does not."""
    folder = folder_of(variant, tmp_path)
    done = plane.try_kubectl("apply", "--server-side", "--force-conflicts", "--validate=strict", "-k", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    made = objects(plane, folder)
    assert len(done.stdout.splitlines()) == len(made) >= (8 if variant == "deploy/one-namespace" else 18)
    pod = {"apiVersion": "v1", "kind": "Pod", **pod_of(next(one for one in made if one["kind"] == "Deployment"))}
    pod["metadata"] = {**pod["metadata"], "name": "copy", "namespace": "reconciler"}
    plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(pod))
    pod["spec"]["hostNetwork"] = True
    refused = plane.try_kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    assert "violates PodSecurity" in refused.stderr


def test_applying_it_again_changes_nothing(plane: ControlPlane) -> None:
    """Also after another variant was there: one may go back from PostgreSQL."""

    def versions() -> list[str]:
        plane.kubectl("apply", "--server-side", "-k", str(DEPLOY))
        found = json.loads(plane.kubectl("get", "-k", str(DEPLOY), "-o", "json"))["items"]
        return [one["metadata"]["resourceVersion"] for one in found]

    for _ in range(2):  # the API server stores a PersistentVolumeClaim once more, unchanged, when it is applied to for the first time
        versions()
    first = versions()
    assert versions() == first


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_fits_the_program_and_the_image(plane: ControlPlane, variant: str, tmp_path: Path) -> None:
    """Arguments and environment are the command line's own; directories, user and ports are the same wherever they are named."""
    made = {one["kind"]: one for one in objects(plane, folder_of(variant, tmp_path)) if one["metadata"]["name"] == "reconciler"}
    pod = pod_of(made["Deployment"])
    (container,) = pod["spec"]["containers"]
    env = {one["name"]: one.get("value", "from elsewhere") for one in container["env"]}
    args = [re.sub(r"\$\((\w+)\)", lambda found: env[found[1]], word) for word in container["args"]]

    program = command_line()
    assert args[0] in program.commands
    parsed = program.commands[args[0]].make_context(args[0], args[1:])
    address = read_address(parsed.params["listen"])
    known = {*VARIABLES.values(), TOKEN_VARIABLE, "VERS_API_KEY", "HOME", "XDG_CACHE_HOME", "POD_NAMESPACE"}
    assert set(env) <= known
    settings = config.load({}, {name: value for name, value in env.items() if name in VARIABLES.values()})

    image = (ROOT / "Containerfile").read_text("utf-8")
    assert 'ENTRYPOINT ["reconciler"]' in image
    assert f"RECONCILER_STATE={settings.state}" in image
    assert f"--uid {pod['spec']['securityContext']['runAsUser']} " in image
    mounts = {one["mountPath"] for one in container["volumeMounts"]}
    assert str(settings.state) in mounts
    assert env["HOME"] in mounts
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["spec"]["volumes"]}

    (port,) = container["ports"]
    assert port["containerPort"] == address.port
    assert made["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    (ingress,) = made["NetworkPolicy"]["spec"]["ingress"]
    assert ingress["ports"] == [{"port": address.port, "protocol": "TCP"}]
    probes = {container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {"/healthz", "/readyz"}
    labels = pod["metadata"]["labels"]
    assert made["Service"]["spec"]["selector"] == labels == made["Deployment"]["spec"]["selector"]["matchLabels"]
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        spec = made[kind]["spec"]
        assert (spec.get("selector") or spec["podSelector"])["matchLabels"] == labels

    two = made["Deployment"]["spec"]["replicas"] > 1
    assert two == ("RECONCILER_STORE" in env) == ("PersistentVolumeClaim" not in made), "one SQLite file has one writer"
    assert (made["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0) == (not two)


# --- rights -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Right:
    """One thing that may be done. `resource`: [GROUP/]PLURAL, with `/SUB` as roles have it or `:SUB` where we ask."""

    verb: str
    resource: str


def granted() -> set[Right]:
    """What both roles say, one by one."""
    rules = [rule for role in documents(DEPLOY / "cluster" / "rbac.yaml") for rule in role["rules"]]
    return {
        Right(verb, f"{group}/{resource}".removeprefix("/"))
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def may(plane: ControlPlane, right: Right, namespace: str, name: str = "", user: str = ACCOUNT) -> bool:
    group, _, resource = right.resource.rpartition("/")
    resource, _, sub = resource.partition(":")
    asked = {"verb": right.verb, "group": group, "resource": resource, "subresource": sub, "namespace": namespace, "name": name}
    groups = ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}"]
    spec = {"user": user, "groups": groups, "resourceAttributes": asked}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    status, told = plane.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert status == 201, told
    return bool(told["status"]["allowed"])


NEVER = [
    *(Right(verb, "secrets") for verb in ("create", "update", "patch", "delete")),
    *(Right(verb, resource) for verb in ("get", "create", "delete") for resource in ("pods", "nodes", "apps/deployments", "batch/jobs")),
    *(Right("create", what) for what in ("pods:exec", "pods:eviction", "serviceaccounts:token", "namespaces", "configmaps")),
    *(Right("delete", f"fleet.vers.sh/{kind}") for kind in ("vmtrees", "bootprofiles")),
    *(Right("create", f"fleet.vers.sh/{kind}") for kind in ("tasks", "vmtrees", "bootprofiles")),
    *(Right("update", f"fleet.vers.sh/{kind}") for kind in ("tasks", "vmtrees", "bootprofiles")),
    *(Right(verb, "rbac.authorization.k8s.io/clusterroles") for verb in ("escalate", "bind", "create", "patch")),
    *(Right("impersonate", what) for what in ("users", "groups", "serviceaccounts")),
    *(Right(verb, "apiextensions.k8s.io/customresourcedefinitions") for verb in ("get", "create", "patch", "delete")),
    Right("delete", "coordination.k8s.io/leases"),
    Right("list", "namespaces"),
]


@pytest.mark.guarantee("G-60")
def test_the_account_may_do_nothing_else(plane: ControlPlane) -> None:
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(DEPLOY))
    assert [right for right in NEVER if may(plane, right, "default")] == []
    update, create = (Right(verb, "coordination.k8s.io/leases") for verb in ("update", "create"))
    assert may(plane, update, "reconciler", "reconciler-default")
    assert may(plane, create, "reconciler")
    assert not may(plane, create, "default"), "its Lease is where it is"
    assert not may(plane, update, "default", "reconciler-default")
    assert not may(plane, update, "kube-system", "kube-controller-manager"), "it could put others out of charge"
    assert may(plane, Right("list", "secrets"), "default")
    assert may(plane, Right("patch", "fleet.vers.sh/lieutenants"), "default")
    assert not may(plane, Right("get", "namespaces"), "", "default")


@pytest.mark.guarantee("G-60")
def test_the_account_of_one_namespace_reads_no_secret_elsewhere(private_plane: ControlPlane) -> None:
    plane = private_plane
    plane.kubectl("create", "namespace", "reconciler")
    plane.kubectl("apply", "--server-side", "-k", str(DEPLOY / "cluster"))
    plane.kubectl("apply", "--server-side", "-k", str(DEPLOY / "one-namespace"))
    for right in (Right("list", "secrets"), Right("patch", "fleet.vers.sh/lieutenants"), Right("create", "coordination.k8s.io/leases")):
        assert may(plane, right, "reconciler")
        assert not may(plane, right, "default")
    assert may(plane, Right("get", "namespaces"), "kube-system", "kube-system")


def test_who_may_view_or_edit_a_namespace_may_view_or_edit_agents(plane: ControlPlane) -> None:
    """No controller joins roles here, so what the labels promise is read from them."""
    roles = {role["metadata"]["name"]: role for role in documents(DEPLOY / "cluster" / "people.yaml")}
    assert roles["reconciler-view"]["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert roles["reconciler-edit"]["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    kinds = {one["spec"]["names"]["plural"] for one in documents(DEPLOY / "cluster" / "crds.yaml")}
    for role in (roles["reconciler-view"], roles["reconciler-edit"]):
        assert {resource for rule in role["rules"] for resource in rule["resources"]} == kinds


AFTER_A_CONFLICT = {Right("get", f"fleet.vers.sh/{kind}") for kind in ("bootprofiles", "lieutenants", "tasks", "vmtrees")}
"""One object is read anew when somebody was faster, which this life need not meet."""


async def test_every_right_is_used_and_no_other_is_missed(kube_assets: Assets, room_of_the_run: Path, tmp_path: Path) -> None:
    """A life of a fleet under the API server's audit: what the operator did there is what its roles let it do, no more and no less."""
    policy, audit = tmp_path / "policy.json", tmp_path / "audit.log"
    policy.write_text(json.dumps(AUDIT))
    world = RealTime()
    with with_kinds(kube_assets, room_of_the_run, [f"--audit-policy-file={policy}", f"--audit-log-path={audit}"]) as plane:
        person = Person(plane.namespace())
        head = "apiVersion: fleet.vers.sh/v1alpha1\n"
        async with charge(person.cluster, tmp_path, world) as operator:
            await person.kubectl("create", "secret", "generic", "keys", "--from-literal=token=a-value-of-the-key")
            await person.kubectl("create", "configmap", "texts", "--from-literal=prompt=do it")
            profile, root = "{extends: {name: lightweight}}", "{name: root, category: Agent, profileRef: {name: lightweight}}"
            await person.apply(f"{head}kind: BootProfile\nmetadata: {{name: mine}}\nspec: {profile}\n")
            await person.apply(f"{head}kind: VMTree\nmetadata: {{name: wood}}\nspec: {{nodes: [{root}]}}\n")
            env = "[{name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}]"
            await person.apply(LIEUTENANT.replace("{role: Keep it,", f"{{role: Keep it, env: {env},"))
            given = {"configMapKeyRef": {"name": "texts", "key": "prompt"}}
            await person.apply(task("one", ttlSecondsAfterFinished=0, contentFrom=given).replace('"prompt": "do it", ', ""))
            await person.apply(task("two"))
            await person.wait("ltask/two", "Ready")
            item = next(iter(operator.engine.table.of_kind("Lieutenant")))
            for number in range(2):  # the same news twice is one Event, counted
                operator.engine.recorder.event(item.key, item.uid, "Idle", f"the same again: {number}")
            await person.kubectl("wait", "ltask/one", "--for=delete", "--timeout=60s")
            await until(lambda: operator.kube_controller.rests() and not operator.kube_controller.events._waiting, "everything is told")
            await person.wait("vmt/wood", "Ready")
            await person.kubectl("patch", "lt/wood-root", "--type=merge", "-p", '{"spec":{"role":"Another"}}')  # it is put back
            await until(lambda: "kube.redeclare" in operator.engine.effects.calls, "it is put back")
            await person.kubectl("delete", "vmt", "--all", "--timeout=60s")
            await person.kubectl("delete", "lt,ltask,bp", "--all", "--timeout=60s")
        done: set[Right] = set()
        refused: list[str] = []
        for line in audit.read_text().splitlines():
            entry = json.loads(line)
            at = entry.get("objectRef") or {}
            if entry["user"]["username"] != plane.operator.name or "resource" not in at:
                continue
            resource = "/".join(part for part in (at.get("apiGroup", ""), at["resource"], at.get("subresource", "")) if part)
            done.add(Right(entry["verb"], resource))
            if entry["responseStatus"]["code"] == 403:
                refused.append(f"{entry['verb']} {resource}")
    assert refused == []
    assert sorted(done - granted()) == []
    assert sorted(granted() - done - AFTER_A_CONFLICT) == []
