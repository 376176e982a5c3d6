"""The work queue: what wakes a key while it is looked at, and what of that still counts afterwards."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.core.keys import Key
from reconciler.engine.queue import Priority, WorkQueue
from tests.faults.harness import virtual

KEY = Key("Lieutenant", "default", "lt")


def yes(_: Key) -> bool:
    return True


def no(_: Key) -> bool:
    return False


def test_a_key_woken_while_it_is_looked_at_comes_once_more_unless_that_look_has_seen_why() -> None:
    async def main() -> None:
        for wake, again in (((yes,), True), ((no,), False), ((no, None), True), ((None, no), True), ((), False)):
            queue = WorkQueue()
            queue.add(KEY)
            assert await queue.get() == KEY
            for still in wake:
                queue.add(KEY, Priority.RESYNC, still)
            assert queue.working() == 1
            queue.done(KEY)
            assert queue.idle() is not again, wake
            assert queue.working() == 0

    virtual(main)


def test_what_one_look_has_seen_does_not_count_for_the_next() -> None:
    async def main() -> None:
        queue = WorkQueue()
        queue.add(KEY)
        await queue.get()
        queue.add(KEY, Priority.RESYNC, no)
        queue.done(KEY)
        queue.add(KEY)
        await queue.get()
        queue.add(KEY)
        queue.done(KEY)
        assert not queue.idle()

    virtual(main)


def test_a_key_that_nobody_looks_at_is_queued_whatever_was_seen() -> None:
    async def main() -> None:
        queue = WorkQueue()
        queue.add(KEY, Priority.RESYNC, no)
        assert queue.depth() == 1

    virtual(main)


OTHER = Key("Lieutenant", "default", "other")


def test_what_only_a_start_asks_for_waits_until_declarations_are_read() -> None:
    async def main() -> None:
        queue, told = WorkQueue(), list[str]()
        queue.hold(30.0, lambda: told.append("loaded"))
        queue.add(KEY, Priority.RESYNC)
        worker = asyncio.ensure_future(queue.get())
        await asyncio.sleep(5.0)
        assert not worker.done()
        assert not queue.idle()
        queue.add(OTHER, Priority.CHANGE)
        assert await worker == OTHER
        queue.done(OTHER)
        workers = [asyncio.ensure_future(queue.get()) for _ in range(2)]
        queue.add(OTHER, Priority.RESYNC)
        await asyncio.sleep(5.0)
        assert not any(one.done() for one in workers)
        queue.go_on()
        assert {await one for one in workers} == {KEY, OTHER}
        queue.go_on()
        assert told == ["loaded"]

    virtual(main)


def test_a_start_does_not_wait_for_ever_for_declarations() -> None:
    async def main() -> None:
        queue, told = WorkQueue(), list[float]()
        clock = asyncio.get_running_loop().time
        begun = clock()
        queue.hold(30.0, lambda: told.append(clock() - begun))
        queue.add(KEY, Priority.RESYNC)
        assert await queue.get() == KEY
        assert told == [pytest.approx(30.0, abs=0.1)]

    virtual(main)
