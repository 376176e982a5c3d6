"""Every command of `--kube` on a bad day: what is not there, no right, no API server, another context. One line, and an exit code that
tells the kind."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from reconciler.cli.catalog import CLUSTERS
from tests.kube.controlplane import ControlPlane, Namespace
from tests.kube.operating import Person
from tests.kube.people import LOOKS, rule, somebody
from tests.kube.test_cli_kube import Desk, bare, desk
from tests.kube.test_operator import LIEUTENANT, task

__all__ = ["bare", "desk"]  # fixtures

pytestmark = [pytest.mark.real("kube"), pytest.mark.slow]

VM = "00000000-0000-4000-8000-0000000000ee"
NOBODY: dict[str, tuple[str, ...]] = {
    "get": ("lt", "nobody"),
    "describe": ("lt", "nobody"),
    "tree": ("nobody",),
    "output": ("nobody",),
    "send": ("nobody", "do it", "--steer"),
    "cancel": ("nobody",),
    "retry": ("lt", "nobody"),
    "resolve": ("lt", "nobody", "--none"),
    "suspend": ("lt", "nobody"),
    "resume": ("lt", "nobody"),
    "set": ("lt", "nobody", "mode=Running"),
    "delete": ("lt", "nobody", "--confirm"),
    "rewind": ("nobody",),
    "rollout": ("pause", "nobody"),
    "approve": ("nobody",),
    "deny": ("nobody",),
    "auth": ("can-i", "lt/nobody", "bash(ls)"),
    "snapshot": ("lt", "nobody"),
    "rollback": ("nobody", VM, "--confirm"),
    "diff": ("lt/nobody", "lt/ada"),
    "forget": ("lt", "nobody"),
    "exec": ("nobody", "--", "true"),
    "cp": ("nobody:x", "y"),
    "memory": ("get", "nobody"),
}
"""Command → words that name something that is not there."""

OTHERS: dict[str, tuple[str, ...]] = {
    "events": (),
    "wait": ("lt/ada", "--for", "Ready", "--timeout", "5"),
    "plan": ("ada.yaml",),
    "apply": ("-f", "ada.yaml"),
    "adopt": (VM, "--as", "new"),
    "orphans": (),
    "doctor": (),
}
EVERY = {**NOBODY, **OTHERS}

MAY_NOT = {
    ("apply", "-f", "ada.yaml"): 'cannot patch resource "lieutenants"',
    ("plan", "ada.yaml"): 'cannot patch resource "lieutenants"',
    ("send", "ada", "do it"): 'cannot patch resource "tasks"',
    ("send", "ada", "do it", "--steer"): 'cannot patch resource "tasks"',
    ("adopt", VM, "--as", "new"): 'cannot patch resource "lieutenants"',
    ("suspend", "lt", "ada"): 'cannot patch resource "lieutenants"',
    ("resume", "lt", "bob"): 'cannot patch resource "lieutenants"',
    ("set", "lt", "ada", "role=Other"): 'cannot patch resource "lieutenants"',
    ("cancel", "one"): 'cannot patch resource "tasks"',
    ("retry", "lt", "ada"): 'cannot patch resource "lieutenants"',
    ("resolve", "lt", "stuck", "--none"): 'cannot patch resource "lieutenants"',
    ("delete", "lt", "ada"): 'cannot delete resource "lieutenants"',
    ("delete", "lt", "ada", "--confirm"): 'cannot delete resource "lieutenants"',
    ("forget", "lt", "ada"): 'cannot delete resource "lieutenants"',
    ("orphans",): 'cannot get resource "leases"',
    ("events",): 'cannot list resource "events"',
}
MAY_NOT_LOOK = {
    ("get", "all"): 'cannot list resource "bootprofiles"',
    ("get", "lt", "ada"): 'cannot list resource "lieutenants"',
    ("describe", "lt", "ada"): 'cannot get resource "lieutenants"',
    ("tree",): 'cannot list resource "bootprofiles"',
    ("output", "ada"): 'cannot get resource "lieutenants"',
    ("wait", "lt/ada", "--for", "Ready"): 'cannot get resource "lieutenants"',
    ("send", "ada", "do it"): 'cannot get resource "lieutenants"',
    ("cancel", "one"): 'cannot get resource "tasks"',
    ("exec", "ada", "--", "true"): 'cannot get resource "lieutenants"',
    ("cp", "ada:x", "y"): 'cannot get resource "lieutenants"',
}


@pytest.fixture
def scene(bare: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Two lieutenants, one that asks for an answer and a task, in the store and nowhere else."""
    monkeypatch.chdir(bare.folder)
    monkeypatch.setenv("VERS_API_KEY", "0" * 8 + "-0000-4000-8000-" + "0" * 12 + "a" * 64)
    bare.file("ada.yaml", LIEUTENANT)
    cluster = bare.person.cluster
    for name, more in (("ada", ""), ("bob", "mode: Suspended, "), ("stuck", "")):
        cluster.apply(LIEUTENANT.replace("{name: ada}", f"{{name: {name}}}").replace("{role", f"{{{more}role"))
    cluster.apply(task("one"))
    stalled = {
        "type": "Stalled",
        "status": "True",
        "reason": "CreateAmbiguous",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    cluster.set_status("lt", "stuck", {"observedGeneration": 1, "conditions": [stalled]})
    return bare


async def with_kube(desk: Desk, words: tuple[str, ...], code: int = 1) -> str:
    return await desk.refused(words[0], "--kube", *words[1:], code=code)


def test_every_command_has_its_bad_days() -> None:
    assert set(EVERY) == CLUSTERS


async def test_what_is_not_there(scene: Desk) -> None:
    for name, words in NOBODY.items():
        told = await with_kube(scene, (name, *words))
        assert "nobody does not exist" in told, f"{name}: {told}"
        assert f"namespace {scene.person.cluster.name}" in told, f"{name}: {told}"
        assert f"`reconciler get --kube -n {scene.person.cluster.name} " in told, f"the remedy asks the same cluster: {told}"
    told = await with_kube(scene, ("wait", "lt/nobody", "--for", "Ready", "--timeout", "0"), code=3)
    assert "it does not exist" in told
    assert f"`reconciler get --kube -n {scene.person.cluster.name} lieutenant`" in told
    assert "did you mean task/ada-8mohu" in await with_kube(scene, ("wait", "ada-8mohu", "--for", "Ready"), code=64)
    assert await scene("wait", "--kube", "lt/nobody", "--for", "delete") == "lieutenant/nobody is gone\n"
    assert "no operator has ever been in charge here" in await with_kube(scene, ("orphans", "--fleet", "nobodys"))


async def test_a_suspended_machine_is_not_asked(scene: Desk) -> None:
    """Known from status, so it is said at once; the platform and its key are not needed for it."""
    cluster = scene.person.cluster
    asleep = {"type": "Suspended", "status": "True", "reason": "VMSuspended", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    for name in ("ada", "bob"):
        cluster.set_status("lt", name, {"observedGeneration": 1, "vm": {"id": VM}, "conditions": [asleep]})
    for words in (("exec", "{}", "--", "true"), ("cp", "{}:x", "y")):
        told = await with_kube(scene, tuple(word.format("bob") for word in words), code=4)
        assert f"lieutenant/bob is suspended (namespace {cluster.name}): `reconciler resume --kube -n {cluster.name} lt bob`" in told
        told = await with_kube(scene, tuple(word.format("ada") for word in words), code=4)
        assert f"is suspended still (namespace {cluster.name}): wait until it is resumed: `reconciler wait --kube -n" in told


@pytest.mark.guarantee("G-66")
async def test_who_has_no_right_is_told_which_one(scene: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing was done halfway: also what somebody may do of two things is left undone."""
    before = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in await scene.person.list("lt,ltask")}
    cluster = scene.person.cluster
    patches = rule("fleet.vers.sh", ["lieutenants"], ["patch"])
    everybody = [(somebody(cluster, LOOKS), MAY_NOT), (somebody(cluster), MAY_NOT_LOOK)]
    halves = {words: said for words, said in MAY_NOT.items() if "cannot delete" in said}
    everybody.append((somebody(cluster, LOOKS, patches), halves))
    for person, refused in everybody:
        monkeypatch.setenv("KUBECONFIG", str(person.kubeconfig))
        for words, said in refused.items():
            told = await with_kube(scene, words)
            assert said in told, f"{words}: {told}"
            assert "docs/kubernetes.md" in told, f"{words}: {told}"
    after = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in await scene.person.list("lt,ltask")}
    assert after == before
    monkeypatch.setenv("KUBECONFIG", str(somebody(cluster, LOOKS).kubeconfig))
    told = await scene("doctor", "--kube", code=0)
    assert "note   rights   you may not create; update; patch; delete (" in told
    assert "note   operator whether an operator is alive can't be seen" in told
    monkeypatch.setenv("KUBECONFIG", str(somebody(cluster).kubeconfig))
    assert "wrong  rights   you may not get; list; watch; create; update; patch; delete" in await scene("doctor", "--kube", code=1)


async def test_no_api_server(scene: Desk) -> None:
    with scene.person.cluster.plane.api_down():
        for name, words in EVERY.items():
            if name == "doctor":
                told = await scene("doctor", "--kube", code=1)
                assert told.startswith("wrong  server   the API server can't be reached"), told
                assert len(told.splitlines()) == 1, "there is nobody to ask for the rest"
                continue
            told = await with_kube(scene, (name, *words))
            assert told.startswith("error: the API server can't be reached"), f"{name}: {told}"
            assert told.rstrip().endswith(": check its address and that it runs"), f"{name}: {told}"


async def test_a_context_that_is_not_there(scene: Desk) -> None:
    for name, words in EVERY.items():
        told = await scene.refused(name, "--kube", "--context", "nowhere", *words, code=64)
        assert "context 'nowhere' is not in the kubeconfig" in told, f"{name}: {told}"
        assert told.rstrip().endswith("known: test"), f"{name}: {told}"


async def test_waiting_outlives_the_api_server(scene: Desk) -> None:
    plane = scene.person.cluster.plane
    waiting = asyncio.create_task(scene("wait", "--kube", "lt/ada", "--for", "phase=Idle", "--timeout", "60"))
    await asyncio.sleep(2.5)
    assert not waiting.done()
    await asyncio.to_thread(plane.restart_api, crash=True)
    scene.person.cluster.set_status("lt", "ada", {"phase": "Idle"})
    assert await waiting == "lieutenant/ada has phase=Idle\n"


async def test_a_cluster_without_our_kinds(private_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Namespace(private_plane, "default")
    monkeypatch.setenv("KUBECONFIG", str(cluster.inside().kubeconfig))
    private = Desk(Person(cluster), tmp_path)
    told = await private("doctor", "--kube", code=1)
    assert "wrong  kinds    the cluster does not serve bootprofiles, vmtrees, lieutenants, tasks" in told
    assert "kubectl apply --server-side -f crds/" in told
    assert "wrong  operator no operator has ever been in charge here" in told
    sentence = "the cluster does not serve {} ({}): `kubectl apply --server-side -f crds/` installs them"
    path = "/apis/fleet.vers.sh/v1alpha1/namespaces/default/"
    for words, plural, where in (
        (("get", "lt"), "lieutenants", f"GET {path}lieutenants"),
        (("get", "all"), "bootprofiles", f"GET {path}bootprofiles"),
        (("describe", "lt", "ada"), "lieutenants", f"GET {path}lieutenants/ada"),
        (("cancel", "one"), "tasks", f"GET {path}tasks/one"),
        (("send", "ada", "do it"), "lieutenants", f"GET {path}lieutenants/ada"),
        (("apply", "-f", private.file("ada.yaml", LIEUTENANT)), "lieutenants", f"GET {path}lieutenants/ada"),
    ):
        assert sentence.format(plural, where) in await with_kube(private, words), words


async def test_a_steer_goes_into_the_running_turn(desk: Desk) -> None:
    await desk.person.apply(LIEUTENANT)
    await desk("wait", "--kube", "lt/ada", "--for", "Ready", "--timeout", "60")
    desk.world.work_seconds = 8.0
    work = (await desk("send", "--kube", "ada", "do it")).strip()
    await desk("wait", "--kube", f"task/{work}", "--for", "phase=Running", "--timeout", "60")
    steer = (await desk("send", "--kube", "ada", "rather do that", "--steer")).strip()
    assert (await desk.person.get("ltask", steer))["spec"]["delivery"] == "Steer"
    desk.world.work_seconds = 60.0
    await desk("wait", "--kube", f"task/{steer}", "--for", "phase=Succeeded", "--timeout", "60")
    assert "already" in await desk.refused("cancel", "--kube", steer, code=4)
    await desk("cancel", "--kube", work)
    await desk("wait", "--kube", f"task/{work}", "--for", "phase=Cancelled", "--timeout", "60")
    told = await desk("tree", "--kube")
    assert told.startswith("lieutenant/ada   ")
    assert "  tasks that are over   1 Cancelled   1 Succeeded" in told.splitlines()
    assert "Task" in {one["kind"] for one in (await desk.json("tree", "--kube"))["items"]}


async def test_doctor_tells_a_silent_operator_from_none(bare: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Lease that nobody renews, one that was given back, one of other namespaces; and kinds of another release."""
    cluster = bare.person.cluster
    name = f"reconciler-{cluster.name}"
    monkeypatch.setenv("RECONCILER_FLEET", cluster.name)

    def lease(holder: str, serves: str) -> None:
        metadata = {"name": name, "namespace": cluster.name, "annotations": {"fleet.vers.sh/serves": serves}}
        spec = {"holderIdentity": holder, "renewTime": "2026-01-01T00:00:00.000000Z"}
        cluster.plane.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})

    lease("pod-1", "*")
    told = await bare("doctor", "--kube", code=1)
    assert f"wrong  operator the operator in charge is silent: pod-1 by the Lease {cluster.name}/{name}, last seen 2026-01-01" in told
    lease("", cluster.name)
    assert "wrong  operator no operator is in charge" in await bare("doctor", "--kube", code=1)
    lease("pod-1", "elsewhere")
    told = await bare("doctor", "--kube", code=1)
    assert f"no operator serves namespace {cluster.name} (Lease {cluster.name}/{name} serves elsewhere)" in told
    assert "no operator has said which VMs are its own" in await with_kube(bare, ("orphans",))


async def test_doctor_names_the_fields_of_another_release(
    private_plane_with_kinds: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = private_plane_with_kinds
    at = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/idle"
    plane.kubectl("patch", "crd", "lieutenants.fleet.vers.sh", "--type=json", "-p", json.dumps([{"op": "remove", "path": at}]))
    cluster = Namespace(plane, "default")
    monkeypatch.setenv("KUBECONFIG", str(cluster.inside().kubeconfig))
    desk = Desk(Person(cluster), tmp_path)
    for _ in range(40):  # the server makes its document anew in the background
        told = await desk("doctor", "--kube", code=1)
        if "another release" in told:
            break
    assert "note   kinds    the cluster's kinds are of another release than this program (Lieutenant.idle)" in told
