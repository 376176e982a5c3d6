"""A small HTTP server that answers exactly what a test tells it to, down to a missing Content-Type or a broken connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def json(self) -> object:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Reset:
    """Read the request, then reset the connection."""


class Hang:
    """Read the request, never answer."""


class Half:
    """Answer with headers and half of the promised body, then close."""


class Garbage:
    """Answer with something that is not HTTP."""


def json_reply(body: object, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(body).encode(), "application/json", headers)


def text_reply(body: str, status: int, content_type: str | None = "text/plain; charset=utf-8", **headers: str) -> Reply:
    return Reply(status, body.encode(), content_type, headers)


Action = Reply | Reset | Hang | Half | Garbage
Handler = Callable[[Request], Action | Awaitable[Action]]


class Platform:
    """`url`: host root. `requests`: what arrived, in order. `handler`: decides on the answer. `most_at_once`: peak of open requests."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[Request] = []
        self.url = ""
        self.at_once = 0
        self.most_at_once = 0
        self.hanging = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(method, target, headers, body)
        self.requests.append(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            action = self.handler(request)
            if not isinstance(action, Reply | Reset | Hang | Half | Garbage):
                action = await action
        finally:
            self.at_once -= 1
        match action:
            case Reply(status, content, content_type, extra):
                lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}"]
                if content_type is not None:
                    lines.append(f"Content-Type: {content_type}")
                lines += [f"{name}: {value}" for name, value in extra.items()]
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
                await writer.drain()
                return True
            case Reset():
                writer.transport.abort()
            case Hang():
                self.hanging.set()
                await reader.read()  # until the client gives up
            case Half():
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n[")
                await writer.drain()
            case Garbage():
                writer.write(b"SMTP is another protocol\r\n\r\n")
                await writer.drain()
        return False


@asynccontextmanager
async def platform(handler: Handler) -> AsyncIterator[Platform]:
    """Serve on a free port of loopback."""
    served = Platform(handler)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    served.url = f"http://{host}:{port}"
    try:
        yield served
    finally:
        server.close()
