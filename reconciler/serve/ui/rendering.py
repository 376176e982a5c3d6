"""Pages from templates: whatever a template prints is cleaned of secrets, made visible, and escaped, without being asked to be."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from reconciler.core.times import timestamp
from reconciler.serve.credentials import Access
from reconciler.serve.hiding import Hiding
from reconciler.views.documents import age
from reconciler.visible import visible

STATIC = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages refer to by its content's digest."""

    content: bytes
    media_type: str
    version: str


@cache
def assets() -> Mapping[str, Asset]:
    """By name."""
    room = resources.files("reconciler.serve.ui").joinpath("static")
    contents = {name: room.joinpath(name).read_bytes() for name in STATIC}
    return {name: Asset(data, STATIC[name], hashlib.sha256(data).hexdigest()[:12]) for name, data in contents.items()}


@pass_context
def _harmless(context: Context, value: object) -> object:
    """What is printed anywhere in a template."""
    if isinstance(value, str) and not isinstance(value, Markup):
        hiding: Hiding | None = context.get("hiding")
        return visible(hiding.text(value) if hiding is not None else value)
    return "" if value is None else value


@cache
def environment() -> Environment:
    """The templates."""
    env = Environment(
        loader=PackageLoader("reconciler.serve.ui", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["ago"] = lambda stamp: age(str(stamp), time.time()) if stamp else ""
    env.filters["age"] = lambda at: age(timestamp(float(at)), time.time())
    env.globals["asset"] = lambda name: f"/static/{name}?{assets()[name].version}"
    return env


def page(request: Request, template: str, hiding: Hiding | None, mark: str, values: Mapping[str, object], code: int = 200) -> Response:
    """`mark`: what forms of this page carry, '' where there are none."""
    access: Access = request.state.access

    def link(**changes: object) -> str:
        """This address with other parameters; what is None or empty is left out."""
        query = {**dict(request.query_params), **changes}
        told = urlencode({name: value for name, value in query.items() if value not in (None, "", 0)})
        return f"{request.url.path}?{told}" if told else request.url.path

    told = (
        environment()
        .get_template(template)
        .render(
            hiding=hiding,
            mark=mark,
            may_write=access is Access.WRITE,
            signed_in=bool(request.state.session) and access is Access.WRITE,
            path=request.url.path,
            query=dict(request.query_params),
            link=link,
            **values,
        )
    )
    return HTMLResponse(told, code)


async def static(request: Request) -> Response:
    """A file of the page, for ever: its address changes with it."""
    found = assets().get(request.path_params["file"])
    if found is None:
        return Response("there is nothing at this address\n", 404, media_type="text/plain")
    return Response(found.content, media_type=found.media_type, headers={"Cache-Control": FOREVER})
