"""Search in texts that people wrote or agents said: by lines, and bounded whatever the expression is."""

from __future__ import annotations

import re
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Annotated

import typer

from reconciler.errors import UsageError

SECONDS = 5.0
"""Of a processor, for the search in one text: Python's expressions go back, and some do so for ever."""
MOST = 1000
"""Characters of an expression."""

Grep = Annotated[
    str | None,
    typer.Option("--grep", metavar="PATTERN", help="Only lines in which this regular expression is found, numbered.", show_default=False),
]
Fixed = Annotated[bool, typer.Option("-F", "--fixed", help="With --grep: PATTERN is plain text.")]
IgnoreCase = Annotated[bool, typer.Option("-i", "--ignore-case", help="With --grep: capitals do not matter.")]
Around = Annotated[int, typer.Option("-C", "--around", metavar="N", min=0, max=10_000, help="With --grep: also N lines before and after.")]


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, and how many lines around each hit are shown."""

    pattern: re.Pattern[str]
    around: int

    def lines(self, text: str) -> list[str]:
        """The lines with a hit as `12:TEXT`, those around them as `11-TEXT`, with `--` between pieces that do not touch; none where there
        is no hit. Raises `UsageError` when the search takes too long."""
        told = text.split("\n")
        with _bounded(self.pattern.pattern):
            hits = {number for number, line in enumerate(told) if self.pattern.search(line)}
        return list(self._shown(told, sorted(hits)))

    def _shown(self, told: Sequence[str], hits: Sequence[int]) -> Iterator[str]:
        found, after = set(hits), 0
        for number in hits:
            begin = max(after, number - self.around)
            if after and begin > after:
                yield "--"
            end = min(len(told), number + self.around + 1)
            for at in range(begin, end):
                yield f"{at + 1}{':' if at in found else '-'}{told[at]}"
            after = max(after, end)


def search(pattern: str | None, fixed: bool, ignore_case: bool, around: int) -> Search | None:
    """None where nothing is looked for. Raises `UsageError` for what is no expression, for an empty one, which is found everywhere and is
    what a script has whose variable was never set, and for what goes with one only."""
    if pattern is None:
        if fixed or ignore_case or around:
            raise UsageError("there is nothing to search for", "--grep", "say what, or leave --fixed, --ignore-case and --around out")
        return None
    if not pattern:
        raise UsageError("PATTERN is empty", "--grep", "say what is looked for (^ is found in every line), or leave --grep out")
    if len(pattern) > MOST:
        raise UsageError(f"it has more than {MOST} characters", "--grep", "write a shorter one")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what other expressions know, such as [[:alpha:]]: here it is a set
            return Search(re.compile(re.escape(pattern) if fixed else pattern, re.IGNORECASE if ignore_case else 0), around)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"{pattern!r} is no regular expression: {error}", "--grep", "correct it, or search for plain text with -F"
        ) from error


@contextmanager
def _bounded(pattern: str) -> Iterator[None]:
    """End what takes more than its time of a processor. Only in the main thread, where commands run: a signal interrupts the search."""

    def too_long(_: int, __: FrameType | None) -> None:
        remedy = "write one without repetitions inside of repetitions, or search for plain text with -F"
        raise UsageError(f"the search for {pattern!r} takes too long", "--grep", remedy)

    before = signal.signal(signal.SIGVTALRM, too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
