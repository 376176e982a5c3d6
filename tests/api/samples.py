"""Specs that between them set every field of every kind to something other than its default, and what each field may not be."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

from reconciler.api.meta import API_VERSION, Json, JsonValue

UUID = "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c11"
SECRET: Json = {"secretKeyRef": {"name": "llm", "key": "token"}}
ENV: JsonValue = [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": SECRET}]
MODEL: Json = {
    "provider": "anthropic",
    "id": "some-model",
    "thinking": "high",
    "fallbacks": [{"provider": "other", "id": "m", "thinking": "low"}],
}
FILES: JsonValue = [
    {"path": "AGENTS.md", "content": "be kind"},
    {"path": ".npmrc", "valueFrom": SECRET, "mode": "0600"},
    {"path": "a/big", "contentFrom": {"configMapKeyRef": {"name": "big", "key": "text"}}},
    {"path": "a/bigger", "contentFrom": SECRET},
]

BUDGET: Json = {
    "maxCost": "5.00",
    "maxTokens": 10,
    "maxMachineHours": 3,
    "windowSeconds": 60,
    "calendar": "Week",
    "timeZone": "Europe/Berlin",
    "warnAtPercent": 50,
    "onExceeded": "Warn",
}
PERMISSIONS: Json = {
    "tools": ["read", "bash"],
    "default": "Ask",
    "allow": ["read", "bash(npm *)"],
    "deny": ["bash(rm *)"],
    "ask": ["bash(git push*)"],
    "askMayBeAllowed": True,
    "askTimeoutSeconds": 5,
    "agents": {"allow": ["helper-*"], "maxDepth": 2},
    "examples": [{"call": "write(x)", "expect": "Deny"}],
}
AGENT: Json = {
    "role": "Keeper of the build",
    "instructions": {"inherit": False, "context": "c", "directive": "d", "files": FILES},
    "model": MODEL,
    "env": ENV,
    "queue": {"maxPending": 7},
    "limits": {
        "taskTimeoutSeconds": 1,
        "noProgressSeconds": 2,
        "toolProgress": "Work",
        "firstArtifactSeconds": 3,
        "steerLandSeconds": 4,
        "maxTurns": 5,
    },
    "idle": {"suspendAfterSeconds": 60, "wakeOnTask": False, "postTask": "Suspend"},
    "suspend": {"onBusy": "Abort", "graceSeconds": 5},
    "budget": BUDGET,
    "permissions": PERMISSIONS,
    "memory": {"scopes": ["Agent", "Global"], "maxLines": 5, "extractFacts": True, "factsModel": {"provider": "acme", "id": "small"}},
    "compaction": {"auto": False, "reserveTokens": 1, "keepRecentTokens": 2, "reassertDirective": False},
    "health": {"periodSeconds": 1, "failureThreshold": 2, "startupTimeoutSeconds": 5},
    "restart": {
        "backoff": {"baseSeconds": 1, "maxSeconds": 10},
        "crashLoop": {"maxRestarts": 1, "windowSeconds": 60, "stableSeconds": 30},
    },
    "session": {"generation": 2, "onLost": "New", "onWorkspaceLost": "Hold"},
    "update": {"onProfileChange": "Recreate", "onNoRoom": "InPlace"},
    "snapshots": {"schedule": "*/5 * * * mon-fri", "timeZone": "Europe/Berlin", "keep": 2, "verify": "All", "beforeMutate": True},
    "managementPolicy": "NoDelete",
    "deletionPolicy": "Retain",
}

LIEUTENANT: Json = {
    **AGENT,
    "mode": "Suspended",
    "profileRef": {"name": "full"},
    "placement": {"type": "VM", "outageFallback": "Local"},
    "resources": {"vcpus": 2, "memoryMiB": 4096, "diskMiB": 8192},
}
ADOPTING: Json = {"role": "x", "profileRef": {"name": "full"}, "adopt": {"vmId": UUID}}
COPYING: Json = {"role": "x", "profileRef": {"name": "full"}, "fork": {"from": {"tree": "prod", "name": "db"}}}
FORKING: Json = {"role": "x", "profileRef": {"name": "full"}, "fork": {"from": {"name": "other"}}}
LOCAL: Json = {"role": "x", "profileRef": {"name": "full"}, "placement": {"type": "Local"}}

PROFILE: Json = {
    "extends": {"name": "lightweight"},
    "source": {"commitId": UUID},
    "resources": {"vcpus": 2, "memoryMiB": 4096, "diskMiB": 8192},
    "organs": ["store"],
    "capabilities": ["vers-vm"],
    "env": ENV,
    "files": FILES,
    "steps": [{"name": "deps", "run": "true", "timeoutSeconds": 5, "retries": 1}],
    "verify": [{"name": "there", "command": ["cat", "x"], "expect": {"exitCode": 1, "stdout": "y"}, "timeoutSeconds": 5}],
    "bake": {"enabled": True, "keep": 5, "warm": 2},
    "sandbox": {
        "fs": {"writable": ["/srv/data"], "hidden": ["/root/.ssh"]},
        "network": {"allow": ["registry.npmjs.org:443", "*.example.com:8443", "[2001:db8::1]:80"]},
    },
    "agent": {
        "command": ["pi", "--flag"],
        "workDir": "/srv/work",
        "model": MODEL,
        "providers": [{"name": "local", "baseUrl": "http://127.0.0.1:1/v1", "api": "anthropic-messages", "apiKeyFrom": SECRET}],
        "extensions": ["a.js"],
        "skills": ["b"],
        "permissions": PERMISSIONS,
    },
}
IMAGE: Json = {"source": {"image": "default"}}
REF: Json = {"source": {"ref": "golden:latest"}}

TASK: Json = {
    "lieutenantRef": {"name": "api"},
    "prompt": "Do it.",
    "delivery": "Steer",
    "target": {"name": "other"},
    "after": [{"name": "first"}],
    "notBefore": "2026-01-01T00:00:00Z",
    "deadlineSeconds": 10,
    "noProgressSeconds": 5,
    "landSeconds": 5,
    "taskTimeoutSeconds": 5,
    "acceptance": [{"file": {"path": "x", "minBytes": 5}}, {"command": {"run": ["true"], "timeoutSeconds": 5}}],
    "escalation": ["Abort", "RestartSession"],
    "retries": 1,
    "ttlSecondsAfterFinished": 5,
    "budget": {"maxCost": "0.50", "maxTokens": 9, "warnAtPercent": 50},
    "cancel": True,
    "permissions": PERMISSIONS,
    "approvals": [{"id": "q1", "decision": "Deny", "reason": "no"}],
}
BIG_TASK: Json = {"lieutenantRef": {"name": "api"}, "contentFrom": SECRET}
BIGGER_TASK: Json = {"lieutenantRef": {"name": "api"}, "contentFrom": {"configMapKeyRef": {"name": "big", "key": "text"}}}

TREE: Json = {
    "nodes": [
        {"name": "infra", "category": "Infra", "profileRef": {"name": "infra"}, "protected": True, "mode": "Suspended"},
        {
            "name": "worker",
            "category": "Swarm",
            "parent": "infra",
            "from": "Parent",
            "replicas": 3,
            "resources": {"vcpus": 2, "memoryMiB": 4096, "diskMiB": 8192},
            "update": {"onProfileChange": "Recreate", "onNoRoom": "InPlace"},
            "lieutenant": AGENT,
        },
        {"name": "found", "category": "Resource", "profileRef": {"name": "infra"}, "adopt": {"vmId": UUID}},
    ],
    "mode": "Suspended",
    "limits": {"maxVMs": 12, "maxDepth": 5, "maxChildren": 10, "maxConcurrentCreates": 3, "maxWorking": 4},
    "policy": {"onNodeRemoved": "Cascade", "suspend": "NodeOnly", "order": "LeavesFirst"},
    "strategy": {"maxUnavailable": 2},
    "snapshots": {"schedule": "@hourly", "timeZone": "Europe/Berlin", "keep": 2, "verify": "All", "beforeMutate": True},
    "budget": BUDGET,
    "deletionPolicy": "Orphan",
}

SAMPLES: dict[str, list[Json]] = {
    "Lieutenant": [LIEUTENANT, ADOPTING, FORKING, COPYING, LOCAL],
    "BootProfile": [PROFILE, IMAGE, REF],
    "Task": [TASK, BIG_TASK, BIGGER_TASK],
    "VMTree": [TREE],
}

PROGRAM: Json = {"exec": {"command": ["mint", "--for", "agents"], "refreshSeconds": 60}}
HOST_FILE: Json = {"file": {"path": "/run/token"}}
_ENV: JsonValue = [{"name": "A", "valueFrom": PROGRAM}, {"name": "B", "valueFrom": HOST_FILE}]
_FILES: JsonValue = [{"path": "a", "valueFrom": PROGRAM}, {"path": "b", "valueFrom": HOST_FILE}]
_PROVIDER: Json = {"baseUrl": "http://127.0.0.1:1/v1", "api": "anthropic-messages"}
_AGENT: Json = {
    "role": "Keep it",
    "env": _ENV,
    "instructions": {"files": _FILES},
}
ON_A_HOST: dict[str, list[Json]] = {
    "Lieutenant": [{**_AGENT, "profileRef": {"name": "full"}}],
    "BootProfile": [
        {
            "source": {"image": "default"},
            "env": _ENV,
            "files": _FILES,
            "agent": {
                "providers": [{"name": "p", **_PROVIDER, "apiKeyFrom": PROGRAM}, {"name": "f", **_PROVIDER, "apiKeyFrom": HOST_FILE}]
            },
        }
    ],
    "VMTree": [{"nodes": [{"name": "a", "category": "Lieutenant", "profileRef": {"name": "full"}, "lieutenant": _AGENT}]}],
}
"""With the fields that only files may have: a cluster runs no programs for whoever may declare something there."""


def document(kind: str, spec: JsonValue, name: str = "a") -> Json:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": deepcopy(spec)}


Path = tuple[str | int, ...]


def paths(value: JsonValue, base: Path = ()) -> Iterator[tuple[Path, JsonValue]]:
    """Every place in a document, outer ones first."""
    if base:
        yield base, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*base, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, (*base, index))


def shape(path: Path) -> str:
    """`('env', 0, 'name')` → `env[].name`."""
    return "".join("[]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def replaced(value: JsonValue, path: Path, new: JsonValue) -> JsonValue:
    """A copy with the value at `path` replaced."""
    copy = deepcopy(value)
    here: JsonValue = copy
    for step in path[:-1]:
        here = here[step]  # type: ignore[index,call-overload]
    here[path[-1]] = new  # type: ignore[index,call-overload]
    return copy
