"""What is seen of the memory of an agent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OnMachine:
    """Which entries a machine has, as its keeper says. `owner`: whose they are, '' for nobody's; `agent`, `shared`: digests of
    their ids."""

    owner: str = ""
    agent: str = ""
    shared: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What pi was given of its memory, and what it says that it has: digests of a text, '' for none yet."""

    given: str = ""
    has: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """As declared. `scopes`: sorted."""

    scopes: tuple[str, ...]
    max_lines: int


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
