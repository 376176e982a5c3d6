"""A machine's clock against ours, measured over a way whose length is unknown (G-12).

The guest reads its clock at an unknown moment between our question and its answer. Taking the middle of the two is wrong by at most half
of the way, so that much is uncertain, and a difference that is no larger proves nothing. What the guest's own work took between its
two readings is no part of the way. A clock is set by what it is off, not to a time that is old when it arrives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from reconciler.agent.transport import FixedScript, RunResult
from reconciler.errors import GuestFailed

READ: Final = FixedScript(r"""
printf 'clock %s\n' "$(date +%s.%N)"
""")

SET_BACK: Final = FixedScript(r"""
read -r ahead
now=$(date +%s%N)
right=$((now - ahead))
date -s "@$((right / 1000000000)).$(printf %09d $((right % 1000000000)))" > /dev/null
""")
"""Sets the clock back by so many nanoseconds, forward when they are negative."""


@dataclass(frozen=True, slots=True)
class Skew:
    """`ahead`: seconds that the guest's clock is ahead of ours; `uncertainty`: how many of them may be due to the way."""

    ahead: float
    uncertainty: float

    @property
    def proven(self) -> bool:
        """Whether the clock differs at all, whatever way question and answer took."""
        return abs(self.ahead) > self.uncertainty

    @property
    def nanoseconds(self) -> str:
        return str(round(self.ahead * 1e9))


def skew(clock: str, until: str, asked_at: float, answered_at: float) -> Skew:
    """From the guest's reading at its start and at its end ('' for the same moment), and our clock around the whole. Raises `GuestFailed`
    for what is no time."""
    try:
        first = float(clock)
        last = float(until or clock)
        if not abs(first) < 1e12 or not abs(last) < 1e12:  # also what is no number
            raise ValueError
    except ValueError:
        told = repr(f"{clock} {until}"[-200:])
        raise GuestFailed("the machine did not tell its time", remedy="`date +%s.%N` must work there", tail=told) from None
    worked = min(max(0.0, last - first), max(0.0, answered_at - asked_at))  # a clock that is set meanwhile jumps
    way = max(0.0, answered_at - asked_at - worked)
    return Skew(first - (asked_at + way / 2), way / 2)


def read(output: bytes, asked_at: float, answered_at: float) -> Skew:
    """What `READ` printed. Raises `GuestFailed`."""
    word, _, clock = output.decode(errors="replace").strip().partition(" ")
    return skew(clock if word == "clock" else "", "", asked_at, answered_at)


async def correct(script: Callable[[FixedScript, bytes, str], Awaitable[RunResult]], now: Callable[[], float]) -> None:
    """Set a guest's clock right, unless it may well be: `script` runs one of ours there with standard input, named for errors; `now` is our
    clock. Raises what `script` raises, and `GuestFailed`."""
    asked = now()
    answer = await script(READ, b"", "reading the clock")
    found = read(answer.stdout, asked, now())
    if found.proven:
        await script(SET_BACK, f"{found.nanoseconds}\n".encode(), "setting the clock")
