"""The end of commands that go on with what comes: Ctrl-C, or that nobody reads their results any more."""

from __future__ import annotations

import asyncio
import errno
import os
import select
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from reconciler.cli.output import descriptor


async def until_unread(work: Coroutine[Any, Any, None]) -> None:
    """Do this to its end. Raises `BrokenPipeError` as soon as nobody reads results any more: the next line, with which the system would
    tell that, may never come."""
    task, unread = asyncio.current_task(), False
    assert task is not None

    def end() -> None:
        nonlocal unread
        unread = True
        task.cancel()

    with when_unread(end):
        try:
            await work
        except asyncio.CancelledError:
            if not unread:
                raise
            task.uncancel()
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None


@contextmanager
def when_unread(call: Callable[[], None]) -> Iterator[None]:
    """While this lasts: `call`, once, when nobody reads results any more. Of a file nobody has to."""
    loop = asyncio.get_running_loop()

    def hung_up() -> None:
        loop.remove_reader(watch.fileno())
        call()

    with select.epoll() as watch:
        with suppress(OSError, ValueError):  # a file
            watch.register(descriptor(), 0)  # a hang-up is told in any case, and nothing else is of interest
        loop.add_reader(watch.fileno(), hung_up)
        try:
            yield
        finally:
            loop.remove_reader(watch.fileno())
