"""What requests bring along, bounded and read in one way; and answers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import cast

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from reconciler import errors
from reconciler.api.registry import Kind, kind_of
from reconciler.core.keys import Json, JsonValue, Key
from reconciler.errors import NotFound, ReconcilerError, UsageError
from reconciler.serve.surface import Surface

BODY = 512 << 10
"""Bytes of a request's body."""
FIELD = 4096
"""Characters of one value of an address."""

STATUS: tuple[tuple[type[ReconcilerError], int], ...] = (
    (errors.NotFound, 404),
    (errors.InvalidSpec, 422),
    (errors.UsageError, 400),
    (errors.Unauthorized, 502),
    (errors.Forbidden, 502),
    (errors.Refused, 409),
    (errors.Conflict, 409),
    (errors.TimedOut, 504),
    (errors.Transient, 503),
)
"""What an error of ours is in HTTP; the first that fits. What the platform refused is not the caller's credential."""


class StandsBy(ReconcilerError):
    """This operator does not act, and knows nothing of the fleet."""


class TooLarge(ReconcilerError):
    """A request with too long a body."""


def status_of(error: ReconcilerError) -> int:
    if isinstance(error, StandsBy):
        return 503
    if isinstance(error, TooLarge):
        return 413
    return next((code for kind, code in STATUS if isinstance(error, kind)), 500)


def error_document(error: ReconcilerError) -> Json:
    return {"error": {"type": type(error).__name__, "what": error.what, "where": error.where, "remedy": error.remedy}}


def surface(request: Request) -> Surface:
    """Raises `StandsBy` where nothing is known of the fleet."""
    found = cast(Callable[[], Surface | None], request.app.state.surface)()
    if found is None:
        raise StandsBy("this operator stands by", "", "ask the one that holds the Lease")
    return found


def answer(request: Request, document: JsonValue, code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A document, without secrets."""
    told = surface(request).hiding.json(document) + "\n"
    return Response(told, code, headers, "application/json")


def field(request: Request, name: str, default: str = "") -> str:
    """One value of the address. Raises `UsageError` for one that is too long."""
    value = request.query_params.get(name, default)
    if len(value) > FIELD:
        raise UsageError(f"longer than {FIELD} characters", name, "shorten it")
    return value


def number(request: Request, name: str, default: int, most: int, least: int = 1) -> int:
    """A whole number of the address. Raises `UsageError`."""
    text = field(request, name)
    if not text:
        return default
    if not text.isdecimal() or not text.isascii() or len(text) > 18 or not least <= int(text) <= most:
        raise UsageError(f"must be a whole number from {least} to {most}, not {text[:20]!r}", name, "correct the address")
    return int(text)


def kind(word: str) -> Kind:
    """The kind that a path means. Raises `NotFound`."""
    found = kind_of(word)
    if found is None:
        raise NotFound(f"there is no kind {word[:60]!r}", "/api/v1", "see /api/v1/openapi.json")
    return found


def key(request: Request, of: str = "") -> Key:
    """The object that a path names; `of`: the kind where the path does not say it."""
    path = request.path_params
    return Key(of or kind(path["kind"]).name, path["namespace"], path["name"])


async def body(request: Request, most: int = BODY) -> bytes:
    """Raises `TooLarge` beyond `most` bytes, `UsageError` when it was cut off."""
    told, size = request.headers.get("content-length", ""), 0
    if told.isdecimal() and int(told[:18]) > most:
        raise TooLarge(f"a body has at most {most} bytes", request.url.path, "send less")
    pieces: list[bytes] = []
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                raise TooLarge(f"a body has at most {most} bytes", request.url.path, "send less")
            pieces.append(piece)
    except ClientDisconnect:
        raise UsageError("the body was cut off", request.url.path, "send it again") from None
    return b"".join(pieces)


async def json_body(request: Request, most: int = BODY) -> Json:
    """One JSON object; nothing at all is an empty one. Raises `UsageError`, `TooLarge`."""
    data = await body(request, most)
    if not data.strip():
        return {}
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise UsageError("the body is not one JSON object", request.url.path, "see /api/v1/openapi.json")
    return found


def only(document: Json, *names: str) -> Json:
    """The document; raises `UsageError` for a name that means nothing here."""
    unknown = sorted(set(document) - set(names))
    if unknown:
        raise UsageError(f"{unknown[0][:60]!r} means nothing here", "body", f"use {', '.join(names) or 'no body'}")
    return document


def text(document: Json, name: str) -> str:
    value = document.get(name, "")
    if not isinstance(value, str):
        raise UsageError("must be a string", name, "correct the body")
    return value


def flag(document: Json, name: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise UsageError("must be true or false", name, "correct the body")
    return value


def texts(document: Json, name: str) -> list[str]:
    value = document.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value) or len(value) > 100:
        raise UsageError("must be a list of at most 100 strings", name, "correct the body")
    return [str(one) for one in value]


def mark_of(of: Key) -> str:
    """What stands for "after this object" in a list that goes on."""
    return base64.urlsafe_b64encode(f"{of.namespace}/{of.name}".encode()).decode().rstrip("=")


def after_mark(mark: str) -> tuple[str, str]:
    """Namespace and name that such a mark stands for; the empty ones come before all. Raises `UsageError`."""
    try:
        told = base64.b64decode(mark + "=" * (-len(mark) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise UsageError("is no mark of a list", "continue", "begin the list again") from None
    namespace, _, name = told.partition("/")
    return namespace, name
