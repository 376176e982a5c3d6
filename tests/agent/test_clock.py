"""A machine's clock is judged by what the way to it allows, and set by what it is off (G-12)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from shlex import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.agent.bootstrap import parse_inspect
from reconciler.agent.clock import READ, SET_BACK, correct, skew
from reconciler.agent.transport import FixedScript, RunResult
from reconciler.core.lieutenant.health import clock_is_wrong
from reconciler.errors import GuestFailed

SECONDS = st.floats(0.0, 60.0)


@pytest.mark.guarantee("G-12")
@given(off=st.floats(-1e6, 1e6), there=SECONDS, work=SECONDS, back=SECONDS)
def test_the_true_difference_is_within_what_is_uncertain(off: float, there: float, work: float, back: float) -> None:
    start = 1.7e9
    first = start + there + off
    found = skew(f"{first:.9f}", f"{first + work:.9f}", start, start + there + work + back)
    assert abs(found.ahead - off) <= found.uncertainty + 1e-5
    assert found.uncertainty <= (there + back) / 2 + 1e-5


@pytest.mark.guarantee("G-12")
@pytest.mark.parametrize(
    ("off", "there", "work", "back", "wrong"),
    [
        (0.0, 0.7, 6.0, 0.7, False),  # a slow way, and a node that takes its time to say its version
        (0.0, 9.0, 0.1, 0.0, False),  # everything lost on the way there
        (0.0, 0.0, 0.1, 9.0, False),
        (1.5, 0.01, 0.2, 0.01, False),
        (3.0, 0.01, 8.0, 0.01, True),
        (-3.0, 0.7, 0.2, 0.7, True),
        (3600.0, 20.0, 1.0, 5.0, True),
    ],
)
def test_only_a_clock_that_is_proven_wrong_is_corrected(off: float, there: float, work: float, back: float, wrong: bool) -> None:
    start = 1.7e9
    first = start + there + off
    lines = f"clock {first:.9f}\nmachine x86_64\nuntil {first + work:.9f}\n"
    found = parse_inspect(lines.encode(), start, start + there + work + back)
    assert clock_is_wrong(found.guest) is wrong


@pytest.mark.guarantee("G-12")
@pytest.mark.parametrize("told", ["", "soon", "nan", "inf", "-inf", "1e400", "9" * 400, "\u0663"])
def test_what_is_no_time_is_an_error_of_the_machine(told: str) -> None:
    if told == "\u0663":  # a digit, though of another script: a time all the same
        assert skew(told, "", 0.0, 0.0).ahead == 3.0
        return
    with pytest.raises(GuestFailed, match="did not tell its time"):
        skew(told, "", 0.0, 1.0)
    if told:
        with pytest.raises(GuestFailed, match="did not tell its time"):
            skew("1.0", told, 0.0, 1.0)


class Guest:
    """Runs scripts with the real `sh`, and a `date` that reads and sets `clock`; each run takes `way` seconds in either direction."""

    def __init__(self, directory: Path, way: float, off: float) -> None:
        self.now, self.way, self.off = 1_700_000_000.0, way, off
        self._bin = directory
        self._set = directory / "set"
        date = directory / "date"
        here = quote(str(directory))
        date.write_text(f'#!/bin/sh\n[ "$1" = -s ] && {{ printf %s "$2" > {here}/set; exit; }}\nprintf %s "$(cat {here}/"$1")"\n')
        date.chmod(0o755)

    async def script(self, script: FixedScript, stdin: bytes, what: str) -> RunResult:
        self.now += self.way
        there = self.now + self.off
        (self._bin / "+%s.%N").write_text(f"{there:.9f}")
        (self._bin / "+%s%N").write_text(str(round(there * 1e9)))
        environment = {"PATH": f"{self._bin}:{os.environ['PATH']}"}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("sh", "-c", script, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        out, err = await process.communicate(stdin)
        if self._set.exists():
            self.off += float(self._set.read_text().removeprefix("@")) - there
            self._set.unlink()
        self.now += self.way
        return RunResult(process.returncode or 0, out, err)


@pytest.mark.guarantee("G-12")
@pytest.mark.parametrize("off", [-18 * 3600.0, -2.5, 2.5, 86400.0 * 365])
@pytest.mark.parametrize("way", [0.0, 0.7, 2.0])
def test_a_clock_is_right_after_it_was_set_however_long_the_way(tmp_path: Path, way: float, off: float) -> None:
    guest = Guest(tmp_path, way, off)
    asyncio.run(correct(guest.script, lambda: guest.now))
    assert abs(guest.off) < 1e-3 + (0.0 if abs(off) > way else abs(off))


@pytest.mark.guarantee("G-12")
def test_a_right_clock_is_not_set_at_all(tmp_path: Path) -> None:
    guest = Guest(tmp_path, 5.0, 0.0)
    ran: list[FixedScript] = []

    async def script(one: FixedScript, stdin: bytes, what: str) -> RunResult:
        ran.append(one)
        return await guest.script(one, stdin, what)

    asyncio.run(correct(script, lambda: guest.now))
    assert ran == [READ]
    assert SET_BACK not in ran
