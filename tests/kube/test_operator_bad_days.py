"""Days on which the cluster itself is in trouble."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.kube.controlplane import ControlPlane, Namespace
from tests.kube.operating import Person, RealTime, charge, until
from tests.kube.test_operator import LIEUTENANT, task

pytestmark = [pytest.mark.real("kube"), pytest.mark.slow]


async def test_kinds_are_removed_and_come_back(private_plane_with_kinds: ControlPlane, tmp_path: Path, world: RealTime) -> None:
    """Removing a kind deletes its objects, in order and with their machines; installed again, it is served again."""
    cluster = private_plane_with_kinds.namespace()
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available")
        await person.kubectl("delete", "crd", "lieutenants.fleet.vers.sh", "--timeout=60s")
        assert world.alive() == []
        await until(lambda: not operator.engine.table.all_keys(), "the store has forgotten it")
        await asyncio.to_thread(private_plane_with_kinds.install_crds)
        await person.apply(LIEUTENANT)
        await person.apply(task("one"))
        await person.wait("ltask/one", "Ready", 90.0)
        assert len(world.alive()) == 1


@pytest.mark.guarantee("G-05")
async def test_a_namespace_goes_with_all_that_is_in_it(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """Where nothing can be made any more, not even an Event, machines are deleted and finalizers go. (The part of the namespace
    controller, which deletes what is in it, is played here.)"""
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await person.apply(task("one"))
        await person.wait("ltask/one", "Ready")
        await person.kubectl("delete", "namespace", cluster.name, "--wait=false")
        await person.kubectl("delete", "lt,ltask", "--all", "--timeout=60s")
        assert world.alive() == []
        await until(lambda: not operator.engine.table.all_keys(), "the store has forgotten them")
        await until(lambda: operator.kube_controller.events.lost["Forbidden"] > 0, "Events that can't be made are counted")


@pytest.mark.guarantee("G-66")
async def test_a_role_that_is_taken_away_is_told_and_waited_for(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """The watch ends with 403 and begins again by itself once it may; nothing is lost, nothing is deleted meanwhile."""
    person = Person(cluster)
    async with charge(cluster, tmp_path, world):
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available")
        binding = await person.kubectl("get", "rolebinding", "operator", "-o", "json")
        await person.kubectl("delete", "rolebinding", "operator")
        await person.kubectl("patch", "lt/ada", "--type=merge", "-p", '{"spec":{"mode":"Suspended"}}')
        await asyncio.sleep(3.0)
        assert len(world.alive()) == 1
        await person.kubectl("create", "-f", "-", stdin=binding)
        await person.wait("lt/ada", "Suspended", 90.0)
        assert len(world.alive()) == 1
