"""The controller's clock: wall time that never runs backwards, advanced by the event loop (so virtual in tests)."""

from __future__ import annotations

import asyncio
import time


class LoopClock:
    """`now()` is the wall clock at construction plus the loop's time since; a step of the host's clock changes no deadline
    while we run. Inside a virtual-time loop it is virtual."""

    def __init__(self, wall: float | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._offset = (time.time() if wall is None else wall) - self._loop.time()

    def now(self) -> float:
        return self._loop.time() + self._offset

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
