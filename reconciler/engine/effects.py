"""The one numbered seam through which every external effect passes: platform, machines, store.

In production it counts and measures; the crash harness puts a fault before or after each number."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from reconciler.engine.telemetry import Telemetry

T = TypeVar("T")


class Hook(Protocol):
    """Runs one effect, or makes it fail. `number` counts from 1 over the life of the seam."""

    async def __call__(self, number: int, name: str, act: Callable[[], Awaitable[T]]) -> T: ...


class Effects:
    """`call` runs one external effect under a name such as `vers.create_vm` or `store.write`."""

    def __init__(self, hook: Hook | None = None) -> None:
        self._hook = hook
        self.number = 0
        self.calls: Counter[str] = Counter()
        self.telemetry = Telemetry()

    async def call(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        self.number += 1
        self.calls[name] += 1
        clock = asyncio.get_running_loop().time
        begun, outcome = clock(), "ok"
        try:
            if self._hook is None:
                return await act()
            return await self._hook(self.number, name, act)
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            self.telemetry.effect(name, outcome, clock() - begun)
