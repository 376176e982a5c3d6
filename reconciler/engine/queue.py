"""The work queue: coalescing, exclusive per key, delayed, deletions before spec changes before resyncs."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from enum import IntEnum

from reconciler.core.keys import Key


class Priority(IntEnum):
    DELETE = 0
    CHANGE = 1
    RESYNC = 2


TURN = 0.01
"""Seconds for which workers look at one key after another before everything else of the process has its turn."""
AFTER_A_DEFECT = 1.0
"""Seconds until a key comes again whose look was cut short."""


class WorkQueue:
    """Keys to be looked at. A key is handed to one worker at a time; added again meanwhile, it comes once more afterwards."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Key]] = []
        self._queued: dict[Key, int] = {}
        self._working: set[Key] = set()
        self._again: dict[Key, int] = {}
        self._unless_seen: dict[Key, Callable[[Key], bool]] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._order = itertools.count()
        self._since: dict[Key, float] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self._held: asyncio.TimerHandle | None = None
        self._then: Callable[[], None] = lambda: None
        self._turn_began = 0.0
        self._turn_ends = False

    def add(self, key: Key, priority: Priority = Priority.CHANGE, still: Callable[[Key], bool] | None = None) -> None:
        """As soon as a worker is free. Replaces a later look that was planned. `still`: asked once a look that is under way is over,
        whether another one is needed; that look may have seen what this is about."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._working:
            if still is None:
                self._unless_seen.pop(key, None)
            elif key not in self._again:
                self._unless_seen[key] = still
            self._again[key] = min(priority, self._again.get(key, priority))
            return
        if key in self._queued and self._queued[key] <= priority:
            return
        self._queued[key] = priority
        self._since.setdefault(key, asyncio.get_running_loop().time())
        heapq.heappush(self._heap, (priority, next(self._order), key))
        self._wake()

    def add_at(self, key: Key, delay: float, priority: Priority = Priority.RESYNC) -> None:
        """After `delay` seconds, unless an earlier look is planned or comes first."""
        if delay <= 0:
            return self.add(key, priority)
        loop = asyncio.get_running_loop()
        planned = self._timers.get(key)
        if key in self._queued or (planned is not None and planned.when() <= loop.time() + delay):
            return None
        if planned is not None:
            planned.cancel()
        self._timers[key] = loop.call_later(delay, self.add, key, priority)
        return None

    def hold(self, seconds: float, then: Callable[[], None]) -> None:
        """Hand out nothing that only a start or a resync asks for until `go_on`, at most for so long. `then`: called at the end of that."""
        self._then = then
        self._held = asyncio.get_running_loop().call_later(seconds, self.go_on)

    def go_on(self) -> None:
        """All that is queued is handed out."""
        if self._held is None:
            return
        self._held.cancel()
        self._held = None
        self._then()
        for _ in self._heap:
            self._wake()

    async def get(self) -> Key:
        """The next key; it is this worker's until `done`."""
        while True:
            while self._heap and (self._held is None or self._heap[0][0] < Priority.RESYNC):
                priority, _, key = heapq.heappop(self._heap)
                if self._queued.get(key) == priority and key not in self._working:
                    del self._queued[key]
                    self._since.pop(key, None)
                    self._working.add(key)
                    return key
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    async def serve(self, look: Callable[[Key], Awaitable[None]]) -> None:
        """One worker: look at one key after another, for ever. `look` should not raise; if it does, so does this, and the key comes
        once more."""
        while True:
            key = await self.get()
            whole = False
            try:
                await self._turn()
                await look(key)
                whole = True
            finally:
                self.done(key)
                if not whole:
                    self.add_at(key, AFTER_A_DEFECT)

    async def _turn(self) -> None:
        """A look that waits for nothing gives nobody else a turn, and after a start there are as many as objects: then the workers, all of
        them, let the loop go round once."""
        loop = asyncio.get_running_loop()
        while loop.time() - self._turn_began > TURN:
            if not self._turn_ends:
                self._turn_ends = True
                loop.call_soon(self._begin_turn, loop)
            await asyncio.sleep(0)

    def _begin_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._turn_began, self._turn_ends = loop.time(), False

    def done(self, key: Key) -> None:
        self._working.discard(key)
        again, still = self._again.pop(key, None), self._unless_seen.pop(key, None)
        if again is not None and (still is None or still(key)):
            self.add(key, Priority(again))

    def idle(self) -> bool:
        """Nothing queued and nothing in work (planned looks do not count)."""
        return not self._queued and not self._working

    def working(self) -> int:
        """How many keys are looked at now."""
        return len(self._working)

    def depth(self) -> int:
        return len(self._queued)

    def oldest(self) -> float:
        """Seconds since the key that has waited longest was added; 0 when nothing waits."""
        return asyncio.get_running_loop().time() - min(self._since.values()) if self._since else 0.0

    def close(self) -> None:
        if self._held is not None:
            self._held.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return
