"""An event loop whose time is virtual: when nothing is to be done, the clock goes to the next timer at once.

What is outside of the loop takes the real time that it takes, and the clock stands still meanwhile: work in threads, and sockets that
something is already to be read from."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

RESOLUTION = 1e-6
"""Seconds; timers that are this near to each other are due together."""
STUCK = 60.0
"""Real seconds without anything that could happen."""


class Skipping(selectors.DefaultSelector):
    """Does not wait: it moves the clock of its loop instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and not self.loop.outside and len(self.get_map()) == 1:
            # There is only the loop's own way to be woken, by threads of which there are none: the kernel has nothing to tell.
            if timeout > 0:
                self.loop.pass_by(timeout)
            return []
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self.loop.outside:
            ready = super().select(STUCK)
            assert ready, f"nothing has happened for {STUCK:.0f} real seconds"
            return ready
        self.loop.pass_by(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`now` is its time, and `end` the time at which whatever runs in it has failed. `outside`: calls that threads are busy with."""

    def __init__(self, start: float, end: float) -> None:
        self.now, self.end, self.outside = start, end, 0
        selector = Skipping()
        selector.loop = self
        super().__init__(selector)
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 6)
        assert self.now < self.end, f"not over after {self.end:.0f} virtual seconds"

    def next_due(self) -> float:
        """The time before which nothing happens by itself: that of the earliest timer, or now."""
        if self._ready or self.outside:  # type: ignore[attr-defined]
            return self.now
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return timers[0].when() if timers else self.end

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)
        self.outside += 1
        future.add_done_callback(self._back)
        return future

    def _back(self, _: asyncio.Future[Any]) -> None:
        self.outside -= 1
