"""The clock."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """`now()`: seconds since the epoch, the controller's wall clock (virtual in tests)."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...
