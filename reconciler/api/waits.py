"""What every reason says of itself, and how a wait with it is treated."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

NOTHING = "Nothing; it passes by itself."


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a wait with this reason is treated. `poll`: seconds after which it is looked at again when nothing wakes it sooner, None:
    the controller's fallback. `rests`: only a change of something else can end it. `unreadable`: the truth is not known rather than
    known to be false, so that `Ready` is Unknown. `undeclared`: what it waits for is not declared, so that who waits for everything
    to be reached is told. `retries`: something failed and is tried again at a time that status tells. `held`: it waits for another one
    and does not move itself. `source`: it is the type of a condition, too: somebody must correct where it is declared. `again`: seconds
    after which what is refused for it is looked at again: it rests on what was read, which may have been wrong, or change elsewhere."""

    poll: float | None = None
    rests: bool = False
    unreadable: bool = False
    undeclared: bool = False
    retries: bool = False
    held: bool = False
    source: bool = False
    again: float | None = None


MOVES = Waiting()
RESTS = Waiting(rests=True)
UNDECLARED = Waiting(rests=True, undeclared=True)
REFUSED = Waiting(poll=2.0)
PROVIDED = Waiting(poll=5.0, rests=True, undeclared=True)
SOUGHT = Waiting(poll=30.0, rests=True, undeclared=True)
JUDGED = Waiting(rests=True, again=60.0)
RETRIES = Waiting(retries=True)
AT_SOURCE = Waiting(source=True)


class Explained(StrEnum):
    """A word with its meaning, what a person can do about it, and how waits with it are treated."""

    meaning: str
    remedy: str
    waiting: Waiting

    def __new__(cls, value: str, meaning: str = "", remedy: str = NOTHING, waiting: Waiting = MOVES) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.remedy = remedy
        member.waiting = waiting
        return member
