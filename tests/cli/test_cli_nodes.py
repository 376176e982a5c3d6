"""Nodes of a tree on a command line: looked at, selected, tried again, resolved, suspended, deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from reconciler.cli.act import retry
from reconciler.cli.rollout import rollout
from reconciler.config import Config
from reconciler.core.keys import Json, JsonValue
from reconciler.core.records import CommitRecord, LieutenantRecord
from reconciler.engine.ports import StoredObject
from reconciler.errors import UsageError
from tests.background import eventually
from tests.cli.conftest import Run
from tests.cli.test_cli_conversation import change
from tests.cli.test_cli_vms import Scene
from tests.cli.test_cli_vms import scene as scene
from tests.views.doubles import Mirrors, stored

COMMIT = "00000000-0000-4000-9000-000000000001"
HEAD = "apiVersion: fleet.vers.sh/v1alpha1\nkind: VMTree\nmetadata: {name: prod}\nspec:\n"
TREE = (
    HEAD
    + """  limits: {maxVMs: 3}
  nodes:
  - {name: infra, category: Infra, profileRef: {name: lightweight}, protected: true}
  - {name: back, category: Lieutenant, parent: infra, profileRef: {name: lightweight}, lieutenant: {role: x}}
  - {name: lost, category: Swarm, profileRef: {name: nowhere}, replicas: 2, lieutenant: {role: x}}
"""
)


def node(scene: Scene, name: str) -> Json:
    """What the tree's status says of one of its nodes; {} while it does not."""
    told = scene.run("get", "vmt", "prod", "-o", "json").json.get("status", {}).get("nodes", [])
    return next((one for one in told if one["name"] == name), {})


def test_a_tree_that_runs_is_looked_at_and_its_nodes_are_tried_again(scene: Scene) -> None:
    with scene.controller():
        scene("apply", "-f", "-", stdin=TREE)
        vm_id = eventually(lambda: node(scene, "infra").get("vmId"), "its machine is made")
        eventually(lambda: scene.labels(vm_id).get("fleet.vers.sh/vm-id") == vm_id, "it is claimed")
        eventually(lambda: node(scene, "lost-1"), "its lieutenants are declared")

        assert scene.orphans() == {}, "the machine of a node has an owner"
        for selector in ("fleet.vers.sh/tree=prod", "fleet.vers.sh/category=Infra,fleet.vers.sh/state!=dead", "fleet.vers.sh/node=infra"):
            assert scene("get", "vms", "-l", selector, "-o", "name") == f"vm/{vm_id}\n"
        assert scene.run("get", "vms", "-l", "fleet.vers.sh/category=Swarm", "-o", "name").out == ""
        swarm = scene.run("get", "lt", "-l", "fleet.vers.sh/tree=prod,fleet.vers.sh/category=Swarm", "-o", "name").out
        assert swarm.split() == ["lieutenant/prod-lost-0", "lieutenant/prod-lost-1"]

        told = scene("describe", "vm", vm_id)
        assert "Owner:          vmtree/prod/infra" in told
        assert "Conditions of its owner:" in told
        assert "does not exist" in scene("describe", "vm/00000000-0000-4000-8000-0000000000ee", code=1)
        told = scene("describe", "vmt", "prod")
        assert told.count("Nodes:") == 1
        assert [line.split() for line in told.splitlines() if line.strip().startswith("maxVMs ")] == [["maxVMs", "3", "1"]]
        assert any(line.split()[:3] == ["lost-1", "Swarm", "Pending"] for line in told.splitlines())
        assert f"vm/{vm_id}" in scene("tree", "prod", "--node", "infra")

        assert scene("retry", "vmt/prod", "--node", "infra") == "vmtree/prod node infra is tried again\n"
        assert "its nodes are: back" in scene("retry", "vmt/prod", "--node", "nowhere", code=64)
        assert "only a vmtree has nodes" in scene("retry", "lt/prod-back", "--node", "infra", code=64)

        scene("resolve", "vmt", "prod", "--none", code=64)
        scene("resolve", "vmt", "prod", "--node", "lost", "--none", code=64)
        scene("resolve", "vmt", "prod", "--node", "infra", "--session", "vm", code=64)
        scene("resolve", "vmt", "prod", "--node", "infra", "--none", code=4)
        scene("resolve", "vmt", "prod", "--node", "lost-0", "--vm", vm_id, code=4)

        other = scene.make()
        told = scene("diff", f"vm/{vm_id}", f"vm/{other}")
        assert "label fleet.vers.sh/tree" in told
        assert "profile" in told


