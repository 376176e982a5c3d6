"""Before every request: was it meant for us, who asks, and may he. After it: headers that tell browsers to keep to that."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.core.audit import Actor
from reconciler.serve.credentials import Access, Asked, Credentials, foreign

OPEN = frozenset({"/healthz", "/readyz", "/login"})
"""Answered without a credential."""
STATIC = "/static/"
SAFE = frozenset({"GET", "HEAD"})
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; font-src 'none'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
TOKEN = "token"
"""Who changes something over HTTP, as far as it is known: who has the token."""
MARK = "x-form-mark"
"""The header in which a script of ours sends the mark of its page's forms."""


class Guard:
    """`app` sees only what passed; `scope["state"]` then has `access`, `session` (the cookie) and `bearer`."""

    def __init__(self, app: ASGIApp, credentials: Credentials, cookie: Callable[[], str]) -> None:
        self._app, self._credentials, self._cookie = app, credentials, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        refused = self._refused(scope)
        if refused is not None:
            await refused(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _refused(self, scope: Scope) -> Response | None:
        """The answer to a request that does not pass."""
        headers, path = Headers(scope=scope), scope["path"]
        if not self._credentials.host_is_ours(headers.get("host", "")):
            return PlainTextResponse("this is another host\n", 421)
        session = self._session(headers)
        told = {name.lower(): value for name, value in headers.items()}
        access = self._credentials.access(Asked(told, session, scope.get("client"), scope.get("server")))
        scope.setdefault("state", {}).update(access=access, session=session, bearer="authorization" in told)
        if path in OPEN or path.startswith(STATIC):
            return None
        needed = Access.READ if scope["method"] in SAFE and path != "/metrics" else Access.WRITE
        if access < needed:
            return self._unknown(scope, path, told)
        if needed is Access.WRITE and scope["method"] not in SAFE and not told.get("authorization") and foreign(told):
            return PlainTextResponse("another page asked for this\n", 403)
        return None

    def _unknown(self, scope: Scope, path: str, headers: dict[str, str]) -> Response:
        wants_page = "text/html" in headers.get("accept", "") and not path.startswith("/api/") and path != "/metrics"
        if wants_page and scope["method"] in SAFE:
            return RedirectResponse("/login", 303)
        if path.startswith("/api/"):
            error = {"type": "Unauthorized", "what": "a token is needed", "where": path, "remedy": "send it as `Authorization: Bearer …`"}
            return JSONResponse({"error": error}, 401, {"WWW-Authenticate": "Bearer"})
        return PlainTextResponse("a bearer token is needed\n", 401, {"WWW-Authenticate": "Bearer"})

    def _session(self, headers: Headers) -> str:
        """The cookie that a person's session has, '' when there is none."""
        told = headers.get("cookie", "")
        if not told or len(told) > 8192:
            return ""
        try:
            found = SimpleCookie(told).get(self._cookie())
        except CookieError:
            return ""
        return found.value if found is not None and len(found.value) < 512 else ""


def page_actor() -> Actor:
    """For whom a form of the page acts: only the session of a token's holder may."""
    return Actor("page", TOKEN)


def api_actor(request: Request) -> Actor:
    """For whom the API acts: a program that sends the token, or a script of our page in a session that was opened with it."""
    return Actor("api", TOKEN) if request.state.bearer else page_actor()


def marked(request: Request, credentials: Credentials, form: str) -> bool:
    """Whether a request that changes something is no forgery: it has the token itself, or the mark that only our pages know."""
    if request.state.bearer:
        return True
    return credentials.form_is_ours(request.state.session, form or request.headers.get(MARK, ""))
