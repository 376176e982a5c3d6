"""What may take long is told of while it lasts. What is soon over is told with what follows from it, and costs no write of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType


class Meanwhile:
    """Around what may take long. `tell`: awaited once, beside it, when it has lasted for `after` seconds."""

    def __init__(self, tell: Callable[[], Awaitable[None]], after: float) -> None:
        self._tell, self._after = tell, after
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._after, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._told(), name="tells what takes long")

    async def _told(self) -> None:
        await self._tell()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends the telling, too: nothing of it is written after what it tells of. Raises what the telling came to."""
        self._timer.cancel()
        if self._task is None:
            return
        if error is None:
            await self._task
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
