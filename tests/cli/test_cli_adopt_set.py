"""`adopt` of a set: VMs that were made by hand are proposed as YAML, declared, and taken over by a controller; nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from reconciler.core.snapshot.machine import CommitSource, VmShape
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings
from tests.background import eventually
from tests.cli.test_cli_vms import Scene
from tests.cli.test_cli_vms import scene as scene

THEIRS = {
    "fleet.vers.sh/fleet": "default",
    "fleet.vers.sh/installation": "another",
    "fleet.vers.sh/kind": "Lieutenant",
    "fleet.vers.sh/namespace": "default",
    "fleet.vers.sh/name": "old",
    "fleet.vers.sh/uid": "x",
    "fleet.vers.sh/epoch": "7",
    "team": "blue",
}


def make(scene: Scene, **labels: str) -> str:
    """One that carries no id of its own, as people make them."""
    vm_id = scene.make()
    scene.stub.run(_label(scene, vm_id, labels))
    return vm_id


async def _label(scene: Scene, vm_id: str, labels: dict[str, str]) -> None:
    vers = VersClient(Settings(scene.stub.endpoints.environment()))
    try:
        await vers.set_labels(vm_id, labels)
    finally:
        await vers.aclose()


def copy_of(scene: Scene, vm_id: str, **labels: str) -> str:
    """Another VM, restored from a commit of this one."""

    async def act() -> str:
        vers = VersClient(Settings(scene.stub.endpoints.environment()))
        try:
            commit = await vers.commit(vm_id, "by-hand")
            made = await vers.create_vm(CommitSource(commit), VmShape(), {}, "by-hand-copy")
            await vers.set_labels(made, labels)
            return made
        finally:
            await vers.aclose()

    return scene.stub.run(act())


@pytest.mark.guarantee("G-07")
def test_a_set_is_proposed_as_yaml_that_a_controller_then_makes_true(scene: Scene, tmp_path: Path) -> None:
    api, worker, other = (make(scene, **labels) for labels in (
        {"team": "blue", "name": "api"}, {"team": "blue", "name": "worker", "role": "worker"}, {"team": "red"}))  # fmt: skip
    done = scene.run("adopt", "-l", "team=blue")
    assert done.code == 0, done.err
    assert "nothing is declared" in done.err
    documents = list(YAML(typ="safe", pure=True).load_all(done.out))
    assert {doc["metadata"]["name"]: doc["spec"]["adopt"]["vmId"] for doc in documents} == {"api": api, "worker": worker}
    assert scene.run("get", "lt").out == "", "looking declares nothing"
    assert all("fleet.vers.sh/vm-id" not in scene.labels(vm_id) for vm_id in (api, worker, other))
    (tmp_path / "specs" / "adopted.yaml").write_text(done.out)
    assert scene.run("validate", "specs").code == 0
    with scene.controller():
        assert (scene.claimed("api"), scene.claimed("worker")) == (api, worker)
        again = scene.run("adopt", "-l", "team=blue")
        assert (again.code, again.out) == (0, "")
        assert "nothing to adopt" in again.err
    assert set(scene.stub.present()) == {api, worker, other}
    assert scene.labels(other) == {"team": "red"}
    assert scene.stub.calls.get("delete_vm", 0) == 0


@pytest.mark.guarantee("G-07")
def test_a_set_becomes_the_nodes_of_a_tree_below_what_they_were_made_from(scene: Scene) -> None:
    base = make(scene, role="infra", name="base")
    worker = copy_of(scene, base, role="worker", name="worker", set="one")
    beside = make(scene, name="beside")
    assert worker in scene("adopt", "--made-from", base), "what descends from it, and not itself"
    (doc,) = YAML(typ="safe", pure=True).load_all(scene.run("adopt", "--named", "*", "--tree", "found").out)
    nodes = {node["name"]: (node["category"], node.get("parent"), node["adopt"]["vmId"]) for node in doc["spec"]["nodes"]}
    assert nodes == {
        "base": ("Infra", None, base),
        "worker": ("Swarm", "base", worker),
        "beside": ("Lieutenant", None, beside),
    }
    with scene.controller():
        told = scene("adopt", "--named", "*", "--tree", "found", "--confirm")
        assert all(f"vmtree/found takes over VM {vm_id}" in told for vm_id in (base, worker, beside))
        eventually(lambda: all(scene.labels(vm_id).get("fleet.vers.sh/vm-id") == vm_id for vm_id in (base, worker, beside)), "all are ours")
        assert scene.labels(worker)["fleet.vers.sh/name"] == "found-worker"
        assert scene.labels(base)["fleet.vers.sh/name"] == "found/base"
        assert "exists already" in scene("adopt", "--named", "*", "--tree", "found", "--confirm", code=4)
    assert set(scene.stub.present()) == {base, worker, beside}


@pytest.mark.guarantee("G-07")
def test_what_another_installation_claims_is_refused_by_name_and_the_rest_is_declared(scene: Scene) -> None:
    theirs = scene.make(THEIRS)
    mine = make(scene, team="blue", name="mine")
    for words in ((), ("--confirm",)):
        done = scene.run("adopt", "-l", "team=blue", *words)
        assert done.code == 4
        assert theirs in done.err
        assert "installation another" in done.err
        assert theirs not in done.out
        assert mine in done.out
    declared = scene.run("adopt", "-l", "team=blue")
    assert (declared.code, declared.out) == (4, "")
    assert f"lieutenant/mine is declared to adopt VM {mine} already" in declared.err
    with scene.controller():
        assert scene.claimed("mine") == mine
    assert scene.labels(theirs)["fleet.vers.sh/installation"] == "another"


def test_one_and_a_set_are_not_mixed_up(scene: Scene) -> None:
    vm_id = make(scene)
    for words in (("adopt",), ("adopt", vm_id), ("adopt", vm_id, "--as", "a", "-l", "x=y"), ("adopt", "-l", "x=y", "--as", "a"),
                  ("adopt", vm_id, "--as", "a", "--confirm"), ("adopt", "-l", "=")):  # fmt: skip
        scene(*words, code=64)
    assert "nothing to adopt" in scene("adopt", "-l", "no=such")
