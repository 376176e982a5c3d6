"""One way to follow declarations, wherever they live: watch, scan everything, apply the whole snapshot, and again.

A source says when to scan and what is there; the follower keeps both going. Whatever fails is reported once until it changes,
counted always, and tried again after a pause (G-66)."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from reconciler.core.backoff import delay
from reconciler.engine.supervision import MOST, PAUSE, Supervisor
from reconciler.errors import ReconcilerError

log = logging.getLogger("reconciler.sources")

S = TypeVar("S")


class Source(Protocol[S]):
    """Where declarations live. `S`: a snapshot of all of them, with what is wrong with them."""

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` at first, and whenever another scan may find something new. Runs until it is cancelled or fails."""
        ...

    async def scan(self) -> S:
        """Everything that is declared now. What is wrong with single declarations is in the snapshot."""
        ...

    async def apply(self, found: S) -> None:
        """Put a snapshot in force. Raises what the store says when it can't be written."""
        ...


class Follower:
    """Follows one source; `run` it. `tell` takes one line for people. `supervisor`: keeps its two parts running.

    `rounds`: snapshots put in force so far. `last_error`: why the last attempt failed, '' when it did not. `errors`: all failures, by
    class. `defect`: the last failure that is a defect of this program, None while there was none."""

    def __init__(self, source: Source[S], tell: Callable[[str], None], supervisor: Supervisor, pause: float = PAUSE) -> None:
        self._watch, self._round = source.watch, _round_of(source)
        self._tell, self._supervisor, self._pause = tell, supervisor, pause
        self._dirty = asyncio.Event()
        self._busy = False
        self.rounds = 0
        self.last_error = ""
        self.watch_error = ""
        self.errors: Counter[str] = Counter()
        self.defect: Exception | None = None

    async def run(self) -> None:
        """Until cancelled."""
        keep = self._supervisor.keep
        await asyncio.gather(
            keep("source watch", lambda: self._watch(self._changed), self._watch_failed, pause=self._pause),
            keep("source rounds", self._follow, self._rounds_failed, pause=self._pause),
        )

    def current(self) -> bool:
        """Everything known to have changed was put in force."""
        return self.rounds > 0 and not self._busy and not self._dirty.is_set()

    def healthy(self) -> bool:
        """The watch runs, and the last round did what it should."""
        return not self.last_error and not self.watch_error

    def _changed(self) -> None:
        self.watch_error = ""
        self._dirty.set()

    async def _follow(self) -> None:
        failures = 0
        while True:
            await self._dirty.wait()
            self._busy = True
            self._dirty.clear()
            try:
                await self._round()
            except Exception as error:  # noqa: BLE001  # reported, counted and tried again
                failures += 1
                self.last_error = self._failed(error, self.last_error, "declarations could not be taken in")
                await asyncio.sleep(delay(failures, 0.0, base=self._pause, most=MOST))
                self._dirty.set()
            else:
                failures, self.last_error = 0, ""
                self.rounds += 1
            self._busy = False

    def _rounds_failed(self, error: Exception) -> None:
        """Not a round failed, but what makes the rounds: whatever it had in hand is read again."""
        self.last_error = self._failed(error, self.last_error, "declarations could not be taken in")
        self._dirty.set()

    def _watch_failed(self, error: Exception) -> None:
        self.watch_error = self._failed(error, self.watch_error, "the watch on declarations ended")

    def _failed(self, error: Exception, before: str, what: str) -> str:
        """Count it; say it unless it was said last; returns the words."""
        self.errors[type(error).__name__] += 1
        expected = isinstance(error, ReconcilerError)
        why = str(error) if expected else f"internal error: {type(error).__name__}"
        if not expected:
            self.defect = error
        if why != before:
            self._tell(f"warning: {what}: {why}; trying again")
            if not expected:
                log.error("%s: internal error", what, exc_info=error)
        return why


def _round_of(source: Source[S]) -> Callable[[], Awaitable[None]]:
    async def one() -> None:
        await source.apply(await source.scan())

    return one
