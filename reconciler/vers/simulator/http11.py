"""HTTP/1.1 on a socket, as little as the platform's clients need, and with the one thing libraries hide: breaking a connection.

Content-Length and chunked bodies, keep-alive, pipelining (answered in order), `Expect: 100-continue`. `limits` bounds all of it:
who sends or fetches too slowly is cut off, and who asks for more before an answer was fetched is not read. In one turn of the event
loop a client has no more than one piece read and no more than `limits.PIPELINED` requests answered, so that others are served beside
one who sends without end.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

from reconciler.vers.simulator import limits, wire
from reconciler.vers.simulator.incoming import Incoming, Malformed, Received
from reconciler.vers.simulator.wire import Reply

__all__ = ["Connection", "Handler", "HttpListener", "Malformed", "Received"]

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_LARGE = 64 * limits.KIB  # what does not count towards the budget of answers
_PIECE = 32 * limits.KIB  # what is read of a client at once; as tiny chunks it takes a few hundredths of a second
_SWEEP_S = 0.5
_LINGER_S = 1.0

Handler = Callable[[Received, "Connection"], None]
BodyLimit = Callable[[str, str], int]
"""From method and target to the most bytes of a body."""


class Connection(asyncio.BufferedProtocol):
    """One client's connection. The handler answers each request exactly once: `send`, or `open_stream` … `close_stream`,
    or `reset`; requests behind it wait. `on_lost` is called when the client goes away before that."""

    def __init__(self, listener: HttpListener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._incoming = Incoming(listener.body_limit)
        self._queue: deque[Received] = deque()
        self._current: Received | None = None
        self._can_write = asyncio.Event()
        self._due = False  # whether `_next` is about to be called
        self._began: float | None = None  # when the request that is arriving did
        self._moved = 0.0  # when something last arrived or was fetched
        self._written = 0
        self._fetched = 0
        self._refused_at: float | None = None
        self.on_lost: Callable[[], None] | None = None
        self.lost = False

    # --- from the socket -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._can_write.set()
        self._moved = asyncio.get_running_loop().time()
        if not self._listener.admit(self):
            transport.abort()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._listener.gone(self)
        self._can_write.set()
        self._queue.clear()
        self._incoming.drop()
        if self.on_lost is not None:
            told, self.on_lost = self.on_lost, None
            told()

    def pause_writing(self) -> None:
        self._can_write.clear()
        self._regulate()

    def resume_writing(self) -> None:
        self._can_write.set()
        self._next()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._listener.piece  # of all connections: it is taken over at once

    def buffer_updated(self, nbytes: int) -> None:
        self._received(bytes(self._listener.piece[:nbytes]))

    def _received(self, data: bytes) -> None:
        self._moved = asyncio.get_running_loop().time()
        if self._refused_at is not None:
            return
        if self._began is None:
            self._began = self._moved
        if self._incoming.held + len(data) > _LARGE and self._listener.held() + len(data) > limits.BUFFERED:
            self._refuse(wire.too_much("too much is being sent at once").reply)
            return
        try:
            self._incoming.feed(data)
            self._take()
        except Malformed as exc:
            self._refuse(Reply(exc.status, str(exc).encode(), wire.TEXT))
            return
        if self._incoming.wants_continue():
            self._raw(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._next()

    def _take(self) -> None:
        """Whole requests off the buffer, as many as may wait."""
        while len(self._queue) < limits.PIPELINED and (request := self._incoming.next()) is not None:
            self._queue.append(request)
            self._began = self._moved if self._incoming.held else None
        self._regulate()

    def _regulate(self) -> None:
        """A client that has enough of its requests or answers outstanding is not read."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if len(self._queue) >= limits.PIPELINED or not self._can_write.is_set():
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _soon(self) -> None:
        """`_next` in the next turn of the loop, once however many ask for it."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._due = False
        self._next()

    def _next(self) -> None:
        """Answer what waits; what arrived behind it is for the next turn."""
        while self._current is None and self._queue and not self.lost and self._can_write.is_set():
            self._current = self._queue.popleft()
            self._handler(self._current)
        if self.lost or self._refused_at is not None or self._transport is None or self._transport.is_closing():
            return
        try:
            self._take()
        except Malformed as exc:
            self._refuse(Reply(exc.status, str(exc).encode(), wire.TEXT))
            return
        if self._current is None and self._queue and self._can_write.is_set():
            self._soon()

    def _handler(self, request: Received) -> None:
        self._listener.handler(request, self)

    def _refuse(self, reply: Reply) -> None:
        """Say why, and close: what follows on this connection can't be understood. What still arrives is dropped for a moment; a
        connection closed with unread bytes would lose the answer."""
        self._queue.clear()
        self._incoming.drop()
        self._refused_at = asyncio.get_running_loop().time()
        self._write(reply, False)
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    @property
    def busy(self) -> bool:
        """A request awaits its answer."""
        return self._current is not None and not self.lost

    @property
    def held(self) -> int:
        """Bytes of requests and of answers that are kept for this client."""
        transport = self._transport
        waiting = sum(len(request.body) for request in self._queue) + (len(self._current.body) if self._current is not None else 0)
        return self._incoming.held + waiting + (transport.get_write_buffer_size() if transport is not None else 0)

    def sweep(self, now: float) -> None:
        """Cut off who has begun a request and does not go on, or does not fetch its answer."""
        transport = self._transport
        if transport is None:
            return
        if self._refused_at is not None and now - self._refused_at > _LINGER_S:
            transport.abort()
            return
        unfetched = transport.get_write_buffer_size()
        if self._written - unfetched > self._fetched:
            self._fetched, self._moved = self._written - unfetched, now
        elif unfetched and now - self._moved > limits.STALLED_S:
            transport.abort()
        if transport.is_closing() or self._refused_at is not None or self._began is None or not self._incoming.held:
            return
        slow = self._current is None and not self._queue and now - self._moved > limits.STALLED_S
        if slow or now - self._began > limits.REQUEST_S:
            self._refuse(Reply(408, b"the request did not arrive in time", wire.TEXT))

    # --- to the socket ---------------------------------------------------------------------------------------------------

    def send(self, reply: Reply) -> None:
        """Answer the request under way."""
        current = self._current
        keep = current is not None and current.keep_alive
        if len(reply.body) > _LARGE and self._listener.held() + len(reply.body) > limits.BUFFERED:
            reply = wire.too_much("too much is being answered at once").reply
        self._write(reply, keep)
        self._done(keep)

    def open_stream(self, content_type: str) -> None:
        """Begin a chunked 200."""
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ndate: {self._date()}\r\ntransfer-encoding: chunked\r\n\r\n"
        self._raw(head.encode())

    async def write_chunk(self, data: bytes) -> None:
        """One chunk; waits while the client reads more slowly than we write. Empty data is left out: it would end the stream."""
        await self._can_write.wait()
        if data:
            self._raw(b"%x\r\n%b\r\n" % (len(data), data))

    def close_stream(self) -> None:
        self._raw(b"0\r\n\r\n")
        current = self._current
        self._done(current is not None and current.keep_alive)

    def reset(self) -> None:
        """Break the connection with a TCP reset: the client can't know what became of its request."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            sock = transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()

    def abort(self) -> None:
        """At once, also when it is closing already and its client fetches nothing."""
        self.reset()
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _done(self, keep: bool) -> None:
        self._current = None
        self.on_lost = None
        if not keep:
            self.close()
        else:
            self._soon()

    def _date(self) -> str:
        return formatdate(self._listener.clock(), usegmt=True)

    def _write(self, reply: Reply, keep: bool) -> None:
        lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, '')}", f"date: {self._date()}"]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        if reply.status != 204:
            lines.append(f"content-length: {len(reply.body)}")
        if not keep:
            lines.append("connection: close")
        body = b"" if self._current is not None and self._current.method == "HEAD" else reply.body
        self._raw("\r\n".join(lines).encode() + b"\r\n\r\n")
        if body:
            self._raw(body)

    def _raw(self, data: bytes) -> None:
        if self._transport is not None and not self.lost:
            if not self._transport.get_write_buffer_size():
                self._moved = asyncio.get_running_loop().time()
            self._written += len(data)
            self._transport.write(data)


class HttpListener:
    """Listens on one address; `port` 0 picks a free one, `port` then tells which."""

    def __init__(self, handler: Handler, clock: Callable[[], float], body_limit: BodyLimit) -> None:
        self.handler = handler
        self.clock = clock
        self.body_limit = body_limit
        self.piece = memoryview(bytearray(_PIECE))
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.host = ""
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Raises `OSError` when the address can't be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=1024)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]
        self._sweeper = asyncio.create_task(self._sweep())

    def admit(self, connection: Connection) -> bool:
        if len(self._connections) >= limits.CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def gone(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def held(self) -> int:
        """Bytes that are kept for all clients."""
        return sum(connection.held for connection in self._connections)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = asyncio.get_running_loop().time()
            for connection in list(self._connections):
                connection.sweep(now)

    async def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.abort()
            self._server = None
