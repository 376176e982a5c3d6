"""What one call to the platform costs in each HTTP client. `python -m benchmarks.httpcalls [--quick] [--runs N]`

Every client sends the two calls that a new lieutenant needs (make the machine, label it), each with its own path, body and headers, and
reads the answer to its end. The server is a process of its own that answers every request with the same row after `LATENCY` seconds.
Measured are the CPU of this process for one call (user and system) and the time over the floor: calls × latency ÷ calls at once. The
clients take turns, so that a machine that slows down slows all of them. `raw aiohttp` is the floor of CPU: no client here does less.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import aiohttp
import httpx
import httpx2
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient
from httpx_aiohttp.httpx2 import AiohttpTransport as Aiohttp2Transport
from httpx_aiohttp.httpx2 import Httpx2AiohttpClient

from benchmarks.common import Spread, table
from benchmarks.fleet import CONCURRENCY, machine
from reconciler.core.snapshot.machine import RootSource, VmShape
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings
from reconciler.vers.transport import AiohttpTransport as OwnTransport

LATENCY = 0.02
VM = "11111111-2222-4333-8444-555555555555"
ROW = b'{"vm_id":"%s","owner_id":"%s","created_at":"2026-04-17T20:01:02Z","state":"running"}' % (VM.encode(), VM.encode())
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Fri, 17 Apr 2026 20:05:00 GMT\r\nContent-Length: %d\r\n\r\n%s" % (
    len(ROW),
    ROW,
)
LABELS = {f"label-{n}": "x" * 30 for n in range(8)}
LABEL_BODY = b'{"labels":{' + b",".join(b'"label-%d":"%s"' % (n, b"x" * 30) for n in range(8)) + b"}}"
KEY = "0" * 96
HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "User-Agent": "reconciler",
    "Content-Type": "application/json",
    "Authorization": f"Bearer {KEY}",
}

Send = Callable[[str, str, bytes], Awaitable[object]]
"""Method, URL and body of one call; returns when the answer is read."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One run: CPU seconds of one call, and seconds of the whole over its floor."""

    cpu: float
    over: float


class Answering(asyncio.Protocol):
    """One connection of the server: the same answer to every request, after the latency."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if end and len(body) >= int(length or b"0"):
            self._received = b""
            asyncio.get_running_loop().call_later(LATENCY, self._answer)

    def _answer(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(ANSWER)


async def serve() -> None:
    """Serve on a free port, which is printed, until this process is ended."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def server() -> Iterator[str]:
    """The server's URL, with the prefix of the platform's API."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.httpcalls", "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/api/v1"
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


# --- the clients: each a context that gives a function to send with ------------------------------------------------------------


@asynccontextmanager
async def raw_aiohttp(url: str) -> AsyncIterator[Send]:
    """aiohttp as everybody uses it."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:

        async def send(method: str, path: str, body: bytes) -> bytes:
            async with session.request(method, url + path, data=body, headers=HEADERS) as answer:
                return await answer.read()

        yield send


@asynccontextmanager
async def default_httpx(url: str) -> AsyncIterator[Send]:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=CONCURRENCY), trust_env=False) as client:
        yield lambda method, path, body: client.request(method, url + path, content=body, headers=HEADERS)


@asynccontextmanager
async def default_httpx2(url: str) -> AsyncIterator[Send]:
    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=CONCURRENCY), trust_env=False) as client:
        yield lambda method, path, body: client.request(method, url + path, content=body, headers=HEADERS)


@asynccontextmanager
async def httpx_aiohttp(url: str) -> AsyncIterator[Send]:
    async with HttpxAiohttpClient(limits=httpx.Limits(max_connections=CONCURRENCY), trust_env=False) as client:
        yield lambda method, path, body: client.request(method, url + path, content=body, headers=HEADERS)


@asynccontextmanager
async def httpx2_aiohttp(url: str) -> AsyncIterator[Send]:
    async with Httpx2AiohttpClient(limits=httpx2.Limits(max_connections=CONCURRENCY), trust_env=False) as client:
        yield lambda method, path, body: client.request(method, url + path, content=body, headers=HEADERS)


@asynccontextmanager
async def httpx_aiohttp_send(url: str) -> AsyncIterator[Send]:
    """A request built by the caller, so that the client merges nothing into it."""
    async with HttpxAiohttpClient(limits=httpx.Limits(max_connections=CONCURRENCY), trust_env=False) as client:
        yield lambda method, path, body: client.send(httpx.Request(method, url + path, headers=HEADERS, content=body))


@asynccontextmanager
async def httpx2_aiohttp_send(url: str) -> AsyncIterator[Send]:
    """A request built by the caller, so that the client merges nothing into it."""
    async with Httpx2AiohttpClient(limits=httpx2.Limits(max_connections=CONCURRENCY), trust_env=False) as client:
        yield lambda method, path, body: client.send(httpx2.Request(method, url + path, headers=HEADERS, content=body))


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY), cookie_jar=aiohttp.DummyCookieJar())


