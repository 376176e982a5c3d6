"""A changed profile goes through a tree, one machine after another; the next change does not pass its verification at the first node, which
costs nothing, and is undone."""

from __future__ import annotations

from reconciler.api.status.vmtree import VMTreeStatus
from reconciler.cli.demo.stage import Stage
from reconciler.cli.demo.story import PROFILE, RECALLS, TOLD, Story, declare_told, holds, leave, remembers, succeeds
from reconciler.cli.rollout import undone
from reconciler.core.keys import Json, JsonValue, Key, machine_of_node, vm_tree
from reconciler.errors import GuestFailed
from reconciler.serve.commands import naming

PROD = vm_tree("default", "prod")
LEAD = Key("Lieutenant", "default", "prod-lead")
MEMBERS = (machine_of_node(PROD, "db"), LEAD, Key("Lieutenant", "default", "prod-worker"))
TOOLS, BROKEN = Key("BootProfile", "default", "tools"), Key("BootProfile", "default", "broken")
AFTERWARDS, STILL = Key("Task", "default", "afterwards"), Key("Task", "default", "still")

PROFILES = """
apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {name: tools}
spec:
  extends: {name: scripted}
  steps: [{name: tools, run: "echo 1 > /opt/tools"}]
  verify: [{name: tools, command: [test, -s, /opt/tools]}]
---
apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {name: broken}
spec:
  extends: {name: scripted}
  verify: [{name: tools, command: [test, -s, /opt/nothing]}]
"""

TREE = """
apiVersion: fleet.vers.sh/v1alpha1
kind: VMTree
metadata: {{name: prod}}
spec:
  strategy: {{maxUnavailable: 1}}
  nodes:
  - {{name: db, category: Resource, profileRef: {{name: {profile}}}, update: {{onProfileChange: Recreate}}}}
  - name: lead
    category: Lieutenant
    profileRef: {{name: {profile}}}
    update: {{onProfileChange: Recreate}}
    lieutenant: {{role: Lead the work}}
  - name: worker
    category: Agent
    parent: lead
    profileRef: {{name: {profile}}}
    update: {{onProfileChange: Recreate}}
    lieutenant: {{role: Work}}
"""

TASK = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: {name}}}
spec:
  lieutenantRef: {{name: prod-lead}}
  prompt: What was the first thing you were told?
"""


def rules() -> list[tuple[str, list[Json]]]:
    """What the model does when it is told what."""
    return list(RECALLS)


async def play(stage: Stage, keep: bool, story: Story) -> None:
    """The whole story; fills `story` as it goes. Raises `TimedOut` or `GuestFailed` when it does not go as it should."""
    await story.chapter(stage, "created", "A tree of three machines, one of them without an agent", _create(stage))
    await story.chapter(stage, "rolled-out", "Another profile: one machine after another", _roll_out(stage))
    await story.chapter(stage, "stopped", "A profile that does not pass its verification: it stops at the first node", _stop(stage))
    await story.chapter(stage, "undone", "It is undone, and no machine is touched", _undo(stage))
    await story.show(stage, LEAD, (TOLD, AFTERWARDS, STILL))
    if not keep:
        await story.chapter(stage, "deleted", "The tree is taken down", leave(stage, STILL, AFTERWARDS, TOLD, PROD, BROKEN, TOOLS, PROFILE))


async def _create(stage: Stage) -> None:
    await declare_told(stage, PROFILES + "---" + TREE.format(profile="scripted"), LEAD)
    await _stands(stage)
    await succeeds(stage, TOLD)


async def _roll_out(stage: Stage) -> None:
    before = _machines(stage)
    await stage.apply(TREE.format(profile="tools"))
    await stage.until("another machine for each", lambda: not before & _machines(stage) and len(stage.machines()) == len(MEMBERS), 240.0)
    await _stands(stage)
    await stage.apply(TASK.format(name=AFTERWARDS.name))
    await remembers(stage, AFTERWARDS)
    stage.telling.line("   three other machines, and it still knows what it was told on the first one")


async def _stop(stage: Stage) -> None:
    before = _machines(stage)
    await stage.apply(TREE.format(profile="broken"))
    await stage.until("the end of the rollout", lambda: _rollout(stage) == "Stopped" and len(stage.machines()) == len(MEMBERS), 240.0)
    if _machines(stage) != before:
        raise GuestFailed("a profile that does not work cost a machine that did", str(PROD))
    await stage.apply(TASK.format(name=STILL.name))
    await remembers(stage, STILL)
    stage.telling.line("   the same three machines, and the agents work on")


async def _undo(stage: Stage) -> None:
    before, obj = _machines(stage), stage.object(PROD)
    assert obj is not None
    changes: list[JsonValue] = [{"path": list(path), "value": value} for path, value in undone(obj)]
    await stage.request({**naming(PROD, "patch"), "set": changes})
    await _stands(stage)
    if _machines(stage) != before:
        raise GuestFailed("an undo touched a machine", str(PROD))


async def _stands(stage: Stage) -> None:
    """Every node is as declared. Raises `TimedOut`."""
    await stage.until("the tree", lambda: holds(stage, PROD, "Ready") and len(stage.machines()) == len(MEMBERS), 180.0)


def _machines(stage: Stage) -> set[str]:
    """The machines in use."""
    items = (stage.controller.engine.table.lieutenant(key) for key in MEMBERS)
    return {item.record.slot.vm_id for item in items if item is not None} - {""}


def _rollout(stage: Stage) -> str:
    obj = stage.object(PROD)
    told = VMTreeStatus.load(obj.status).rollout if obj is not None else None
    return told.state if told is not None else ""
