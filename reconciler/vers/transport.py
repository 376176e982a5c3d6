"""httpx's requests and responses over an aiohttp session: the cheapest way to send them that was measured.

An httpx client merges defaults into each request, keeps cookies, follows redirects and parses each URL; none of that is wanted here,
and it costs more than sending (`benchmarks/httpcalls.py`). So the transport is called without a client.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2

from reconciler.vers.errors import clean

# The request provably never left. Everything else may have been sent.
_UNSENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
_THIS_HOST: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class _Route:
    """How one origin is reached. `origin`: scheme, host and port, no trailing slash. `proxy`: its URL, with credentials."""

    origin: str
    proxy: str | None = field(default=None, repr=False)

    @property
    def verified(self) -> bool:
        """Somebody on the way there has to show a certificate."""
        return self.origin.startswith("https:") or (self.proxy or "").startswith("https:")


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Keeps no cookies and follows no redirect. At most `connections` at once, each closed after `idle` seconds without use;
    `connect`: seconds to make one. Proxies are those of the environment, read once for each origin; none for this host itself.

    `tls`: makes what certificates are verified with, when one has to be for the first time. To read the usual authorities takes longer than
    all else of a small start, and a platform on this host has no certificate.

    A request's extension `target` replaces the path and query of its URL, which then need not be parsed for each request, and `headers`
    (text) its headers, which then need not be encoded and decoded again. A body arrives decompressed. Raises `httpx2.ConnectError` when
    the request provably never left, and `httpx2.ReadError` when it may have."""

    def __init__(self, tls: Callable[[], ssl.SSLContext], connections: int, idle: float, connect: float) -> None:
        self._tls = tls
        self._context: ssl.SSLContext | None = None
        self._making = asyncio.Lock()
        self._connections = connections
        self._idle = idle
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect)
        self._session: aiohttp.ClientSession | None = None
        self._routes: dict[tuple[bytes, bytes, int | None], _Route] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        route = self._routes.get((url.raw_scheme, url.raw_host, url.port)) or self._find(url)
        target: bytes = request.extensions.get("target") or url.raw_path
        content = request.read() if isinstance(request.stream, httpx2.ByteStream) else await request.aread()
        session = self._session if self._session is not None else self._open()
        try:
            answer = await session.request(
                request.method,
                route.origin + target.decode("ascii"),
                headers=request.extensions.get("headers") or request.headers,
                data=content or None,
                allow_redirects=False,
                proxy=route.proxy,
                ssl=await self._verifying() if route.verified else True,
            )
        except (aiohttp.ClientError, OSError) as failure:
            # Not chained: the library's frames hold the request with its key, and a dump of frames would show it (G-60).
            raise _said(failure) from None
        except UnicodeError:  # of looking it up
            raise httpx2.ConnectError("the address has no host name that can be looked up") from None
        headers = answer.raw_headers
        if aiohttp.hdrs.CONTENT_ENCODING in answer.headers:  # undone by the session
            headers = tuple(pair for pair in headers if pair[0].lower() not in (b"content-encoding", b"content-length"))
        return httpx2.Response(answer.status, headers=headers, stream=_Body(answer), request=request)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        """The session belongs to the event loop of the first request."""
        connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=self._idle)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=self._timeout)
        return self._session

    async def _verifying(self) -> ssl.SSLContext:
        async with self._making:
            if self._context is None:
                try:
                    self._context = await asyncio.to_thread(self._tls)
                except OSError as failure:  # also what is no certificate
                    why = failure.strerror or type(failure).__name__
                    raise httpx2.ConnectError(f"the certificate authorities can't be read ({why.lower()})") from None
            return self._context

    def _find(self, url: httpx2.URL) -> _Route:
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        proxies = getproxies()
        found = proxies.get(url.scheme) or proxies.get("all")
        if not found or url.host in _THIS_HOST or proxy_bypass(url.host):
            proxy = None
        else:
            proxy = found if "://" in found else f"http://{found}"
            try:
                httpx2.Proxy(proxy)  # whether its scheme is one of a proxy
            except (ValueError, httpx2.InvalidURL):
                raise httpx2.ConnectError("the proxy of the environment is no usable URL") from None
        route = _Route(origin, proxy)
        self._routes = {(url.raw_scheme, url.raw_host, url.port): route}
        return route


class _Body(httpx2.AsyncByteStream):
    """An answer's body as it arrives. Closing it early closes the connection."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._answer.content
        try:
            while chunk := await content.readany():
                yield chunk
        except (aiohttp.ClientError, OSError) as failure:
            raise _said(failure) from None

    async def aclose(self) -> None:
        if self._answer.closed:
            return  # read to its end: the connection serves another one already
        try:
            await self._answer.__aexit__(None, None, None)
        except (aiohttp.ClientError, OSError) as failure:
            raise _said(failure) from None


def _said(failure: Exception) -> httpx2.TransportError:
    """The failure in httpx's words; its text names the failure and never quotes the request."""
    why = f"{type(failure).__name__}: {clean(str(failure))}" if isinstance(failure, OSError) else type(failure).__name__
    return httpx2.ConnectError(why) if isinstance(failure, _UNSENT) else httpx2.ReadError(why)
