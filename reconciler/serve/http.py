"""What is served over HTTP: `/healthz`, `/readyz` and `/metrics`. Off unless an address is given; nothing here decides anything.

The two probes answer a word and are open; everything else needs the bearer token (G-64)."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from reconciler.engine.supervision import Supervisor
from reconciler.errors import Terminal, UsageError
from reconciler.serve.metrics import CONTENT_TYPE

TOKEN_VARIABLE = "RECONCILER_HTTP_TOKEN"
TOKEN_FILE = "http-token"
_SHORTEST_TOKEN = 16
_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. `host` '' never stands for every interface: that must be said as 0.0.0.0 or ::."""

    host: str
    port: int


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


def token_of(state: Path, environ: Mapping[str, str]) -> str:
    """The token of the environment, else the one in the state directory, made there (0600) at first. Raises `UsageError` for one
    that can be guessed, `Terminal` when it can't be read or made."""
    given = environ.get(TOKEN_VARIABLE, "")
    if given:
        if len(given) < _SHORTEST_TOKEN:
            raise UsageError(f"shorter than {_SHORTEST_TOKEN} characters", TOKEN_VARIABLE, "use a long random one")
        return given
    try:
        return _kept_token(state)
    except (OSError, UnicodeError) as error:
        raise Terminal("the token for the HTTP server can't be read or made", str(state / TOKEN_FILE), "correct owner and mode") from error


def _kept_token(state: Path) -> str:
    path = state / TOKEN_FILE
    with suppress(FileNotFoundError):
        kept = path.read_text().strip()
        if len(kept) >= _SHORTEST_TOKEN:
            return kept
        path.unlink()
    made = secrets.token_urlsafe(32)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(made + "\n")
    return made


@dataclass(frozen=True, slots=True)
class Probes:
    """`healthy`: False when only a restart helps. `ready`: may be sent traffic. `metrics`: the exposition, made now."""

    healthy: Callable[[], bool]
    ready: Callable[[], bool]
    metrics: Callable[[], bytes]


def application(probes: Probes, token: str) -> Starlette:
    """The routes. What is not the right token is 401, whatever else is wrong with the request."""

    def word(holds: Callable[[], bool]) -> Response:
        return PlainTextResponse("ok\n") if holds() else PlainTextResponse("not ok\n", 503)

    async def healthz(_: Request) -> Response:
        return word(probes.healthy)

    async def readyz(_: Request) -> Response:
        return word(probes.ready)

    async def metrics(request: Request) -> Response:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
            return PlainTextResponse("a bearer token is needed\n", 401, {"WWW-Authenticate": "Bearer"})
        return Response(probes.metrics(), media_type=CONTENT_TYPE)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the controller's."""
        yield


class HttpServer:
    """`port` is known once started."""

    def __init__(self, address: Address, app: Starlette, supervisor: Supervisor) -> None:
        self._address, self._app, self._supervisor = address, app, supervisor
        self._listener: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Raises `Terminal` when the address can't be had."""
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
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=16384,
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
