"""Days on which the API server answers oddly, or its idea of our kinds changes."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.kube.between import between
from tests.kube.controlplane import ROOT, ControlPlane, Namespace, documents
from tests.kube.operating import Person, RealTime, access_of, charge, until
from tests.kube.test_operator import LIEUTENANT, task

pytestmark = [pytest.mark.real("kube"), pytest.mark.slow]


@pytest.mark.guarantee("G-66")
@pytest.mark.parametrize("code", [410, 429, 500])
async def test_a_watch_that_is_refused_again_and_again_misses_nothing(
    code: int, cluster: Namespace, tmp_path: Path, world: RealTime
) -> None:
    """Too old, too many, broken: meanwhile nothing is destroyed, and afterwards what was declared and deleted meanwhile is found."""
    person = Person(cluster)
    async with (
        between(access_of(cluster)) as (middle, access),
        charge(cluster, tmp_path, world, access=access, lease_seconds=60.0) as operator,
    ):
        await person.apply(LIEUTENANT)
        await person.apply(LIEUTENANT.replace("name: ada", "name: bob"))
        await person.kubectl("wait", "lt", "--all", "--for=condition=Available", "--timeout=60s")
        middle.answer = lambda method, about, path: code if about == "watch" else None
        middle.cut()  # and the next one is refused
        await person.apply(task("one"))
        await person.kubectl("delete", "lt/bob", "--wait=false")
        await until(lambda: middle.refused[code] >= 3, "it was refused more than once")
        assert len(world.alive()) >= 1
        before = middle.refused[code]
        await asyncio.sleep(3.0)
        assert middle.refused[code] - before <= 60, "it does not ask in a hot loop"
        middle.answer = lambda method, about, path: None
        await person.wait("ltask/one", "Ready", 90.0)
        await until(lambda: len(world.alive()) == 1, "what was deleted meanwhile is gone")
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")


@pytest.mark.guarantee("G-66")
@pytest.mark.guarantee("G-46")
@pytest.mark.parametrize("code", [409, 422, 429, 500])
async def test_a_status_that_is_refused_is_written_later(code: int, cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    """For as long as it is, no machine is made that is not written down; others go on; nothing is lost or doubled; it is counted."""
    person = Person(cluster)
    async with (
        between(access_of(cluster)) as (middle, access),
        charge(cluster, tmp_path, world, access=access, lease_seconds=60.0) as operator,
    ):
        middle.answer = lambda method, about, path: code if about == "status" and path.endswith("/ada/status") else None
        await person.apply(LIEUTENANT)
        await person.apply(LIEUTENANT.replace("name: ada", "name: bob"))
        await person.wait("lt/bob", "Available")
        await until(lambda: middle.refused[code] >= 3, "it was refused more than once")
        assert world.created == 1, "a create that can't be written down is not sent"
        before = middle.refused[code]
        await asyncio.sleep(3.0)
        assert middle.refused[code] - before <= 40, "it does not try in a hot loop"
        assert sum(operator.kube_controller.reconcile_errors.values()) + sum(operator.engine.reconcile_errors.values()) > 0
        middle.answer = lambda method, about, path: None
        await person.wait("lt/ada", "Available", 90.0)
        assert world.created == 2
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        assert "create" not in (await person.get("lt", "ada"))["status"]["vm"]


def lax(kind: dict[str, Any]) -> dict[str, Any]:
    """A CRD as an older release may have had it: any spec is taken."""
    old = copy.deepcopy(kind)
    for version in old["spec"]["versions"]:
        version["schema"]["openAPIV3Schema"]["properties"]["spec"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version["schema"]["openAPIV3Schema"].pop("x-kubernetes-validations", None)
        version.pop("selectableFields", None)
    return old


@pytest.mark.guarantee("G-42")
@pytest.mark.guarantee("G-45")
async def test_kinds_are_upgraded_under_live_objects(private_plane_with_kinds: ControlPlane, tmp_path: Path, world: RealTime) -> None:
    """What an older CRD let through and this release can't carry out is `InvalidSpec` with the field's name, before and after the
    upgrade; all others go on and are not touched by it."""
    plane = private_plane_with_kinds
    kinds = [document for file in sorted((ROOT / "crds").glob("*.yaml")) for document in documents(file)]
    await asyncio.to_thread(plane.apply, *[lax(kind) for kind in kinds])
    cluster = plane.namespace()
    person = Person(cluster)
    wrong = {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": "Lieutenant", "metadata": {"name": "odd"}}
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await person.kubectl("apply", "--validate=false", "-f", "-", stdin=json.dumps({**wrong, "spec": {"role": "x", "profileRef": 3}}))
        told = await person.sees("lt", "odd", "Stalled", "InvalidSpec")
        assert "spec.profileRef" in told["message"]
        profile = {**wrong, "kind": "BootProfile", "metadata": {"name": "odd"}, "spec": {"source": 3}}
        await person.kubectl("apply", "--validate=false", "-f", "-", stdin=json.dumps(profile))
        await person.apply(LIEUTENANT.replace("name: ada", "name: eve").replace("name: lightweight", "name: odd"))
        told = await person.sees("lt", "eve", "Stalled", "InvalidProfile")
        assert "BootProfile odd is declared, but not valid: " in told["message"]
        assert "spec.source" in told["message"]
        await person.wait("lt/ada", "Available")
        await until(lambda: operator.engine.converged() and operator.kube_controller.rests(), "all rests")
        pid, writes, before = world.alive()[0].pi, operator.kube_controller.sink.writes, await person.get("lt", "ada")

        await asyncio.to_thread(plane.install_crds)
        await person.kubectl("annotate", "lt/odd", "example.com/touched=1")
        await person.apply(task("one"))
        await person.wait("ltask/one", "Ready", 90.0)
        assert "spec.profileRef" in (await person.sees("lt", "odd", "Stalled", "InvalidSpec"))["message"]
        assert world.alive()[0].pi is pid
        assert world.created == 1
        assert (await person.get("lt", "ada"))["metadata"]["generation"] == before["metadata"]["generation"]
        assert operator.kube_controller.sink.writes > writes, "the task's status at least"

        await person.apply(LIEUTENANT.replace("name: ada", "name: odd"))
        await person.wait("lt/odd", "Available", 90.0)
        assert world.created == 2
        await person.kubectl("delete", "lt,ltask", "--all", "--timeout=90s")
        assert world.alive() == []