def stalled(obj: StoredObject) -> StoredObject:
    """The same object; a lieutenant of node `lost` is stalled."""
    if obj.labels.get("fleet.vers.sh/node") != "lost":
        return obj
    return replace(obj, status={"phase": "Stalled", "conditions": [{"type": "Stalled", "status": "True", "reason": "CrashLoop"}]})


def test_all_stalled_nodes_of_a_tree_are_tried_again_and_no_other(scene: Scene, tmp_path: Path) -> None:
    with scene.controller():
        scene("apply", "-f", "-", stdin=TREE)
        eventually(lambda: node(scene, "infra").get("vmId"), "its machine is made")
        eventually(lambda: node(scene, "lost-1"), "its lieutenants are declared")
    assert "no node of vmtree/prod is stalled" in scene("retry", "vmt", "prod")
    change(tmp_path / "state", stalled)
    every = "vmtree/prod node lost-0 is tried again\nvmtree/prod node lost-1 is tried again\n"
    assert scene("retry", "vmt", "prod") == every
    assert scene("retry", "vmt", "prod", "--node", "lost") == every
    assert scene("retry", "vmt", "prod", "--node", "lost-0") == every.splitlines(keepends=True)[0]
    asked = {one["metadata"]["name"]: one["metadata"]["annotations"] for one in scene.run("get", "lt", "-o", "json").json["items"]}
    assert {name for name, notes in asked.items() if "fleet.vers.sh/retry" in notes} == {"prod-lost-0", "prod-lost-1"}


def test_what_is_protected_needs_a_confirmation(run: Run) -> None:
    run("apply", "-f", "-", stdin=TREE)
    for words in (("delete", "vmt", "prod"), ("suspend", "vmt", "prod"), ("suspend", "vmt", "prod", "--node", "infra")):
        refused = run(*words)
        assert refused.code == 4, words
        assert "infra" in refused.err
        assert "--confirm" in refused.err
    assert run("suspend", "vmt", "prod", "--node", "lost").code == 0
    assert run("suspend", "vmt", "prod", "--confirm").code == 0
    assert run("get", "vmt", "prod", "-o", "jsonpath={.spec.mode}").out == "Suspended"
    assert run("suspend", "vmt", "prod").code == 0, "it sleeps already"
    assert run("delete", "vmt", "prod", "--confirm").code == 0


@pytest.mark.guarantee("G-11")
def test_of_a_node_without_an_agent_snapshots_are_asked_for_listed_and_gone_back_to(scene: Scene, tmp_path: Path) -> None:
    with scene.controller():
        scene("apply", "-f", "-", stdin=TREE)
        vm_id = str(eventually(lambda: node(scene, "infra").get("vmId"), "its machine is made"))
        eventually(lambda: node(scene, "lost-1"), "its lieutenants are declared")
    assert scene("snapshot", "vmt/prod", "--node", "infra") == "vmtree/prod/infra snapshot asked for\n"
    assert scene("snapshot", "vmt", "prod", "--node", "lost").splitlines() == [
        "lieutenant/prod-lost-0 snapshot asked for",
        "lieutenant/prod-lost-1 snapshot asked for",
    ]
    assert "name it with --node" in scene("snapshot", "vmt/prod", code=64)
    assert "its nodes are: back" in scene("snapshot", "vmt/prod", "--node", "nowhere", code=64)
    assert "only a vmtree has nodes" in scene("snapshot", "lt/prod-back", "--node", "infra", code=64)

    def with_a_snapshot(obj: StoredObject) -> StoredObject:
        kept = CommitRecord(commit_id=COMMIT, name="c", vm_id=vm_id, taken_at=1.7e9, cause="Requested")
        if obj.labels.get("fleet.vers.sh/node") != "infra":
            return obj
        record = LieutenantRecord.load(obj.record)
        return replace(obj, record=record.but(slot=record.slot.but(commits=(kept,))).dump())

    change(tmp_path / "state", with_a_snapshot)
    listed = scene("get", "commits").splitlines()[1].split()
    assert listed[:3] == [COMMIT, "vmtree/prod/infra", "Listed"]
    foreign = f"{COMMIT[:-1]}2"
    assert "is no snapshot that was taken of it" in scene("rollback", "vmt/prod", foreign, "--node", "infra", "--confirm", code=4)
    assert "--confirm" in scene("rollback", "vmt/prod", COMMIT, "--node", "infra", code=4)
    assert "name one of lost-0, lost-1" in scene("rollback", "vmt/prod", COMMIT, "--node", "lost", "--confirm", code=64)
    assert "name it with --node" in scene("rollback", "vmt/prod", COMMIT, "--confirm", code=64)
    told = scene("rollback", "vmt/prod", COMMIT, "--node", "infra", "--confirm")
    assert told == f"vmtree/prod/infra goes back to commit {COMMIT}\n"
    asked: list[dict[str, str]] = []

    def look(obj: StoredObject) -> StoredObject:
        asked.extend([dict(obj.annotations)] if obj.labels.get("fleet.vers.sh/node") == "infra" else [])
        return obj

    change(tmp_path / "state", look)
    (notes,) = asked
    assert notes["fleet.vers.sh/rollback"].startswith(f"{COMMIT}:")
    assert {"fleet.vers.sh/snapshot", "fleet.vers.sh/delete-confirmed"} <= set(notes), "it is protected, and that was confirmed"


