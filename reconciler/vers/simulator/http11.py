"""HTTP/1.1 on a socket, as little as the platform's clients need, and with the one thing libraries hide: breaking a connection.

Content-Length and chunked bodies, keep-alive, pipelining (answered in order), `Expect: 100-continue`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

from reconciler.vers.simulator.wire import Reply

MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Received:
    """One request: `target` as sent, header names lower-case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    keep_alive: bool = True


Handler = Callable[[Received, "Connection"], None]


class Malformed(Exception):
    """What arrived is not HTTP/1.1, or too much of it. `status`: what to answer before closing."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status


class Connection(asyncio.Protocol):
    """One client's connection. The handler answers each request exactly once: `send`, or `open_stream` … `close_stream`,
    or `reset`; requests behind it wait. `on_lost` is called when the client goes away before that."""

    def __init__(self, handler: Handler, clock: Callable[[], float], connections: set[Connection]) -> None:
        self._handler = handler
        self._clock = clock
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._queue: deque[Received] = deque()
        self._current: Received | None = None
        self._can_write = asyncio.Event()
        self.on_lost: Callable[[], None] | None = None
        self.lost = False

    # --- from the socket -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)
        self._can_write.set()
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._connections.discard(self)
        self._can_write.set()
        self._queue.clear()
        if self.on_lost is not None:
            told, self.on_lost = self.on_lost, None
            told()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while (request := self._parse()) is not None:
                self._queue.append(request)
        except Malformed as exc:
            self._queue.clear()
            self._write(Reply(exc.status, str(exc).encode(), "text/plain; charset=utf-8"), False)
            self.close()
            return
        self._next()

    def _next(self) -> None:
        while self._current is None and self._queue and not self.lost:
            self._current = self._queue.popleft()
            self._handler(self._current, self)

    @property
    def busy(self) -> bool:
        """A request awaits its answer."""
        return self._current is not None and not self.lost

    # --- to the socket ---------------------------------------------------------------------------------------------------

    def send(self, reply: Reply) -> None:
        """Answer the request under way."""
        current = self._current
        keep = current is not None and current.keep_alive
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

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _done(self, keep: bool) -> None:
        self._current = None
        self.on_lost = None
        if not keep:
            self.close()
        elif self._queue:
            asyncio.get_running_loop().call_soon(self._next)

    def _date(self) -> str:
        return formatdate(self._clock(), usegmt=True)

    def _write(self, reply: Reply, keep: bool) -> None:
        lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, '')}", f"date: {self._date()}"]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        if reply.status != 204:
            lines.append(f"content-length: {len(reply.body)}")
        if not keep:
            lines.append("connection: close")
        body = b"" if self._current is not None and self._current.method == "HEAD" else reply.body
        self._raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def _raw(self, data: bytes) -> None:
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    # --- parsing ---------------------------------------------------------------------------------------------------------

    def _parse(self) -> Received | None:
        """One whole request off the buffer, None while it is not whole."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise Malformed(431, "request header too large")
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or not parts[1].startswith("/") or not parts[2].startswith("HTTP/1."):
            raise Malformed(400, "malformed request line")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, separator, value = line.partition(":")
            if not separator or name != name.strip():
                raise Malformed(400, "malformed header")
            headers[name.lower()] = value.strip()
        start = end + 4
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body, after = self._chunked(start)
        else:
            body, after = self._sized(headers.get("content-length", "0"), start)
        if body is None:
            if headers.get("expect", "").lower() == "100-continue" and len(self._buffer) == start:
                self._raw(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        del self._buffer[:after]
        connection = headers.get("connection", "").lower()
        keep = connection != "close" if parts[2] == "HTTP/1.1" else connection == "keep-alive"
        return Received(parts[0], parts[1], headers, body, keep)

    def _sized(self, length: str, start: int) -> tuple[bytes | None, int]:
        if not length.isascii() or not length.isdigit():
            raise Malformed(400, "malformed content-length")
        size = int(length)
        if size > MAX_BODY:
            raise Malformed(413, "request body too large")
        if len(self._buffer) < start + size:
            return None, start
        return bytes(self._buffer[start : start + size]), start + size

    def _chunked(self, at: int) -> tuple[bytes | None, int]:
        if len(self._buffer) > MAX_BODY:
            raise Malformed(413, "request body too large")
        body = bytearray()
        while True:
            end = self._buffer.find(b"\r\n", at)
            if end < 0:
                return None, at
            try:
                size = int(bytes(self._buffer[at:end]).split(b";")[0], 16)
            except ValueError:
                raise Malformed(400, "malformed chunk") from None
            at = end + 2
            if len(self._buffer) < at + size + 2:
                return None, at
            body += self._buffer[at : at + size]
            at += size + 2
            if size == 0:
                return bytes(body), at


class HttpListener:
    """Listens on one address; `port` 0 picks a free one, `port` then tells which."""

    def __init__(self, handler: Handler, clock: Callable[[], float]) -> None:
        self._handler = handler
        self._clock = clock
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self.host = ""
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Raises `OSError` when the address can't be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self._handler, self._clock, self._connections), host, port, backlog=1024)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.close()
                connection.reset()
            await self._server.wait_closed()
            self._server = None
