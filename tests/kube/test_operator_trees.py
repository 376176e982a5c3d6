"""Hierarchies in a cluster: their lieutenants are objects of their own, which go with them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.kube.controlplane import Namespace
from tests.kube.operating import Person, RealTime, charge, until
from tests.kube.test_cli_kube import Desk, bare, desk

__all__ = ["bare", "desk"]  # fixtures

pytestmark = pytest.mark.real("kube")

NODES = [
    {"name": "root", "category": "Infra", "profileRef": {"name": "lightweight"}},
    {"name": "a", "category": "Lieutenant", "parent": "root", "profileRef": {"name": "lightweight"}, "lieutenant": {"role": "Keep a"}},
    {"name": "w", "category": "Swarm", "parent": "a", "profileRef": {"name": "lightweight"}, "replicas": 2},
]


def tree(nodes: list[dict[str, object]], **spec: object) -> str:
    head = {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": "VMTree", "metadata": {"name": "prod"}}
    return json.dumps({**head, "spec": {"nodes": nodes, **spec}})


async def role_is(person: Person, name: str, role: str) -> None:
    """Until the cluster has this role."""
    for _ in range(200):
        if (await person.get("lt", name))["spec"]["role"] == role:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"lt/{name} never had role {role}")


async def test_a_tree_is_applied_changed_and_deleted(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    person = Person(cluster)
    async with charge(cluster, tmp_path, world):
        await person.apply(tree(NODES))
        await person.wait("vmt/prod", "Ready", 90.0)
        lieutenants = {one["metadata"]["name"]: one for one in await person.list("lt")}
        assert set(lieutenants) == {"prod-a", "prod-w-0", "prod-w-1"}
        (reference,) = lieutenants["prod-a"]["metadata"]["ownerReferences"]
        assert (reference["kind"], reference["name"], reference["controller"]) == ("VMTree", "prod", True)
        assert len(world.alive()) == 4
        told = (await person.get("vmt", "prod"))["status"]
        assert {node["name"]: node["ready"] for node in told["nodes"]} == {"root": True, "a": True, "w-0": True, "w-1": True}

        # Somebody changes what the tree declares: it is put back, and said.
        await person.kubectl("patch", "lt/prod-a", "--type=merge", "-p", '{"spec":{"role":"Another"}}')
        await role_is(person, "prod-a", "Keep a")
        # Fewer replicas: one lieutenant goes, with its machine.
        await person.apply(tree([*NODES[:2], {**NODES[2], "replicas": 1}]))
        await until(lambda: len(world.alive()) == 3, "one machine is gone")
        await person.kubectl("delete", "vmt/prod", "--timeout=90s")
        assert world.alive() == []
        assert await person.list("lt") == []


@pytest.mark.guarantee("G-02")
async def test_a_lost_store_finds_every_machine_of_a_tree_again(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    person = Person(cluster)
    async with charge(cluster, tmp_path / "one", world):
        await person.apply(tree(NODES[:2]))
        await person.wait("vmt/prod", "Ready", 90.0)
    before = {machine.vm_id for machine in world.alive()}
    async with charge(cluster, tmp_path / "another", world) as operator:
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        assert {machine.vm_id for machine in world.alive()} == before
        told = (await person.get("vmt", "prod"))["status"]
        assert all(node["ready"] for node in told["nodes"])


async def test_a_lieutenant_of_a_tree_that_is_deleted_by_hand_is_declared_again(
    cluster: Namespace, tmp_path: Path, world: RealTime
) -> None:
    person = Person(cluster)
    async with charge(cluster, tmp_path, world):
        await person.apply(tree(NODES[:2]))
        await person.wait("vmt/prod", "Ready", 90.0)
        before = (await person.get("lt", "prod-a"))["metadata"]["uid"]
        await person.kubectl("delete", "lt/prod-a", "--timeout=90s")
        for _ in range(300):
            found = [one for one in await person.list("lt") if one["metadata"]["uid"] != before]
            if found:
                break
            await asyncio.sleep(0.1)
        assert [one["metadata"]["name"] for one in found] == ["prod-a"]
        await person.wait("vmt/prod", "Ready", 90.0)
        await person.wait("lt/prod-a", "Ready", 90.0)
        assert len(world.alive()) == 2
        assert world.created == 3


@pytest.mark.guarantee("G-02")
@pytest.mark.guarantee("G-14")
@pytest.mark.parametrize("had", ["agent", "none"])
async def test_a_store_that_is_lost_while_a_category_changes_leaves_no_machine_behind(
    cluster: Namespace, tmp_path: Path, world: RealTime, had: str
) -> None:
    person = Person(cluster)
    bare = {"name": "a", "category": "Infra", "profileRef": {"name": "lightweight"}, "protected": True}
    both = [{**bare, "category": "Agent"}, bare]
    before, after = both if had == "agent" else reversed(both)
    async with charge(cluster, tmp_path / "one", world):
        await person.apply(tree([before]))
        await person.wait("vmt/prod", "Ready", 90.0)
        (old,) = world.alive()
        old.files["/root/workspace/made.txt"] = b"by hand"
        await person.apply(tree([after]))
        await person.wait("vmt/prod", "Stalled", 90.0)
        assert len(world.alive()) == 2
    async with charge(cluster, tmp_path / "another", world) as operator:
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        assert len(world.alive()) == 2
        await person.kubectl("annotate", "vmt/prod", "fleet.vers.sh/delete-confirmed=yes")
        await person.wait("vmt/prod", "Ready", 90.0)
        (now,) = world.alive()
        assert now is not old
        assert now.files["/root/workspace/made.txt"] == b"by hand"
        assert [one["metadata"]["name"] for one in await person.list("lt")] == ([] if had == "agent" else ["prod-a"])


@pytest.mark.guarantee("G-13")
async def test_a_branch_is_taken_down_by_a_command(desk: Desk) -> None:
    person, world = desk.person, desk.world
    await person.apply(tree([*NODES[:2], {**NODES[2], "protected": True}, {**NODES[1], "name": "b"}]))
    await person.wait("vmt/prod", "Ready", 90.0)
    refused = await desk.refused("delete", "--kube", "vmt/prod", "--node", "a", code=4)
    assert "w of it is protected from deletion; w stands below a, and policy.onNodeRemoved is Refuse" in refused
    assert len((await person.get("vmt", "prod"))["spec"]["nodes"]) == 4
    told = await desk("delete", "--kube", "vmt/prod", "--node", "a", "--confirm", "--wait", "--timeout", "60")
    assert told == "vmtree/prod node a removed in the cluster, and w below it\nvmtree/prod node a is gone\n"
    assert {one["metadata"]["name"] for one in await person.list("lt")} == {"prod-b"}
    assert len(world.alive()) == 2
    assert "there is no node 'a'" in await desk.refused("delete", "--kube", "vmt/prod", "--node", "a", code=64)