def test_without_nodes_that_are_made_there_is_nothing_to_try_again(run: Run) -> None:
    run("apply", "-f", "-", stdin=TREE)
    assert "no node of vmtree/prod is stalled" in run("retry", "vmt", "prod").out
    assert run("retry", "vmt", "prod", "--node", "infra").code == 64
    assert run("retry", "vmt", "none").code == 1


def test_two_objects_are_compared(run: Run) -> None:
    for name, role in (("a", "one"), ("b", "two")):
        head = f"apiVersion: fleet.vers.sh/v1alpha1\nkind: Lieutenant\nmetadata: {{name: {name}}}\n"
        run("apply", "-f", "-", stdin=head + f"spec: {{role: {role}, profileRef: {{name: full}}}}\n")
    assert [line.split() for line in run("diff", "lt/a", "lt/b").out.splitlines()] == [
        ["FIELD", "lieutenant/a", "lieutenant/b"],
        ["spec.role", "one", "two"],
    ]
    told = run("diff", "lt/a", "lt/b", "-o", "json")
    assert told.code == 0
    assert told.json == {"a": "lieutenant/a", "b": "lieutenant/b", "differences": [{"field": "spec.role", "a": "one", "b": "two"}]}
    for words in (("lt/a", "lt/a"), ("lt", "a", "a"), ("lieutenant/a", "lt/a")):
        same = run("diff", *words)
        assert (same.code, same.out) == (0, "")
        assert same.err == "lieutenant/a is compared with itself: nothing differs; name another one of its kind\n"
    assert run("diff", "lt/a", "lt/a", "-o", "json").code == 0
    assert run("diff", "lt/none", "lt/none").code == 1
    assert run("diff", "lt/a", "lt/none").code == 1
    assert run("diff", "lt/a", "vmt/b").code == 64
    assert run("diff", "lt/a").code == 64
    refused = run("diff", "commit/a", "commit/b")
    assert refused.code == 64
    assert "commits are only looked at" in refused.err


def through_a_cluster(monkeypatch: pytest.MonkeyPatch, *objects: StoredObject) -> Config:
    """`--kube` on a cluster that has these objects."""

    @asynccontextmanager
    async def reader(config: Config) -> AsyncIterator[Mirrors]:
        yield Mirrors(objects)

    monkeypatch.setattr("reconciler.cli.nodes.reader", reader)
    return cast(Config, SimpleNamespace(kube=True, namespace="team"))


def test_through_a_cluster_a_stalled_node_without_an_agent_is_not_denied(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes: list[JsonValue] = [{"name": "infra", "phase": "Stalled"}, {"name": "back", "phase": "Stalled", "lieutenant": "prod-back"}]
    tree = stored("VMTree", "prod", status={"nodes": nodes})
    config = through_a_cluster(monkeypatch, tree)
    with pytest.raises(UsageError, match="node 'infra' has no agent"):
        retry(config, ["vmt/prod"])

    labels = {"fleet.vers.sh/tree": "prod", "fleet.vers.sh/node": "back"}
    back = replace(stored("Lieutenant", "prod-back"), labels=labels)
    stands = {"conditions": [{"type": "Stalled", "status": "True", "reason": "CrashLoop"}]}
    asked: list[Json] = []

    async def submit(_: Config, requests: list[Json]) -> None:
        asked.extend(requests)

    monkeypatch.setattr("reconciler.cli.act.submit", submit)
    retry(through_a_cluster(monkeypatch, tree, replace(back, status=cast(Json, stands))), ["vmt/prod"])
    told = capsys.readouterr()
    assert told.out == "vmtree/prod node back is tried again\n"
    assert "node 'infra' has no agent" in told.err
    assert len(asked) == 1


def test_through_a_cluster_a_rollout_is_not_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    config = through_a_cluster(monkeypatch)
    with pytest.raises(UsageError, match="what it was ready with is in the operator's store only"):
        rollout(config, "undo", ["prod"])
