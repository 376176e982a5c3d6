"""Names of a conversation, and how its two copies may differ."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionName:
    """`name`: of the mirror in the store; `file`: absolute path of the session file on the machine."""

    name: str
    file: str


@dataclass(frozen=True, slots=True)
class Divergence:
    """The file and the mirror differ, and neither is the beginning of the other. `at`: bytes of the whole lines both begin with;
    `machine`, `mirror`: bytes of either."""

    at: int
    machine: int
    mirror: int
