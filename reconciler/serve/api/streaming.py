"""Server-sent events: what `reconciler.serve.stream` tells, as the browser's EventSource and everybody else reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from reconciler.serve.api.asking import field, kind, surface
from reconciler.serve.stream import FOLLOWERS, Interest, Told, TooMany
from reconciler.serve.surface import Surface

RETRY_MS = 2000


async def stream(request: Request) -> Response:
    """Changes of objects, events and the platform, from now on or after `Last-Event-ID`."""
    here = surface(request)
    word = field(request, "kind")
    interest = Interest(kind(word).name if word else "", field(request, "namespace"), field(request, "name"))
    last = request.headers.get("last-event-id", "") or field(request, "lastEventId")
    if here.hub.followers >= FOLLOWERS:
        return Response("too many follow already\n", 503, {"Retry-After": "30"}, "text/plain")
    return StreamingResponse(_lines(here, interest, last[:64]), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _lines(here: Surface, interest: Interest, last: str) -> AsyncIterator[str]:
    yield f"retry: {RETRY_MS}\n" + ("" if last else f"id: {here.hub.here}\n") + "event: hello\ndata: {}\n\n"
    try:
        async for told in here.hub.follow(interest, last):
            yield _message(here, told) if told is not None else ": still here\n\n"
    except TooMany:
        return


def _message(here: Surface, told: Told) -> str:
    """Its JSON is one line."""
    return f"id: {here.hub.id_of(told)}\nevent: {told.what}\ndata: {here.hiding.json(told.document)}\n\n"
