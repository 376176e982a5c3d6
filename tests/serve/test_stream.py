"""Server-sent events: what is told, to whom, how a broken connection goes on, and what becomes of one that is too slow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from reconciler.core.keys import Key
from reconciler.serve import server, stream
from reconciler.serve.stream import Hub, Interest, TooMany
from reconciler.views.board import Board
from tests.serve.rig import Served, conditions, fleet_served, small_fleet

DOCS = Key("Lieutenant", "default", "docs")
WEB = Key("Lieutenant", "default", "web")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with fleet_served(tmp_path, small_fleet(), secrets=["sk-very-secret"]) as found:
        yield found


@dataclass
class Heard:
    id: str
    what: str
    data: Any


async def messages(answer: httpx.Response) -> AsyncIterator[Heard]:
    found: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if not line:
            if "event" in found:
                yield Heard(found.get("id", ""), found["event"], json.loads(found["data"]))
            found = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            found[name] = value


async def next_of(heard: AsyncIterator[Heard]) -> Heard:
    async with asyncio.timeout(20):
        return await anext(heard)


async def test_changes_and_events_are_told_as_they_happen(served: Served) -> None:
    async with served.http.stream("GET", "/api/v1/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        heard = messages(answer)
        hello = await next_of(heard)
        assert (hello.what, hello.id) == ("hello", served.surface.hub.here)
        await served.status(DOCS, phase="Stalled", conditions=conditions("False", "SessionDiverged", "sk-very-secret", stalled=True))
        change = await next_of(heard)
        assert (change.what, change.data["name"], change.data["standing"]) == ("change", "docs", "needs-you")
        assert change.data["message"] == "[redacted]"
        await served.engine.record_event(DOCS, "uid-3", "Crashed", "it ended", warning=True)
        event = await next_of(heard)
        assert (event.what, event.data["reason"], event.data["involvedObject"]["name"]) == ("event", "Crashed", "docs")


async def test_a_task_that_ends_badly_changes_its_lieutenant_too(served: Served) -> None:
    async with served.http.stream("GET", "/api/v1/stream", params={"kind": "lieutenants", "name": "web"}) as answer:
        heard = messages(answer)
        await next_of(heard)
        await served.status(WEB, phase="Idle")
        assert (await next_of(heard)).data["standing"] == "ready"
        await served.status(Key("Task", "default", "web-now"), phase="Failed", finishedAt="2026-11-21T08:17:38Z")
        told = await next_of(heard)
        assert (told.data["kind"], told.data["standing"]) == ("Lieutenant", "failed")


async def test_only_what_somebody_is_interested_in_is_told(served: Served) -> None:
    async with served.http.stream("GET", "/api/v1/stream", params={"kind": "lt", "namespace": "default", "name": "web"}) as answer:
        heard = messages(answer)
        await next_of(heard)
        await served.status(DOCS, phase="Working")
        await served.status(WEB, phase="Stalled")
        assert (await next_of(heard)).data["name"] == "web"


async def test_a_broken_connection_goes_on_behind_the_last_message(served: Served) -> None:
    async with served.http.stream("GET", "/api/v1/stream") as answer:
        first = await next_of(messages(answer))
    for phase in ("Working", "Stalled", "Working"):
        await served.status(DOCS, phase=phase)
    async with served.http.stream("GET", "/api/v1/stream", headers={"Last-Event-ID": first.id}) as answer:
        heard = messages(answer)
        assert (await next_of(heard)).what == "hello"
        told = [await next_of(heard) for _ in range(3)]
        assert [one.data["phase"] for one in told] == ["Working", "Stalled", "Working"]
    async with served.http.stream("GET", "/api/v1/stream", params={"lastEventId": told[1].id}) as answer:
        heard = messages(answer)
        await next_of(heard)
        assert (await next_of(heard)).id == told[2].id


@pytest.mark.parametrize("last", ["another-7", "x", "-", "{life}-99", "{life}-nine", "{life}-" + "9" * 40])
async def test_what_can_not_be_resumed_says_so(served: Served, last: str) -> None:
    last = last.format(life=served.surface.hub.life)
    async with served.http.stream("GET", "/api/v1/stream", headers={"Last-Event-ID": last}) as answer:
        heard = messages(answer)
        await next_of(heard)
        assert (await next_of(heard)).what == "reset"


async def test_what_is_kept_ends(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEPT", 2)
    hub = Hub(served.engine, Board())
    start = hub.here
    for phase in ("Working", "Stalled", "Working"):
        await served.status(DOCS, phase=phase)
    assert [told.what for told in hub._missed(start)] == ["reset"]
    assert [told.what for told in hub._missed(f"{hub.life}-1")] == ["change", "change"]
    hub.close()


@pytest.mark.guarantee("G-65")
async def test_so_many_may_follow_and_no_more(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "FOLLOWERS", 1)
    one = served.surface.hub.follow(Interest(), "")
    waiting = asyncio.ensure_future(anext(one))
    await asyncio.sleep(0)
    with pytest.raises(TooMany):
        await anext(served.surface.hub.follow(Interest(), ""))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await one.aclose()
    assert served.surface.hub.followers == 0


@pytest.mark.guarantee("G-65")
async def test_one_who_does_not_keep_up_is_let_go_of_and_the_others_are_not(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BEHIND", 8)
    monkeypatch.setattr(server, "STALL_SECONDS", 0.2)
    hub = served.surface.hub
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
    writer.write(b"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await until(lambda: hub.followers == 1)
    async with served.http.stream("GET", "/api/v1/stream") as answer:
        heard = messages(answer)
        await next_of(heard)
        number = 0
        while hub.followers == 2:  # it falls behind, or its connection stands still for too long
            number += 1
            hub._tell("event", DOCS, {"number": number, "message": "x" * 100_000})
            assert (await next_of(heard)).data["number"] == number
            assert number < 1000, "the kernel's buffers have an end"
        assert hub.followers == 1
        hub._tell("event", DOCS, {"number": 0})
        assert (await next_of(heard)).data["number"] == 0, "the other one follows on"
    async with asyncio.timeout(20):
        with suppress(ConnectionError):
            while await reader.read(65536):
                pass
    writer.close()


async def test_followers_end_with_the_server_and_with_its_engine(tmp_path: Path) -> None:
    async with fleet_served(tmp_path, small_fleet()) as served, served.http.stream("GET", "/api/v1/stream") as answer:
        heard = messages(answer)
        await next_of(heard)
        served.surface.hub.close()
        with pytest.raises(StopAsyncIteration):
            await next_of(heard)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.01)
