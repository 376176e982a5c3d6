"""Something between the operator and the real API server that answers in its place, as a busy or confused one would."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

from reconciler.sources.kube.access import Access

GONE = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"}}
PASSED_ON = ("Authorization", "Content-Type", "Accept", "User-Agent")


@dataclass
class Between:
    """`answer`: what is said instead (a status code; 410 to a watch is said within its stream), None to pass the request on. `asked`:
    requests by method and what they are about (`watch`, `status`, `other`); `refused`: those that were answered here."""

    access: Access
    answer: Callable[[str, str, str], int | None] = lambda method, about, path: None
    asked: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    _streams: set[asyncio.Task[Any]] = field(default_factory=set)

    def cut(self) -> None:
        """Every watch there is ends from one moment to the next."""
        for stream in self._streams:
            stream.cancel()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        about = "watch" if request.query.get("watch") else "status" if request.path.endswith("/status") else "other"
        self.asked[f"{request.method} {about}"] += 1
        code = self.answer(request.method, about, request.path)
        if code is not None:
            self.refused[code] += 1
            if code == 410 and about == "watch":
                return web.Response(text=json.dumps(GONE) + "\n", content_type="application/json")
            body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": f"told {code}", "code": code}
            return web.json_response(body, status=code, headers={"Retry-After": "1"} if code == 429 else {})
        task = asyncio.current_task()
        if about != "watch" or task is None:
            return await self._pass_on(request)
        self._streams.add(task)
        try:
            return await self._pass_on(request)
        finally:
            self._streams.discard(task)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        body = await request.read() if request.can_read_body else None
        timeout = ClientTimeout(total=None)
        async with (
            ClientSession(connector=TCPConnector(ssl=self.access.tls or True), trust_env=False, timeout=timeout) as session,
            session.request(request.method, self.access.server + request.path_qs, headers=headers, data=body) as told,
        ):
            response = web.StreamResponse(
                status=told.status, headers={"Content-Type": told.headers.get("Content-Type", "application/json")}
            )
            await response.prepare(request)
            async for piece in told.content.iter_any():
                await response.write(piece)
            return response


@asynccontextmanager
async def between(access: Access) -> AsyncIterator[tuple[Between, Access]]:
    """It, and the access that leads through it."""
    made = Between(access)
    app = web.Application(client_max_size=16 << 20)
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield made, replace(access, server=f"http://127.0.0.1:{port}", tls=None)
    finally:
        await runner.cleanup()
