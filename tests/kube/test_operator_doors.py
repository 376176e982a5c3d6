"""The same documents through three doors — kubectl, files, the command line — come to the same plans, acts and status (G-40)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.engine.loop import Engine
from tests.kube.assets import ROOT
from tests.kube.controlplane import Namespace
from tests.kube.doors import must_be_alike, three

pytestmark = pytest.mark.real("kube")

FLEET = """
apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {name: mine}
spec:
  extends: {name: lightweight}
  files: [{path: notes.txt, content: hello}]
  steps: [{name: greet, run: echo hello}]
  verify: [{name: there, command: [test, -e, notes.txt]}]
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: ada, labels: {team: web}}
spec:
  role: Keep it
  profileRef: {name: mine}
  env: [{name: PLAIN, value: "1"}]
  instructions: {directive: Stay calm}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: bob}
spec: {role: Rest, profileRef: {name: lightweight}, mode: Suspended}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: cyd}
spec: {role: Wait, profileRef: {name: missing}}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: one}
spec: {lieutenantRef: {name: ada}, prompt: do it}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: two}
spec: {lieutenantRef: {name: ada}, prompt: do it too, after: [{name: one}]}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: sleepy}
spec: {lieutenantRef: {name: bob}, prompt: never}
"""


@pytest.mark.guarantee("G-40")
async def test_three_doors_one_outcome(cluster: Namespace, tmp_path: Path) -> None:
    def settled(engine: Engine, namespace: str) -> bool:
        done = [engine.table.task(Key("Task", namespace, name)) for name in ("one", "two")]
        return all(task is not None and task.record.phase == "Succeeded" for task in done) and engine.converged()

    filed, commanded, applied = await three(cluster, tmp_path, FLEET, settled)
    assert {verb for _, verb, _, _ in filed.plans} >= {"Create", "StartAgent", "Deliver"}
    assert filed.acts["ada"]
    tasks = {"Task/one", "Task/two", "Task/sleepy"}
    assert set(filed.status) == {"BootProfile/mine", "Lieutenant/ada", "Lieutenant/bob", "Lieutenant/cyd", *tasks}
    must_be_alike(filed, commanded)
    must_be_alike(filed, applied)


TREE = ROOT / "tests" / "manifests" / "valid" / "tree.yaml"
PLACES = ("infra", "backend", "frontend", "worker-0", "worker-1", "worker-2", "db", "experiment")


@pytest.mark.guarantee("G-40")
async def test_a_hierarchy_with_every_field_is_the_same_through_three_doors(cluster: Namespace, tmp_path: Path) -> None:
    minute = (time.gmtime().tm_min + 30) % 60  # no snapshot is due while this runs
    text = TREE.read_text("utf-8").replace('"0 * * * *"', f'"{minute} * * * *"')
    assert f'"{minute} * * * *"' in text

    def settled(engine: Engine, namespace: str) -> bool:
        tree = engine.table.get(Key("VMTree", namespace, "prod"))
        ready = tree is not None and {node["name"] for node in tree.obj.status.get("nodes", []) if node["ready"]} == set(PLACES)
        return ready and engine.converged()

    filed, commanded, applied = await three(cluster, tmp_path, text, settled)
    made = [name for name, verb, _, _ in filed.plans if verb == "Create"]
    assert len(made) == len(PLACES)
    must_be_alike(filed, commanded)
    must_be_alike(filed, applied)
