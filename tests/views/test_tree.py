"""Hierarchies: what is declared and what status says, as it hangs together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.cli.tree import plain
from reconciler.core.keys import Json, Key
from reconciler.engine.ports import StoredObject
from reconciler.views.tree import Branch, Forest

VM = "00000000-0000-4000-8000-000000000001"


def obj(kind: str, name: str, spec: dict[str, Any], status: dict[str, Any] | None = None, at: float = 0.0) -> StoredObject:
    return StoredObject(Key(kind, "team", name), f"uid-{name}", 1, 1, at, spec, status=status or {})


def status(phase: str, ready: str = "True", reason: str = "Ready", **more: Any) -> Json:
    conditions: list[Any] = [{"type": "Ready", "status": ready, "reason": reason}]
    return {"phase": phase, "observedGeneration": 1, "conditions": conditions, **more}


def lines(branches: list[Branch]) -> list[str]:
    return [line for branch in branches for line in plain(branch, str)]


def lieutenant(name: str, told: Json | None = None, node: str = "") -> StoredObject:
    made = obj("Lieutenant", name, {"role": "x", "profileRef": {"name": "lightweight"}}, told)
    return replace(made, labels={"fleet.vers.sh/tree": "prod", "fleet.vers.sh/node": node}) if node else made


NODES = [
    {"name": "infra", "category": "Infra", "profileRef": {"name": "mine"}, "protected": True},
    {"name": "back", "category": "Lieutenant", "parent": "infra", "profileRef": {"name": "lightweight"}},
    {"name": "swarm", "category": "Swarm", "parent": "back", "profileRef": {"name": "nowhere"}, "replicas": 2, "mode": "Suspended"},
    {"name": "try", "category": "Agent", "parent": "back", "from": "Parent"},
]
UNSUPPORTED = status("Stalled", "False", "Unsupported")
UNSUPPORTED["conditions"] += [{"type": "Stalled", "status": "True", "reason": "Unsupported", "message": "not acted on\nin this release"}]  # type: ignore[operator]
OBJECTS = [
    obj("BootProfile", "mine", {"extends": {"name": "lightweight"}, "organs": ["one", "two"], "capabilities": ["talk"]}),
    obj("VMTree", "prod", {"nodes": NODES}, UNSUPPORTED),
    lieutenant("prod-back", status("Idle", vm={"id": VM, "state": "Running", "epoch": 1}), "back"),
    lieutenant("prod-swarm-1", node="swarm"),
    lieutenant("prod-swarm-2"),
    obj("Task", "now", {"lieutenantRef": {"name": "prod-back"}, "prompt": "x"}, status("Running", "False", "Working"), 2.0),
    obj("Task", "b", {"lieutenantRef": {"name": "prod-back"}, "prompt": "x"}, status("Succeeded"), 1.0),
    obj("Task", "a", {"lieutenantRef": {"name": "prod-back"}, "prompt": "x"}, status("Failed", "False", "Failed"), 1.0),
]


def test_a_hierarchy_with_what_stands_on_it() -> None:
    forest = Forest(OBJECTS)
    told = lines(forest.whole())
    assert told[0] == "vmtree/prod   Stalled   not Ready: Unsupported   not acted on in this release   4 nodes"
    assert told[1].startswith("  infra   Infra   Running   protected   profile mine   organs ")
    assert "one, two" in told[1]
    assert "capabilities talk" in told[1]
    assert told[2].startswith("    back   Lieutenant   Running   profile lightweight")
    assert told[3:7] == [
        "      lieutenant/prod-back   Idle   Ready   Running   profile lightweight",
        f"        vm/{VM}   Running",
        "        task/now   Running   Working",
        "        tasks that are over   1 Failed   1 Succeeded",
    ]
    assert told[7] == "      swarm   Swarm   ×2   Suspended   profile nowhere   (ProfileNotFound)"
    assert told[8].startswith("        lieutenant/prod-swarm-1   not looked at yet")
    assert told[9].startswith("          no machine")
    assert told[10] == "      try   Agent   Running   a live branch of its parent   no lieutenant yet"
    assert told[11].startswith("lieutenant/prod-swarm-2"), "there are two replicas: 0 and 1; this one is none of them"
    assert {one.key.name for one in forest.members(OBJECTS[1])} == {"prod", "prod-back", "prod-swarm-1", "now", "a", "b"}


def test_what_was_verified_on_the_machine_is_told() -> None:
    boot = {"organs": [{"name": "gate", "state": "Verified"}, {"name": "eye", "state": "NotVerified"}]}
    local = status("Working", local={"id": "x", "state": "Home"})
    stale = {**status("Idle"), "observedGeneration": 0}
    told = lines(
        Forest(
            [
                lieutenant("a", status("Idle", vm={"id": VM, "state": "Running"}, boot=boot)),
                lieutenant("b", local),
                lieutenant("c", stale),
                obj("VMTree", "odd", {"nodes": [{"name": "x", "parent": "x"}]}),
            ]
        ).whole()
    )
    assert told[0] == "vmtree/odd   not looked at yet   its spec is not valid"
    assert told[2] == f"  vm/{VM}   Running   organs gate (Verified), eye (NotVerified)"
    assert told[4] == "  on the controller's host"
    assert "changed since it was looked at" in told[5]
