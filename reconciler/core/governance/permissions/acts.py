"""What one part of a call does, as far as it can be known before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


class CannotRead(Exception):
    """A command that is not understood for certain; the message says why."""


@dataclass(frozen=True, slots=True)
class Act:
    """`run` a program, `read` or `write` a file, or something `opaque`.

    `text`: the words, or the path, with unknown parts; `part`: where it stands in the call. `strict`: it needs no permission of its
    own, but may be denied. `names`: variables set for it. `inline`: it runs code that is not followed, unless an allow says so word for
    word: so many words must be named. `files`: its words that may name files, and `mutates`: it may change these. `reach`: what else it may
    change, without naming it: only what guards the agent is kept from that."""

    kind: Literal["run", "read", "write", "opaque"]
    text: str
    part: str
    why: str = ""
    cwd: str = ""
    strict: bool = False
    names: tuple[str, ...] = ()
    inline: int = 0
    mutates: bool = True
    files: tuple[str, ...] = ()
    reach: tuple[str, ...] = ()


class Script(Protocol):
    """What a simple command may change while a script is read: what was noted, and what is known."""

    acts: list[Act]
    variables: dict[str, str]
    cwd: str
    written: set[str]
    functions: set[str]

    def inner(self, source: str, part: str) -> None:
        """Text that a command runs as a script of its own."""
