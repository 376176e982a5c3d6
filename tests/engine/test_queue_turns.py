"""The work queue among everything else that a process does."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from reconciler.core.keys import Key
from reconciler.engine.queue import TURN, WorkQueue


async def test_looks_that_wait_for_nothing_leave_the_loop_its_turns() -> None:
    queue, looked, turns = WorkQueue(), list[Key](), [0]
    keys = [Key("Lieutenant", "default", f"lt-{n}") for n in range(60)]

    async def look(key: Key) -> None:
        """Busy for a while, as a plan is, and never suspended."""
        until = time.perf_counter() + TURN / 2
        while time.perf_counter() < until:
            pass
        looked.append(key)

    async def others() -> None:
        while True:
            await asyncio.sleep(0)
            turns[0] += 1

    workers = [asyncio.create_task(queue.serve(look)) for _ in range(20)]
    await asyncio.sleep(0)
    for key in keys:
        queue.add(key)
    beside = asyncio.create_task(others())
    while len(looked) < len(keys):  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert sorted(looked) == sorted(keys)
    assert turns[0] >= len(keys) / 4, "not one turn for each two looks, but many"
    for task in (*workers, beside):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
