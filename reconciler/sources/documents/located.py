"""A document with the place of every key and value, whatever it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from reconciler.core.keys import JsonValue

Path = tuple[str | int, ...]
MAX_DEPTH = 64
MAX_VALUES = 50_000
"""Per document, aliases counted as often as they are used (a few lines of them could otherwise fill the memory)."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a text; both count from 1."""

    line: int
    column: int


class Trap(Enum):
    """An unquoted scalar that YAML 1.1 (what kubectl reads) and YAML 1.2 (what editors read) take for different things."""

    BOOLEAN = "an unquoted yes, no, on, off, y or n is a boolean to kubectl"
    OCTAL = "a number with a leading zero is octal to kubectl"
    UNDERSCORE = "digits with '_' between them are a number to kubectl"
    SEXAGESIMAL = "digits with ':' between them are a base-60 number in YAML 1.1"


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with the text itself."""

    mark: Mark
    path: Path
    message: str


@dataclass(slots=True)
class Located:
    """The value of one document as kubectl would send it. `marks`: path → where its key (or list item) stands. `traps`: path →
    what was ambiguous there. `flaws`: what is wrong with the text. `whole`: it could be read to its end; else there is no value."""

    value: JsonValue = None
    start: Mark = Mark(1, 1)
    marks: dict[Path, Mark] = field(default_factory=dict)
    traps: dict[Path, Trap] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    whole: bool = True

    def stop(self, flaw: Flaw) -> None:
        """The text can't be read beyond this."""
        self.flaws.append(flaw)
        self.value, self.whole = None, False


def locate(marks: Mapping[Path, Mark], start: Mark, path: Path) -> Mark:
    """Where `path` stands; of something missing, where the nearest thing above it stands."""
    for length in range(len(path), 0, -1):
        if (mark := marks.get(path[:length])) is not None:
            return mark
    return start
