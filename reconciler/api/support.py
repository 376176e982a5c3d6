"""Which fields this release acts on. What is accepted and not acted on is never silent (design §3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from reconciler.api.lieutenant import AgentSettings
from reconciler.api.meta import Json, Model
from reconciler.api.parsing import load_spec


class Support(Enum):
    """What happens to a field that is set to something other than its default, in the words of the documentation."""

    ACTED_ON = "acted on"
    CONVENIENCE = "recorded, not acted on: a warning and the condition `Unsupported` when it is set; its default is not acted on either"
    PROTECTS = "not acted on, and somebody relies on it: `Stalled/Unsupported`, nothing starts"


ACTED_ON, CONVENIENCE, PROTECTS = Support.ACTED_ON, Support.CONVENIENCE, Support.PROTECTS

# Paths without indices; an entry holds for everything below it that has no entry of its own.
SUPPORT: dict[str, dict[str, Support]] = {
    "Lieutenant": {
        "role": ACTED_ON,
        "mode": ACTED_ON,
        "profileRef": ACTED_ON,
        "placement.type": ACTED_ON,
        "placement.outageFallback": ACTED_ON,
        "resources": ACTED_ON,
        "instructions.inherit": ACTED_ON,
        "instructions.context": ACTED_ON,
        "instructions.directive": ACTED_ON,
        "instructions.files": ACTED_ON,
        "model": ACTED_ON,
        "env": ACTED_ON,
        "queue": ACTED_ON,
        "limits.taskTimeoutSeconds": ACTED_ON,
        "limits.noProgressSeconds": ACTED_ON,
        "limits.steerLandSeconds": ACTED_ON,
        "limits.toolProgress": ACTED_ON,
        "limits.firstArtifactSeconds": ACTED_ON,
        "limits.maxTurns": ACTED_ON,
        "idle": ACTED_ON,
        "suspend": ACTED_ON,
        "budget": ACTED_ON,
        "permissions": ACTED_ON,
        "permissions.agents": CONVENIENCE,
        "memory.scopes": ACTED_ON,
        "memory.maxLines": ACTED_ON,
        "memory.extractFacts": ACTED_ON,
        "memory.factsModel": ACTED_ON,
        "compaction": ACTED_ON,
        "health": ACTED_ON,
        "restart": ACTED_ON,
        "session.generation": ACTED_ON,
        "session.onLost": ACTED_ON,
        "session.onWorkspaceLost": ACTED_ON,
        "update": ACTED_ON,
        "snapshots": ACTED_ON,
        "managementPolicy": ACTED_ON,
        "deletionPolicy": ACTED_ON,
        "adopt": ACTED_ON,
        "fork": ACTED_ON,
    },
    "VMTree": {
        "nodes": ACTED_ON,
        "mode": ACTED_ON,
        "limits": ACTED_ON,
        "policy": ACTED_ON,
        "strategy": ACTED_ON,
        "snapshots": ACTED_ON,
        "budget": ACTED_ON,
        "deletionPolicy": ACTED_ON,
    },
    "BootProfile": {
        "source": ACTED_ON,
        "extends": ACTED_ON,
        "resources": ACTED_ON,
        "organs": ACTED_ON,
        "capabilities": ACTED_ON,
        "env": ACTED_ON,
        "files": ACTED_ON,
        "steps": ACTED_ON,
        "verify": ACTED_ON,
        "bake.enabled": ACTED_ON,
        "bake.keep": ACTED_ON,
        "bake.warm": ACTED_ON,
        "agent.command": ACTED_ON,
        "agent.workDir": ACTED_ON,
        "agent.model": ACTED_ON,
        "agent.providers": ACTED_ON,
        "agent.extensions": ACTED_ON,
        "agent.skills": ACTED_ON,
        "agent.permissions": ACTED_ON,
        "agent.permissions.agents": CONVENIENCE,
        "sandbox": ACTED_ON,
    },
    "Task": {
        "lieutenantRef": ACTED_ON,
        "prompt": ACTED_ON,
        "contentFrom": ACTED_ON,
        "delivery": ACTED_ON,
        "target": ACTED_ON,
        "after": ACTED_ON,
        "notBefore": ACTED_ON,
        "deadlineSeconds": ACTED_ON,
        "noProgressSeconds": ACTED_ON,
        "landSeconds": ACTED_ON,
        "taskTimeoutSeconds": ACTED_ON,
        "acceptance": ACTED_ON,
        "escalation": ACTED_ON,
        "retries": ACTED_ON,
        "ttlSecondsAfterFinished": ACTED_ON,
        "budget": ACTED_ON,
        "permissions": ACTED_ON,
        "permissions.agents": CONVENIENCE,
        "cancel": ACTED_ON,
        "approvals": ACTED_ON,
    },
}


SUPPORT["Machine"] = SUPPORT["Lieutenant"]
SUPPORT["VMTree"] |= {
    f"nodes.lieutenant.{path}": support
    for path, support in SUPPORT["Lieutenant"].items()
    if support is not ACTED_ON and path.partition(".")[0] in AgentSettings.aliases()
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One field that is set, to something other than its default, and not acted on. `path`: from `spec`, without indices; `spec`
    itself when the whole kind is meant. `protects`: nothing may start while it is there."""

    path: str
    protects: bool


def unsupported(kind: str, spec: Json, loaded: Model | None = None) -> list[Finding]:
    """What this valid spec asks for that this release does not do; each path once, in the order of the API. A kind without a table is
    acted on whole. `loaded`: its model, where somebody has it.
    Raises `InvalidSpec` when the spec is not valid."""
    table = SUPPORT.get(kind, {})
    model = loaded if loaded is not None else load_spec(kind, spec, tolerant=True)
    if table.get("") is not None and table[""] is not ACTED_ON:
        return [Finding("spec", table[""] is PROTECTS)]
    if not (model.model_fields_set & _with_gaps(kind, type(model))):
        return []
    found: dict[str, Finding] = {}
    for path in _set(model, ""):
        entry = entry_of(table, path)
        if entry is not None and table[entry] is not ACTED_ON:
            found.setdefault(entry, Finding(f"spec.{entry}", table[entry] is PROTECTS))
    return [found[entry] for entry in table if entry in found]


@lru_cache(maxsize=64)
def _with_gaps(kind: str, model: type[Model]) -> frozenset[str]:
    """The fields of a spec, by their names in the model, of which something is not acted on: most specs set none of them."""
    below = {path.partition(".")[0] for path, support in SUPPORT.get(kind, {}).items() if support is not ACTED_ON}
    return frozenset(name for alias, name in model.aliases().items() if alias in below)


def entry_of(table: dict[str, Support], path: str) -> str | None:
    """The entry that decides about `path`: its own or the nearest above it; None when there is none."""
    while path not in table:
        path, dot, _ = path.rpartition(".")
        if not dot:
            return path if path in table else None
    return path


def _set(model: Model, base: str) -> Iterator[str]:
    """Paths of fields set to something other than their default, as deep as they go."""
    for alias, name in type(model).aliases().items():
        if name not in model.model_fields_set:
            continue
        value, path = getattr(model, name), f"{base}.{alias}" if base else alias
        info = type(model).model_fields[name]
        if not info.is_required() and value == info.get_default(call_default_factory=True):
            continue
        inner = (
            [value] if isinstance(value, Model) else [item for item in value if isinstance(item, Model)] if isinstance(value, tuple) else []
        )
        yield path
        for one in inner:
            yield from _set(one, path)
