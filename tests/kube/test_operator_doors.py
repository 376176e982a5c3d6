"""The same documents through three doors — kubectl, files, the command line — come to the same plans, acts and status (G-40)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from reconciler.api.status.vmtree import VMTreeStatus
from reconciler.core.keys import Key
from reconciler.engine.loop import Engine
from tests.kube.assets import ROOT
from tests.kube.controlplane import Namespace
from tests.kube.doors import Settled, Stage, must_be_alike, three

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

    ((filed, commanded, applied),) = await three(cluster, tmp_path, Stage(FLEET, settled))
    assert {verb for _, verb, _, _ in filed.plans} >= {"Create", "StartAgent", "Deliver"}
    assert filed.acts["ada"]
    tasks = {"Task/one", "Task/two", "Task/sleepy"}
    assert set(filed.status) == {"BootProfile/mine", "Lieutenant/ada", "Lieutenant/bob", "Lieutenant/cyd", *tasks}
    must_be_alike(filed, commanded, applied)


TREE = ROOT / "tests" / "manifests" / "valid" / "tree.yaml"


def changed(text: str) -> str:
    """The hierarchy with one node asleep, one of another profile, and fewer replicas and nodes."""
    tree = yaml.safe_load(text)
    nodes = {node["name"]: node for node in tree["spec"]["nodes"]}
    nodes["frontend"]["mode"] = "Suspended"
    nodes["worker"]["replicas"] = 1
    nodes["db"] |= {"profileRef": {"name": "lightweight"}, "update": {"onProfileChange": "Recreate"}}
    del nodes["experiment"]
    tree["spec"]["nodes"] = list(nodes.values())
    return yaml.safe_dump(tree)


def stands(*places: str) -> Settled:
    """The tree has these places, and all of them are as declared."""

    def settled(engine: Engine, namespace: str) -> bool:
        tree = engine.table.get(Key("VMTree", namespace, "prod"))
        told = VMTreeStatus.load(tree.obj.status) if tree is not None else VMTreeStatus()
        return (
            {node.name for node in told.nodes or () if node.ready} == set(places)
            and len(told.nodes or ()) == len(places)
            and engine.converged()
        )

    return settled


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.guarantee("G-40")
@pytest.mark.guarantee("G-41")
async def test_a_hierarchy_with_every_field_is_the_same_through_three_doors(cluster: Namespace, tmp_path: Path) -> None:
    """As it is made, and as it is changed: what is created, suspended, replaced and deleted is in the plan of every door, and is done."""
    minute = (time.gmtime().tm_min + 30) % 60  # no snapshot is due while this runs
    text = TREE.read_text("utf-8").replace('"0 * * * *"', f'"{minute} * * * *"')
    assert f'"{minute} * * * *"' in text
    workers = [f"worker-{ordinal}" for ordinal in range(3)]
    whole = Stage(text, stands("infra", "backend", "frontend", *workers, "db", "experiment"))
    less = Stage(changed(text), stands("infra", "backend", "frontend", "worker-0", "db"))
    made, mutated = await three(cluster, tmp_path, whole, less)
    must_be_alike(*made)
    created = [name for name, verb, _, _ in made[0].plans if verb == "Create"]
    assert len(created) == 8
    assert (
        created.index("prod/infra")
        < created.index("prod-backend")
        < min(map(created.index, ("prod-worker-0", "prod/db", "prod-experiment")))
    )
    must_be_alike(*mutated)
    acts = {name: [verb for of, verb, _, _ in mutated[0].plans if of == name] for name, _, _, _ in mutated[0].plans}
    assert "Suspend" in acts["prod-frontend"]
    for gone in ("prod-worker-1", "prod-worker-2", "prod-experiment"):
        assert acts[gone].index("TakeSnapshot") < acts[gone].index("Delete")
    replaced = ("BeginReplacement", "Create", "TakeSnapshot", "CarryOver", "ConfirmReplacement", "Delete")
    assert [verb for verb in acts["prod/db"] if verb in replaced] == list(replaced)
    assert "prod-backend" not in acts
