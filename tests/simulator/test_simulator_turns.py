"""One client that sends without end does not keep the others waiting: each has its turn (G-65)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from reconciler.vers.simulator import limits
from reconciler.vers.simulator.http11 import Connection, HttpListener, Received
from reconciler.vers.simulator.wire import Reply

pytestmark = pytest.mark.guarantee("G-65")

MOST_READ = 64 * limits.KIB


@asynccontextmanager
async def listening(answered: list[str]) -> AsyncIterator[HttpListener]:
    def handle(request: Received, connection: Connection) -> None:
        answered.append(request.target)
        connection.send(Reply(200, b"x"))

    listener = HttpListener(handle, time.time, lambda _method, _target: limits.FILE_BODY)
    await listener.start("127.0.0.1", 0)
    try:
        yield listener
    finally:
        await listener.stop()


async def most_in_a_turn(listener: HttpListener, sent: bytes, amount: Callable[[], int], whole: int) -> int:
    """By how much `amount` grew in one turn of the loop at most, while `sent` was taken to its end."""
    reader, writer = await asyncio.open_connection(listener.host, listener.port)

    async def fetch() -> None:
        while await reader.read(1 << 20):
            continue

    fetching = asyncio.create_task(fetch())
    writer.write(sent)
    most = before = 0
    async with asyncio.timeout(30):
        while before < whole:
            await asyncio.sleep(0)
            now = amount()
            most, before = max(most, now - before), now
    fetching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await fetching
    writer.transport.abort()
    return most


async def test_requests_without_end_are_answered_a_few_at_a_time() -> None:
    answered: list[str] = []
    async with listening(answered) as listener:
        requests = 5000
        most = await most_in_a_turn(listener, b"GET / HTTP/1.1\r\n\r\n" * requests, lambda: len(answered), requests)
    assert most <= 2 * limits.PIPELINED  # those that waited, and those that arrived


async def test_a_long_body_is_read_a_piece_at_a_time() -> None:
    async with listening([]) as listener:
        size = 4 * limits.MIB
        sent = b"PUT / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (size + 1) + bytes(size)
        most = await most_in_a_turn(listener, sent, listener.held, size)
    assert most <= MOST_READ