@asynccontextmanager
async def httpx_transport(url: str) -> AsyncIterator[Send]:
    """No client: the transport is called with a request, and keeps no cookies."""
    async with AiohttpTransport(client=_session()) as transport:

        async def send(method: str, path: str, body: bytes) -> bytes:
            request = httpx.Request(method, url + path, headers=HEADERS, content=body)
            return await (await transport.handle_async_request(request)).aread()

        yield send


@asynccontextmanager
async def httpx2_transport(url: str) -> AsyncIterator[Send]:
    """No client: the transport is called with a request, and keeps no cookies."""
    async with Aiohttp2Transport(client=_session()) as transport:

        async def send(method: str, path: str, body: bytes) -> bytes:
            request = httpx2.Request(method, url + path, headers=HEADERS, content=body)
            return await (await transport.handle_async_request(request)).aread()

        yield send


@asynccontextmanager
async def own_transport(url: str) -> AsyncIterator[Send]:
    """The transport that `VersClient` sends with, used as it does."""
    base, prefix = httpx2.URL(url), httpx2.URL(url).raw_path.decode()
    async with OwnTransport(lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), CONCURRENCY, 4.0, 10.0) as transport:

        async def send(method: str, path: str, body: bytes) -> bytes:
            target = {"target": (prefix + path).encode()}
            request = httpx2.Request(method, base, headers=HEADERS, content=body, extensions=target)
            stream = (await transport.handle_async_request(request)).stream
            assert isinstance(stream, httpx2.AsyncByteStream)
            return b"".join([chunk async for chunk in stream])

        yield send


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Send]:
    """`VersClient`, with all that it does beside sending: key and deadline of each call, limits, errors, ids."""
    client = VersClient(Settings({"VERS_BASE_URL": url, "VERS_API_KEY": KEY}, Path("/nonexistent")), concurrency=CONCURRENCY)

    async def send(method: str, path: str, body: bytes) -> object:
        if method == "POST":
            return await client.create_vm(RootSource(), VmShape(), LABELS, "an-intent")
        await client.set_labels(path.split("/")[2], LABELS)
        return None

    try:
        yield send
    finally:
        await client.aclose()


CLIENTS = {
    "raw aiohttp": raw_aiohttp,
    "httpx": default_httpx,
    "httpx2": default_httpx2,
    "httpx + aiohttp": httpx_aiohttp,
    "httpx2 + aiohttp": httpx2_aiohttp,
    "httpx + aiohttp, own request": httpx_aiohttp_send,
    "httpx2 + aiohttp, own request": httpx2_aiohttp_send,
    "httpx + aiohttp, transport only": httpx_transport,
    "httpx2 + aiohttp, transport only": httpx2_transport,
    "httpx2 + own transport on aiohttp": own_transport,
    "VersClient": ours,
}


async def measure(name: str, url: str, calls: int) -> Cost:
    """One client, new, with its connections made before anything is measured."""
    async with CLIENTS[name](url) as send:
        await _all(send, CONCURRENCY)
        gc.collect()
        cpu, begun = time.process_time(), time.perf_counter()
        await _all(send, calls)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return Cost(cpu / calls, seconds / (calls * LATENCY / CONCURRENCY))


async def _all(send: Send, calls: int) -> None:
    paths = [f"/vm/{uuid.uuid4()}/label" for _ in range(calls)]
    todo = iter(zip(cycle((("POST", "/vm/new_root?wait_boot=false"), ("PATCH", ""))), paths, strict=False))

    async def worker() -> None:
        for (method, fixed), path in todo:
            await send(method, fixed or path, LABEL_BODY)

    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="few calls, once: a smoke test, not a measurement")
    parser.add_argument("--runs", type=int, default=5, help="runs of each client (default 5)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
        return 0
    calls, runs = (100, 1) if arguments.quick else (1_000, arguments.runs)
    print(machine())
    costs: dict[str, list[Cost]] = {name: [] for name in CLIENTS}
    with server() as url:
        for _ in range(runs):
            for name, taken in costs.items():
                taken.append(asyncio.run(measure(name, url, calls)))
    floor = Spread.of([cost.cpu for cost in costs["raw aiohttp"]]).median
    rows = []
    for name, taken in costs.items():
        cpu, over = Spread.of([cost.cpu * 1e6 for cost in taken]), Spread.of([cost.over for cost in taken])
        rows.append((name, len(taken), cpu.median, cpu.low, cpu.high, cpu.median / floor / 1e6, over.median, over.low, over.high))
    head = ("client", "runs", "CPU us", "min", "max", "÷ raw", "time ÷ floor", "min", "max")
    table(f"{calls:,} calls, {CONCURRENCY} at once, {LATENCY * 1e3:g} ms each", head, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
