"""The memory that a keeper of the test world has, and what its agent writes: words in a prompt say what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from reconciler.core.governance.memory import MemoryEntry, digest_of
from reconciler.core.keys import Json
from reconciler.core.snapshot.memory import OnMachine, Taken
from reconciler.engine.ports import MachineMemory

WORDS = re.compile(r"\b(REMEMBER|SHARE)\(([^)]*)\)")
FACT = re.compile(r"FACT\(([^)]*)\)")
SCOPES = {"REMEMBER": "Agent", "SHARE": "Global"}


@dataclass
class Remembered:
    """As `reconciler/agent/keeper/memory.mjs`: entries that were added here have a number."""

    owner: str = ""
    number: int = 0
    entries: dict[str, list[tuple[int, MemoryEntry]]] = field(default_factory=lambda: {"Agent": [], "Global": []})

    def add(self, scope: str, text: str, at: float, name: str) -> None:
        self.number += 1
        self.entries[scope].append((self.number, MemoryEntry(at, f"{name}-{self.number}", text)))

    def copied(self) -> Remembered:
        return replace(self, entries={scope: list(found) for scope, found in self.entries.items()})

    def of(self, scope: str) -> tuple[MemoryEntry, ...]:
        return tuple(sorted(entry for _, entry in self.entries[scope]))

    def there(self) -> OnMachine:
        return OnMachine(self.owner, *(digest_of(entry.id for entry in self.of(scope)) for scope in ("Agent", "Global")))

    def read(self) -> MachineMemory:
        return MachineMemory(self.there(), self.number, self.of("Agent"), self.of("Global"))

    def put(self, memory: MachineMemory) -> None:
        for scope, given in (("Agent", memory.agent), ("Global", memory.shared)):
            known = {entry.id for entry in given}
            since = [(n, entry) for n, entry in self.entries[scope] if n > memory.number and entry.id not in known]
            self.entries[scope] = [*((0, entry) for entry in given), *since]
        self.owner = memory.there.owner

    def written(self, prompt: str, launch: Json | None, at: float, name: str) -> None:
        """What the agent writes in a turn with this prompt, by the tools that it has."""
        for word, text in WORDS.findall(prompt):
            if launch is not None and SCOPES[word] in as_list(launch.get("scopes")):
                self.add(SCOPES[word], text, at, name)

    def facts_in(self, session: bytes, launch: Json, at: float, name: str) -> str:
        """What a model finds before a compaction in what was said, `FACT(…)`, each once. Returns which model that was, '' for none."""
        named = launch.get("facts")
        if not isinstance(named, dict):
            return ""
        known = {entry.text for scope in self.entries for entry in self.of(scope)}
        for text in dict.fromkeys(FACT.findall(session.decode())):
            if text not in known:
                self.add(str(as_list(launch.get("scopes"))[0]), text, at, f"facts/{name}")
        return f"{named['provider']}/{named['id']}" if named["provider"] else "acme/large"

    def told(self, launch: Json) -> str:
        """What pi is told at its start: the newest lines."""
        every = sorted(entry for scope in as_list(launch.get("scopes")) for entry in self.of(str(scope)))
        most = launch.get("maxLines")
        assert isinstance(most, int)
        return "\n".join(entry.text for entry in every[-most:])


def as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []


def taken(text: str | None, missing: str = "") -> Taken | None:
    if text is None:
        return None
    return Taken(f"digest of {text}", f"digest of {text}", missing)
