"""Names of a conversation, and how its two copies may differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class SessionName(NamedTuple):
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


@dataclass(frozen=True, slots=True)
class Compacted:
    """That the conversation was shortened. `times`: how often; `id`: of the last time, '' for none; `at`: when, by the machine's clock;
    `told`: its agent was told since what it was told at its beginning; `answers`: of its model since then."""

    times: int = 0
    id: str = ""
    at: float = 0.0
    told: bool = False
    answers: int = 0

    @property
    def untold(self) -> str:
        """The compaction after which its agent was not told again, '' for none."""
        return "" if self.told else self.id


NOT_COMPACTED = Compacted()
