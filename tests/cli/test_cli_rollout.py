"""`rollout`, typed beside a controller: another profile for the nodes of a tree is looked at, held, and taken back."""

from __future__ import annotations

from reconciler.core.keys import Json
from tests.background import eventually
from tests.cli.test_cli_vms import Scene
from tests.cli.test_cli_vms import scene as scene

OTHER = """apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {name: other}
spec:
  extends: {name: lightweight}
"""
TREE = """apiVersion: fleet.vers.sh/v1alpha1
kind: VMTree
metadata: {name: prod}
spec:
  mode: Suspended
  nodes:
  - {name: base, category: Infra, profileRef: {name: %s}}
  - {name: lead, category: Lieutenant, parent: base, profileRef: {name: lightweight}, lieutenant: {role: Lead}}
"""


def tree(scene: Scene) -> Json:
    found: Json = scene.run("get", "vmt", "prod", "-o", "json").json
    return found


def profiles(scene: Scene) -> list[str]:
    """Of its nodes, as declared."""
    spec = tree(scene)["spec"]
    assert isinstance(spec, dict)
    return [node["profileRef"]["name"] for node in spec["nodes"]]


def paused(scene: Scene) -> bool:
    metadata = tree(scene)["metadata"]
    assert isinstance(metadata, dict)
    return bool(metadata.get("annotations", {}).get("fleet.vers.sh/paused"))


def stands(scene: Scene) -> None:
    """Until all of what is declared now is so; nothing is made for a tree that is suspended from its beginning."""

    def so() -> bool:
        status, generation = tree(scene).get("status", {}), tree(scene)["metadata"]["generation"]
        current = status.get("observedGeneration") == generation
        return current and any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", ()))

    eventually(so, "the tree is as declared")


def test_it_is_looked_at_held_and_undone_beside_a_controller(scene: Scene) -> None:
    with scene.controller():
        scene("apply", "-f", "-", stdin=OTHER)
        scene("apply", "-f", "-", stdin=TREE % "lightweight")
        stands(scene)
        assert scene("rollout", "undo", "vmt/prod", code=4) == (
            "error: there is nothing to undo: what is declared now is all that its nodes were ever ready with (vmtree/prod): "
            "change it with `reconciler set vmtree/prod PATH=VALUE`, or where it is declared\n"
        )
        assert scene("rollout", "pause", "vmt/prod") == "the rollout of vmtree/prod is paused\n"
        assert paused(scene)
        scene("apply", "-f", "-", stdin=TREE % "other")
        stands(scene)
        assert profiles(scene) == ["other", "lightweight"]
        assert scene("rollout", "status", "vmt/prod") == "vmtree/prod: every machine is of the profile that is declared\n"
        assert scene("rollout", "resume", "vmt/prod") == "the rollout of vmtree/prod goes on\n"
        assert not paused(scene)
        said = scene("rollout", "undo", "vmt/prod")
        assert said.startswith("vmtree/prod is what it last was ready with, ")
        assert profiles(scene) == ["lightweight", "lightweight"]
        stands(scene)
        assert scene.stub.present() == [], "of what sleeps from its beginning no machine is made"
        assert "only a tree has rollouts" in scene("rollout", "undo", "lt/prod-lead", code=64)


def test_of_a_tree_that_was_never_ready_nothing_can_be_undone(scene: Scene) -> None:
    scene("apply", "-f", "-", stdin=TREE % "lightweight")
    assert scene("rollout", "undo", "prod", code=4) == (
        "error: there is nothing to undo: its nodes were not all ready yet, so that nothing is known to go back to (vmtree/prod): "
        "declare what you want; `reconciler describe vmtree/prod` says what its nodes wait for\n"
    )
