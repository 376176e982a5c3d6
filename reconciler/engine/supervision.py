"""Background tasks that never end unnoticed: whatever ends one, it is counted and told, and it begins anew after a growing pause (G-66).

Everything that runs beside the work of a caller is started here, and nowhere else; a test holds the code to that."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from reconciler.core.backoff import delay
from reconciler.engine.subscriptions import Unsubscribe, subscribed
from reconciler.errors import ReconcilerError

log = logging.getLogger("reconciler.background")

PAUSE, MOST = 1.0, 60.0
"""Seconds before a task that ended begins anew: the first time, and at the most."""
HEALTHY = 60.0
"""A task that ran for so many seconds begins anew without a longer pause."""
PATIENCE = 5.0
"""Seconds that a listener may take; its task waits for it, so that what is told is in order."""

Run = Callable[[], Awaitable[object]]
Failed = Callable[[Exception], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """A background task ended though it should not have. `task`: what it is for, no name of a user's; `why`: fit for people; `comes_back`:
    whether it begins anew by itself (else with the next use of what it was part of)."""

    task: str
    why: str
    comes_back: bool = True


class EndedByItself(RuntimeError):
    """A task that has no end returned, or something that it waited for was cancelled."""


Listener = Callable[[Ended], Awaitable[None]]


@dataclass(slots=True, eq=False)
class _Kept:
    """One task. `down`: it waits for its next beginning; `told`: why, as it was said last."""

    label: str
    down: bool = False
    told: str = ""


class Supervisor:
    """All background tasks of one process. `restarts`: how often one ended, by what it is for. `pause`: seconds before the first new
    beginning."""

    def __init__(self, pause: float = PAUSE) -> None:
        self._pause = pause
        self._kept: list[_Kept] = []
        self._listeners: list[Listener] = []
        self.restarts: Counter[str] = Counter()

    def subscribe(self, listener: Listener) -> Unsubscribe:
        """Be told of every end, before the pause."""
        return subscribed(self._listeners, listener)

    def labels(self) -> frozenset[str]:
        """What the tasks are for that are kept running now."""
        return frozenset(kept.label for kept in self._kept)

    def down(self) -> tuple[str, ...]:
        """What is not running this moment, because it ended and its pause is not over."""
        return tuple(sorted({kept.label for kept in self._kept if kept.down}))

    def healthy(self) -> bool:
        return not any(kept.down for kept in self._kept)

    def start(
        self, label: str, run: Run, failed: Failed | None = None, *, name: str = "", may_end: bool = False, most: float = MOST
    ) -> asyncio.Task[None]:
        """`keep` as a task; whoever has it cancels it. `name`: for people who look at tasks."""
        return asyncio.create_task(self.keep(label, run, failed, may_end=may_end, most=most), name=name or label)

    async def keep(
        self, label: str, run: Run, failed: Failed | None = None, *, may_end: bool = False, pause: float = 0.0, most: float = MOST
    ) -> None:
        """Run it until cancelled: when it ends, for whatever reason, count it, tell it, and begin anew after a growing pause.

        `failed`: tells people in words of its own, instead of the log. `may_end`: a plain return is its end, and no failure. `pause`,
        `most`: seconds before the first new beginning, where not the usual, and before any."""
        clock = asyncio.get_running_loop().time
        kept, failures = _Kept(label), 0
        self._kept.append(kept)
        try:
            while True:
                begun = clock()
                error = await _end_of(run)
                if error is None and may_end:
                    return
                ran_well = clock() - begun > HEALTHY
                failures = 1 if ran_well else failures + 1
                kept.down, kept.told = True, "" if ran_well else kept.told
                await self._ended(kept, error or EndedByItself("it ended by itself"), failed)
                await asyncio.sleep(delay(failures, 0.0, base=pause or self._pause, most=most))
                kept.down = False
        finally:
            self._kept.remove(kept)

    def once(self, label: str, run: Run, failed: Failed, *, name: str = "") -> asyncio.Task[None]:
        """A task that ends with what it belongs to, a connection, which is made anew by whoever needs it: a failure is counted and told
        all the same. `failed` gives up what it belongs to."""

        async def attend() -> None:
            error = await _end_of(run)
            if error is not None:
                failed(error)
                await self._ended(_Kept(label), error, None, comes_back=False)

        return asyncio.create_task(attend(), name=name or label)

    async def _ended(self, kept: _Kept, error: Exception, failed: Failed | None, *, comes_back: bool = True) -> None:
        self.restarts[kept.label] += 1
        expected = isinstance(error, ReconcilerError | EndedByItself)
        why = str(error) if expected else f"internal error: {type(error).__name__}"
        if failed is not None and comes_back:
            failed(error)
        elif why != kept.told:
            # A defect's text may hold anything; the log takes known secrets out of it.
            log.log(logging.WARNING if expected else logging.ERROR, "%s ended: %s", kept.label, why, exc_info=None if expected else error)
        kept.told = why
        for listener in tuple(self._listeners):
            try:
                async with asyncio.timeout(PATIENCE):
                    await listener(Ended(kept.label, why, comes_back))
            except Exception as deaf:  # noqa: BLE001  # counted and told
                self.restarts["telling of an end"] += 1
                log.warning("the end of %s could not be written down: %s", kept.label, type(deaf).__name__)


async def _end_of(run: Run) -> Exception | None:
    """Why it ended; None when it returned. A cancellation is passed on only when it is meant for this task: one of something that it
    waited for is a failure like any other."""
    try:
        await run()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return EndedByItself("something that it waited for was cancelled")
    except Exception as error:  # noqa: BLE001  # handed on to be counted and told
        return error
    return None
