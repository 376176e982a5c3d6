"""The memory of an agent as a keeper tells and takes it."""

from __future__ import annotations

from reconciler.agent.protocol import obj, text, there_of, whole
from reconciler.core.governance.memory import LONGEST, MOST, SCOPES, MemoryEntry
from reconciler.core.keys import Json, JsonValue
from reconciler.core.snapshot.memory import OnMachine
from reconciler.engine.ports import MachineMemory


def memory_of(facts: Json) -> MachineMemory:
    """All that is there, no more than there may be."""
    told = obj(facts.get("memory"))
    listed = told.get("entries")
    entries = [obj(one) for one in listed[: 2 * MOST]] if isinstance(listed, list) else []
    agent, shared = (tuple(_entry(one) for one in entries if one.get("scope") == scope and text(one, "id")) for scope in SCOPES)
    return MachineMemory(there_of(told) or OnMachine(), whole(told, "n") or 0, agent, shared)


def _entry(facts: Json) -> MemoryEntry:
    at = facts.get("at")
    seconds = float(at) if isinstance(at, int | float) and not isinstance(at, bool) and 0 <= at < 1e11 else 0.0
    return MemoryEntry(seconds, text(facts, "id")[:64], text(facts, "text")[:LONGEST])


def facts_of(memory: MachineMemory) -> Json:
    """As a keeper takes it."""
    scopes = (("Agent", memory.agent), ("Global", memory.shared))
    entries: list[JsonValue] = [
        {"scope": scope, "id": entry.id, "at": entry.at, "text": entry.text} for scope, found in scopes for entry in found
    ]
    return {"owner": memory.there.owner, "n": memory.number, "entries": entries}
