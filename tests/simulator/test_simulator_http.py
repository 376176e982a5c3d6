"""HTTP/1.1 as clients of every kind speak it."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulator.conftest import Start
from tests.simulator.support import Running


async def talk(s: Running, *pieces: bytes) -> bytes:
    """Send the pieces one by one; everything that came back until the server or we had nothing more to say."""
    host, port = s.endpoints.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await reader.read()
    writer.close()
    return answer


def head(s: Running, line: str, *more: str) -> bytes:
    return "\r\n".join([line, "Host: x", f"AUTHORIZATION: Bearer {s.endpoints.api_key}", *more, "", ""]).encode()


async def test_requests_behind_each_other_are_answered_in_order(start: Start) -> None:
    s = await start(latency={"whoami": 0.1})
    answer = await talk(
        s,
        head(s, "GET /api/v1/whoami HTTP/1.1") + head(s, "GET /api/v1/vms HTTP/1.1") + head(s, "GET /health HTTP/1.1", "Connection: close"),
    )
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    assert len(bodies) == 3
    assert bodies[0].startswith(b'{"api_key"')
    assert bodies[1] == b"[]"
    assert bodies[2].startswith(b'{"ssh"')


async def test_a_body_in_chunks_and_in_pieces(start: Start) -> None:
    s = await start()
    request = head(s, "POST /api/v1/vm/new_root HTTP/1.1", "Transfer-Encoding: chunked", "Connection: close")
    body = b'6;ext=1\r\n{"vm_c\r\na\r\nonfig":{}}\r\n0\r\n\r\n'
    whole = request + body
    answer = await talk(s, *(whole[i : i + 7] for i in range(0, len(whole), 7)))
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert len(s.simulator.world.vms) == 1


async def test_expect_continue(start: Start) -> None:
    s = await start()
    body = b'{"vm_config":{}}'
    host, port = s.endpoints.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head(s, "POST /api/v1/vm/new_root HTTP/1.1", f"Content-Length: {len(body)}", "Expect: 100-continue"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 201 ")
    writer.close()


async def test_http_1_0_closes(start: Start) -> None:
    s = await start()
    assert (await talk(s, head(s, "GET /api/v1/vms HTTP/1.0"))).endswith(b"\r\n\r\n[]")


@pytest.mark.guarantee("G-65")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / SPDY/3\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, 431),
    ],
    ids=range(8),
)
async def test_what_is_not_http_is_refused_and_harms_nobody(start: Start, sent: bytes, status: int) -> None:
    s = await start()
    assert (await talk(s, sent)).startswith(f"HTTP/1.1 {status} ".encode())
    assert (await s.api.get("/vms")).status_code == 200


async def test_unknown_paths_and_methods(start: Start) -> None:
    s = await start()
    assert (await s.api.get("/nothing")).status_code == 404
    assert (await s.api.put("/vms")).status_code == 405


async def test_many_clients_at_once(start: Start) -> None:
    s = await start(latency={"new_root": 0.05})
    made = await asyncio.gather(*(s.create() for _ in range(100)))
    assert len(set(made)) == 100
    assert set(made) == await s.listed()
    assert s.simulator.world.ledger.max_open["new_root"] > 1
    assert s.simulator.world.ledger.in_flight == 0
