"""What is seen of the memory of an agent."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.keys import Json


@dataclass(frozen=True, slots=True)
class OnMachine:
    """Which entries a machine has, as its keeper says. `owner`: whose they are, '' for nobody's; `agent`, `shared`: digests of
    their ids."""

    owner: str = ""
    agent: str = ""
    shared: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What pi was given of its memory, and what it says that it has: digests of a text, '' for none yet. `missing`: the model that is to
    find facts and that pi does not know, '' for none."""

    given: str = ""
    has: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """By which model facts are found before a compaction; '' for the one that the agent uses."""

    provider: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """As declared. `scopes`: sorted; `facts`: None where none are to be found."""

    scopes: tuple[str, ...]
    max_lines: int
    facts: Facts | None = None

    def launch(self) -> Json:
        """As a keeper is told."""
        told: Json = {"scopes": [*self.scopes], "maxLines": self.max_lines}
        if self.facts is not None:
            told["facts"] = {"provider": self.facts.provider, "id": self.facts.model}
        return told


@dataclass(frozen=True, slots=True)
class Size:
    """Of one memory in the store."""

    digest: str
    entries: int
    lines: int
    characters: int


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of one agent. `wanted`: what its machine should have; `agent`, `shared`: as they are in the store, None for what is not
    declared; `kept`: it stays when the lieutenant goes."""

    wanted: OnMachine
    agent: Size | None = None
    shared: Size | None = None
    kept: bool = False
