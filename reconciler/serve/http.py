"""What is served over HTTP, put together: probes, metrics, the API and the page. Nothing here decides anything about a fleet."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from reconciler.errors import ReconcilerError
from reconciler.serve.api import reading, remembering, streaming, writing
from reconciler.serve.api.asking import error_document, status_of
from reconciler.serve.credentials import TOKEN_FILE, TOKEN_VARIABLE, Credentials, is_own, token_of
from reconciler.serve.guard import Guard, marked
from reconciler.serve.metrics import CONTENT_TYPE, ControllerCollector, Sources, exposition
from reconciler.serve.server import Address, HttpServer, Tls, is_loopback, must_be_private
from reconciler.serve.surface import Surface
from reconciler.serve.ui.routes import page_routes

log = logging.getLogger(__name__)

V1 = "/api/v1"
OBJECT = f"{V1}/{{kind}}/{{namespace}}/{{name}}"
MEMORIES = (f"{V1}/lieutenants/{{namespace}}/{{name}}/memory", f"{V1}/memory/{{namespace}}")
"""Of an agent, and of all agents of a namespace."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where, and how, somebody wants to be served. `plain`: other hosts too, without TLS; `token_file`: instead of the token in the
    state directory."""

    address: Address
    tls: Tls | None = None
    plain: bool = False
    token_file: Path | None = None


class Settings(Protocol):
    """Of the controller, those that matter here."""

    @property
    def state(self) -> Path: ...

    @property
    def environ(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Probes:
    """`healthy`: False when only a restart helps. `ready`: may be sent traffic. `metrics`: the exposition, made now."""

    healthy: Callable[[], bool]
    ready: Callable[[], bool]
    metrics: Callable[[], bytes]


def application(probes: Probes, credentials: Credentials, surface: Callable[[], Surface | None], port: Callable[[], int]) -> Guard:
    """All routes, behind the guard. `surface`: None while nothing is known of the fleet; `port`: under which this is served."""

    def word(holds: Callable[[], bool]) -> Response:
        return PlainTextResponse("ok\n") if holds() else PlainTextResponse("not ok\n", 503)

    def cookie() -> str:  # browsers send cookies to every port of a host
        return f"reconciler_{port()}"

    async def healthz(_: Request) -> Response:
        return word(probes.healthy)

    async def readyz(_: Request) -> Response:
        return word(probes.ready)

    async def metrics(_: Request) -> Response:
        return Response(probes.metrics(), media_type=CONTENT_TYPE)

    routes: list[BaseRoute] = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics), *api_routes(credentials)]
    routes += page_routes(credentials, cookie)
    app = Starlette(routes=routes, exception_handlers={ReconcilerError: _refused, 404: _no_such_address, 405: _no_such_address})
    app.router.redirect_slashes = False
    app.state.surface = surface
    return Guard(app, credentials, cookie)


def api_routes(credentials: Credentials) -> list[BaseRoute]:
    """The JSON API."""
    reads = {
        V1: reading.version,
        f"{V1}/openapi.json": reading.described,
        f"{V1}/fleet": reading.rows,
        f"{V1}/events": reading.events,
        f"{V1}/plan": reading.plan,
        f"{V1}/capacity": reading.capacity,
        f"{V1}/usage": reading.usage,
        f"{V1}/stream": streaming.stream,
        f"{V1}/lieutenants/{{namespace}}/{{name}}/conversation": reading.conversation,
        f"{V1}/{{kind}}": reading.objects,
        OBJECT: reading.one,
    }
    reads |= dict.fromkeys(MEMORIES, remembering.remembered)
    writes = {f"{OBJECT}/{name}": writing.route(act) for name, act in writing.ACTS.items()}
    writes |= dict.fromkeys(MEMORIES, remembering.change)
    routes: list[BaseRoute] = [Route(path, endpoint) for path, endpoint in reads.items()]
    for path, endpoint in writes.items():

        async def checked(request: Request, endpoint: Callable[[Request], Awaitable[Response]] = endpoint) -> Response:
            if not marked(request, credentials, ""):
                return PlainTextResponse("the mark of the page is missing\n", 403)
            return await endpoint(request)

        routes.append(Route(path, checked, methods=["POST"]))
    return routes


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ReconcilerError)
    return JSONResponse(error_document(error), status_of(error))


async def _no_such_address(request: Request, error: Exception) -> Response:
    code = getattr(error, "status_code", 404)
    what = "there is nothing at this address" if code == 404 else "this address does not take that method"
    document = {"error": {"type": "NotFound", "what": what, "where": request.url.path[:200], "remedy": f"see {V1}/openapi.json"}}
    return JSONResponse(document, code, getattr(error, "headers", None))


@asynccontextmanager
async def served(
    sources: Sources,
    config: Settings,
    where: Listening,
    ready: Callable[[], bool] = lambda: True,
    surface: Callable[[], Surface | None] = lambda: None,
    own: Callable[[tuple[str, int], tuple[str, int]], bool] = is_own,
) -> AsyncIterator[HttpServer]:
    """Everything, of a controller that acts, or that stands by as long as it has no engine. `ready`: while it has none. `own`: whether
    the other end of a connection is this user. Raises `Terminal` when the address can't be had, `UsageError` for a bad token, `Refused`
    where others would listen in."""
    must_be_private(where.address, where.tls, where.plain)
    collector = ControllerCollector(sources)

    def healthy() -> bool:
        engine, front = sources.engine(), sources.front()
        acts = (engine is None or engine.healthy()) and (front is None or front.watching)
        return acts and sources.following() and sources.supervisor.healthy()

    probes = Probes(healthy, lambda: healthy() and (sources.engine() is not None or ready()), lambda: exposition(collector))
    credentials = Credentials(token_of(config.state, config.environ, where.token_file), is_loopback(where.address), own)
    app = application(probes, credentials, surface, lambda: server.port)
    server = HttpServer(where.address, app, sources.supervisor, where.tls)
    await server.start()
    try:
        yield server
    finally:
        if (shown := surface()) is not None:
            shown.hub.release()  # who follows would keep the server from ending
        await server.stop()


def listening(config: Settings, where: Listening, port: int) -> str:
    """What is told of the server to the person who started it."""
    address = where.address
    reach = "" if is_loopback(address) else " (reachable from other hosts)"
    if where.token_file is not None:
        known = str(where.token_file)
    elif config.environ.get(TOKEN_VARIABLE):
        known = TOKEN_VARIABLE
    else:
        known = str(config.state / TOKEN_FILE)
    may = "metrics and changes need" if is_loopback(address) else "everything but the probes needs"
    return f"listening on {address.host}:{port}{reach}; {may} the token of {known}"
