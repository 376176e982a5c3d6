"""The HTTP transport against a real server: httpx's requests and responses, and nothing of what an httpx client adds."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from vers_stub import Action, Garbage, Half, Reply, Reset, json_reply, platform

from reconciler.errors import Unreachable
from reconciler.vers.client import VersClient
from reconciler.vers.keys import Settings
from reconciler.vers.simulator.certs import gateway_context
from reconciler.vers.transport import AiohttpTransport

NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    async with AiohttpTransport(lambda: NO_AUTHORITIES, 5, 4.0, 10.0) as made:
        yield made


async def test_a_request_arrives_as_it_was_built(transport: AiohttpTransport) -> None:
    async with platform(lambda _: json_reply({"a": 1}, 201, **{"X-Twice": "1"})) as served:
        request = httpx2.Request("PATCH", f"{served.url}/a/b?c=d", headers={"X-Own": "e"}, content=b'{"f":1}')
        answer = await transport.handle_async_request(request)
        assert (answer.status_code, await answer.aread(), answer.headers["x-twice"]) == (201, b'{"a": 1}', "1")
        assert answer.request is request
    arrived = served.requests[0]
    assert (arrived.method, arrived.target, arrived.body, arrived.headers["x-own"]) == ("PATCH", "/a/b?c=d", b'{"f":1}', "e")


async def test_a_streamed_request_is_sent_whole(transport: AiohttpTransport) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async with platform(lambda _: Reply(200)) as served:
        await transport.handle_async_request(httpx2.Request("POST", served.url, headers={"Content-Length": "2"}, content=parts()))
    assert served.requests[0].body == b"ab"


async def test_a_target_replaces_path_and_query(transport: AiohttpTransport) -> None:
    async with platform(lambda _: Reply(200)) as served:
        url = httpx2.URL(f"{served.url}/api")
        for path in ("/api/one?x=1", "/api/two%20words"):
            answer = await transport.handle_async_request(httpx2.Request("GET", url, extensions={"target": path.encode()}))
            assert await answer.aread() == b""
    assert [request.target for request in served.requests] == ["/api/one?x=1", "/api/two%20words"]


async def test_a_compressed_body_arrives_decompressed_and_says_so(transport: AiohttpTransport) -> None:
    reply = Reply(200, gzip.compress(b"x" * 100_000), "text/plain", {"Content-Encoding": "gzip"})
    async with platform(lambda _: reply) as served:
        answer = await transport.handle_async_request(httpx2.Request("GET", served.url))
        assert await answer.aread() == b"x" * 100_000
    assert "content-encoding" not in answer.headers
    assert "content-length" not in answer.headers


async def test_cookies_are_not_kept_and_redirects_not_followed(transport: AiohttpTransport) -> None:
    reply = Reply(302, b"", None, {"Set-Cookie": "a=b; Path=/", "Location": "/elsewhere"})
    async with platform(lambda _: reply) as served:
        url = served.url.replace("127.0.0.1", "localhost")
        for _ in range(2):
            answer = await transport.handle_async_request(httpx2.Request("GET", url))
            assert (answer.status_code, await answer.aread()) == (302, b"")
    assert [(request.target, "cookie" in request.headers) for request in served.requests] == [("/", False), ("/", False)]


@pytest.mark.parametrize("action", [Reset(), Garbage(), Half()], ids=["reset", "garbage", "half"])
async def test_what_may_have_been_sent_is_a_read_error(transport: AiohttpTransport, action: Action) -> None:
    async with platform(lambda _: action) as served:
        with pytest.raises(httpx2.ReadError):
            await (await transport.handle_async_request(httpx2.Request("POST", served.url, content=b"x"))).aread()
        assert len(served.requests) == 1


async def test_what_was_not_sent_is_a_connect_error(transport: AiohttpTransport) -> None:
    async with platform(lambda _: Reply(200)) as served:
        pass
    with pytest.raises(httpx2.ConnectError, match="ClientConnectorError"):
        await transport.handle_async_request(httpx2.Request("POST", served.url, content=b"x"))


@pytest.mark.parametrize("url", ["http://a..b/", f"http://{'a' * 300}/"])
async def test_a_host_that_is_no_name_is_a_connect_error(transport: AiohttpTransport, url: str) -> None:
    with pytest.raises(httpx2.ConnectError, match="no host name"):
        await transport.handle_async_request(httpx2.Request("POST", url, content=b"x"))


# --- proxies ------------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def proxy(monkeypatch: pytest.MonkeyPatch, name: str, credentials: str = "") -> AsyncIterator[list[str]]:
    """A proxy named by the environment, which refuses everything; gives the heads of what it was asked."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for other in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{other}_proxy", raising=False)
        monkeypatch.delenv(f"{other}_PROXY".upper(), raising=False)
    monkeypatch.setenv(name, f"http://{credentials}127.0.0.1:{port}")
    try:
        yield asked
    finally:
        server.close()


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, transport: AiohttpTransport, name: str) -> None:
    async with proxy(monkeypatch, name, "user:p%40ss@") as asked:
        with pytest.raises(httpx2.ConnectError):
            await transport.handle_async_request(httpx2.Request("POST", "https://api.example/x", headers={"Authorization": "k"}))
    assert asked[0].startswith("CONNECT api.example:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in asked[0]
    assert "\r\nAuthorization:" not in asked[0]


async def test_a_plain_request_passes_through_the_proxy(monkeypatch: pytest.MonkeyPatch, transport: AiohttpTransport) -> None:
    async with proxy(monkeypatch, "http_proxy", "user:pass@") as asked:
        answer = await transport.handle_async_request(httpx2.Request("GET", "http://api.example/x"))
        assert answer.status_code == 403
    assert asked[0].startswith("GET http://api.example/x HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n" in asked[0]


@pytest.mark.parametrize(("host", "reached"), [("127.0.0.1", True), ("localhost", True), ("127.0.0.2", False)])
async def test_a_host_without_proxy_is_asked_directly(
    monkeypatch: pytest.MonkeyPatch, transport: AiohttpTransport, host: str, reached: bool
) -> None:
    async with platform(lambda _: Reply(200)) as served, proxy(monkeypatch, "HTTP_PROXY") as asked:
        monkeypatch.setenv("NO_PROXY", "127.0.0.2")  # nobody listens there
        request = httpx2.Request("GET", served.url.replace("127.0.0.1", host))
        if reached:
            assert (await transport.handle_async_request(request)).status_code == 200
        else:
            with pytest.raises(httpx2.ConnectError):
                await transport.handle_async_request(request)
    assert asked == []


async def test_a_proxy_that_is_no_url_is_told(monkeypatch: pytest.MonkeyPatch, transport: AiohttpTransport) -> None:
    monkeypatch.setenv("https_proxy", "gopher://secret@x")
    with pytest.raises(httpx2.ConnectError, match="the proxy of the environment") as caught:
        await transport.handle_async_request(httpx2.Request("GET", "https://api.example/x"))
    assert "secret" not in str(caught.value)


@asynccontextmanager
async def with_certificate(context: ssl.SSLContext) -> AsyncIterator[str]:
    """The URL of a server that answers 200 to everything, over TLS."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_certificates_are_verified_by_what_is_made_when_one_is_shown_for_the_first_time(tmp_path: Path) -> None:
    context, ca = gateway_context(tmp_path, "vm.test")
    made: list[ssl.SSLContext] = []

    def trusting() -> ssl.SSLContext:
        made.append(ssl.create_default_context(cafile=ca))
        return made[-1]

    async with (
        platform(lambda _: Reply(200)) as plain,
        with_certificate(context) as url,
        AiohttpTransport(trusting, 5, 4.0, 10.0) as one,
        AiohttpTransport(lambda: NO_AUTHORITIES, 5, 4.0, 10.0) as other,
    ):
        assert (await one.handle_async_request(httpx2.Request("GET", plain.url))).status_code == 200
        assert made == [], "nobody showed a certificate"
        answers = await asyncio.gather(*(one.handle_async_request(httpx2.Request("GET", url)) for _ in range(3)))
        assert [answer.status_code for answer in answers] == [200] * 3
        assert len(made) == 1
        with pytest.raises(httpx2.ConnectError, match="Certificate"):
            await other.handle_async_request(httpx2.Request("GET", url))


@pytest.mark.parametrize("text", [None, "no certificate"])
async def test_authorities_that_can_not_be_read_are_told_and_nothing_is_sent(
    tmp_path: Path, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    environment = {"VERS_API_KEY": "k" * 100, "VERS_BASE_URL": "https://127.0.0.1:1"}
    client = VersClient(Settings(environment, Path("/nonexistent")), sleep=lambda _: asyncio.sleep(0))
    try:
        with pytest.raises(Unreachable, match="the certificate authorities can't be read"):
            await client.list_vms()
    finally:
        await client.aclose()
