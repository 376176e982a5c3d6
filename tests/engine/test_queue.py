"""The work queue: what wakes a key while it is looked at, and what of that still counts afterwards."""

from __future__ import annotations

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
