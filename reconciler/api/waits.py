"""How a wait is treated, by its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a wait with this reason is treated. `poll`: seconds after which it is looked at again when nothing wakes it sooner, None:
    the controller's fallback. `rests`: only a change of something else can end it. `unreadable`: the truth is not known rather than
    known to be false, so that `Ready` is Unknown. `undeclared`: what it waits for is not declared, so that who waits for everything
    to be reached is told. `retries`: something failed and is tried again at a time that status tells."""

    poll: float | None = None
    rests: bool = False
    unreadable: bool = False
    undeclared: bool = False
    retries: bool = False


MOVES = Waiting()
RESTS = Waiting(rests=True)
UNDECLARED = Waiting(rests=True, undeclared=True)
RETRIES = Waiting(retries=True)
