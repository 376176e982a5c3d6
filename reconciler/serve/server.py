"""The HTTP server: an address, uvicorn on it, and bounds for those who connect. Off unless an address is given."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.engine.supervision import Supervisor
from reconciler.errors import Refused, Terminal, UsageError

CONNECTIONS = 512
"""Most connections at once; further ones are answered with 503."""
HEAD_SECONDS = 20.0
"""For a request to arrive, from its first byte or the beginning of the connection."""
STALL_SECONDS = 30.0
"""For somebody who was sent something to take any of it."""
_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. `host` '' never stands for every interface: that must be said as 0.0.0.0 or ::."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM form: a certificate with its chain, and its key."""

    certificate: Path
    key: Path


def read_address(text: str) -> Address:
    """HOST:PORT; `:PORT` and `PORT` mean loopback; port 0 any free one. Raises `UsageError`."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"no address to listen on: {text!r}", "--listen", "write HOST:PORT, such as 127.0.0.1:9090")
    return Address(host, int(port))


def is_loopback(address: Address) -> bool:
    """Only this host reaches it."""
    if address.host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(address.host).is_loopback
    return False


def must_be_private(address: Address, tls: Tls | None, plain: bool) -> None:
    """Raises `Refused` where other hosts would be served and nobody said that this may be without TLS."""
    if not is_loopback(address) and tls is None and not plain:
        remedy = "give --tls-cert and --tls-key, or --plain-http where something in front has TLS; or listen on 127.0.0.1"
        raise Refused("other hosts would send the token unencrypted", f"--listen {address.host}:{address.port}", remedy)


class BoundedProtocol(H11Protocol):
    """A connection that says nothing, and one that takes nothing, end."""

    _head: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._answering():
            self._cancel()
        elif self._head is None:
            self._await_request()

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_request(self) -> None:
        self._head = self.loop.call_later(HEAD_SECONDS, self._nothing_came)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        if self._stall is not None:
            self._stall.cancel()
        super().connection_lost(exc)

    def _nothing_came(self) -> None:
        if not self._answering():
            self.transport.abort()

    def _cancel(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the controller's."""
        yield


class HttpServer:
    """`port` is known once started."""

    def __init__(self, address: Address, app: ASGIApp, supervisor: Supervisor, tls: Tls | None = None) -> None:
        self._address, self._app, self._supervisor, self._tls = address, app, supervisor, tls
        self._listener: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Raises `Terminal` when the address can't be had, `UsageError` for a certificate that can't be used."""
        if self._tls is not None:
            _must_load(self._tls)
        self._listener = self._bound()
        self.port = int(self._listener.getsockname()[1])
        self._task = self._supervisor.start("http server", self._serve, may_end=True)

    def _bound(self) -> socket.socket:
        try:
            port = self.port or self._address.port
            family, _, _, _, where = socket.getaddrinfo(self._address.host, port, type=socket.SOCK_STREAM)[0]
            return socket.create_server((str(where[0]), int(where[1])), family=family)
        except OSError as error:
            place = f"{self._address.host}:{self._address.port}"
            raise Terminal(f"can't listen: {error.strerror}", place, "choose another --listen HOST:PORT") from error

    async def _serve(self) -> None:
        """Until it is told to exit. The port stays the one that was told."""
        config = uvicorn.Config(
            self._app,
            http=BoundedProtocol,
            ws="none",
            log_config=None,
            log_level="error",  # what is refused for its bounds is no news
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=16384,
            ssl_certfile=self._tls.certificate if self._tls is not None else None,
            ssl_keyfile=self._tls.key if self._tls is not None else None,
        )
        listener, self._listener = self._listener or self._bound(), None
        self._server = _Server(config)
        try:
            await self._server.serve([listener])
        finally:
            for server in getattr(self._server, "servers", ()):  # it closes them itself only where it ended in order
                server.close()
            listener.close()
        if not self._server.should_exit:
            raise Terminal("the HTTP server stopped by itself", f"{self._address.host}:{self.port}", "see the log")

    async def stop(self) -> None:
        if self._task is None:
            return
        if self._server is not None:
            self._server.should_exit = True
        with suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._task
        if self._listener is not None:  # it was never served
            self._listener.close()


def _must_load(tls: Tls) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # an SSLError is one
        where = f"--tls-cert {tls.certificate} --tls-key {tls.key}"
        raise UsageError(f"certificate and key can't be used: {error.strerror or error}", where, "give files in PEM form") from error
