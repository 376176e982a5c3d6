"""Kubernetes mode, seen by a person with kubectl: the real front door on a real API server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kube.controlplane import Namespace
from tests.kube.operating import Person, RealTime, charge, until

pytestmark = pytest.mark.real("kube")

LIEUTENANT = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: ada}
spec: {role: Keep it, profileRef: {name: lightweight}}
"""


def task(name: str, to: str = "ada", **spec: object) -> str:
    body = {"lieutenantRef": {"name": to}, "prompt": "do it", **spec}
    return json.dumps({"apiVersion": "fleet.vers.sh/v1alpha1", "kind": "Task", "metadata": {"name": name}, "spec": body})


@pytest.fixture
async def world() -> AsyncIterator[RealTime]:
    made = RealTime()
    yield made
    assert made.violations == []


async def test_a_fleet_is_applied_works_and_is_deleted(cluster: Namespace, tmp_path: Path, world: RealTime) -> None:
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        await person.apply(LIEUTENANT)
        await person.apply(task("one"))
        await person.kubectl("wait", "lt/ada", "--for=condition=Ready", "--timeout=60s")
        await person.kubectl("wait", "ltask/one", "--for=condition=Ready", "--timeout=60s")
        done = await person.get("ltask", "one")
        assert done["status"]["phase"] == "Succeeded"
        assert done["status"]["result"]["answer"] == "done"
        ada = await person.get("lt", "ada")
        assert ada["metadata"]["finalizers"] == ["fleet.vers.sh/vm"]
        assert not any("kopf" in name for name in ada["metadata"].get("annotations", {}))
        assert ada["status"]["observedGeneration"] == ada["metadata"]["generation"] == 1
        assert len(world.alive()) == 1
        await person.kubectl("delete", "lt/ada", "ltask/one", "--timeout=60s")
        assert world.alive() == []
        await until(lambda: not operator.engine.table.all_keys(), "the store has forgotten them")
    assert await person.list("lt") == []
