"""The platform over HTTP: what `api` decides is waited for, carried out in the guests, made durable and sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from reconciler.vers.simulator import page, wire
from reconciler.vers.simulator.admin import UNAUTHORIZED, Admin, allowed
from reconciler.vers.simulator.api import Answer, Api, Call, Hang, Inside, Outcome, Reset, Wait
from reconciler.vers.simulator.durable import Durable
from reconciler.vers.simulator.execs import Execs, Run
from reconciler.vers.simulator.guests import GuestError
from reconciler.vers.simulator.http11 import Connection, HttpListener, Received
from reconciler.vers.simulator.machines import Machines
from reconciler.vers.simulator.operations import Attach, Exec, GuestWork, Logs, ReadFile, WriteFile
from reconciler.vers.simulator.records import Effect
from reconciler.vers.simulator.routes import Request, body_limit
from reconciler.vers.simulator.wire import ApiError, Reply

log = logging.getLogger(__name__)

_TICK_S = 0.05


class Server:
    """`failures` counts requests that our own defects ended."""

    def __init__(
        self, api: Api, admin: Admin, admin_token: str, machines: Machines, execs: Execs, durable: Durable | None, guests: str
    ) -> None:
        self._api = api
        self._admin = admin
        self._admin_token = admin_token
        self._machines = machines
        self._execs = execs
        self._durable = durable
        self._guests = guests
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self.listener = HttpListener(self.handle, api.world.clock, body_limit)
        self.failures = 0

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises `OSError` when the address can't be had."""
        await self.listener.start(host, port)
        self._ticker = asyncio.create_task(self._tick())
        return self.listener.port

    async def stop(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        await self.listener.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *([self._ticker] if self._ticker else []), return_exceptions=True)

    # --- one request -----------------------------------------------------------------------------------------------------------

    def handle(self, received: Received, connection: Connection) -> None:
        """Simple calls are answered here and now; whatever has to wait gets a task."""
        path = received.target.partition("?")[0]
        if path == "/":
            self._page(received, connection)
            return
        try:
            request = Request.of(received.method, received.target, received.headers, received.body)
        except ValueError:
            connection.send(Reply(400, b"malformed URL", wire.TEXT))
            return
        try:
            if request.segments[0] == "admin":
                reply = self._admin.handle(request)
                self._spawn(self._deliver(self.collect(), reply, connection), connection)
                return
            call = self._api.begin(request)
            outcome = self._api.step(call)
            effects = self.collect()
        except Exception:  # noqa: BLE001  # counted and told
            self._broken(connection)
            return
        if isinstance(outcome, Answer) and not effects:
            connection.send(outcome.reply)
        else:
            self._spawn(self._carry(call, outcome, effects, connection), connection)

    def _page(self, received: Received, connection: Connection) -> None:
        if not allowed(received.headers.get("authorization", ""), self._admin_token):
            connection.send(UNAUTHORIZED)
            return
        extra = (("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"), ("cache-control", "no-store"))
        connection.send(Reply(200, page.render(self._api.world, self._guests), "text/html; charset=utf-8", 0.0, extra))

    def collect(self) -> list[Effect]:
        """Make durable what was just changed; what is left to do in guests. No await between a step and this."""
        world = self._api.world
        effects = self._machines.take()
        if world.touched:
            if self._durable is not None:
                self._durable.save(world)
            else:
                world.touched.clear()
        return effects

    def _spawn(self, work: Coroutine[None, None, None], connection: Connection) -> None:
        task = asyncio.create_task(self._guarded(work, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[None, None, None], connection: Connection) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001  # counted and told
            self._broken(connection)

    def _broken(self, connection: Connection) -> None:
        """A defect of ours: counted, told, and no worse for the client than the platform's own 500."""
        self.failures += 1
        log.exception("a simulated call failed")
        if connection.busy:
            connection.send(wire.refused(500, "simulator defect").reply)

    async def _deliver(self, effects: list[Effect], reply: Reply, connection: Connection) -> None:
        await self._machines.apply(effects)
        self.collect()
        connection.send(reply)

    async def _carry(self, call: Call, outcome: Outcome, effects: list[Effect], connection: Connection) -> None:
        """Until it is answered. A client that leaves does not stop it: the effect comes all the same."""
        api, world = self._api, self._api.world
        while True:
            if effects:
                await self._machines.apply(effects)
                self.collect()
            match outcome:
                case Answer(reply):
                    connection.send(reply)
                    return
                case Reset():
                    connection.reset()
                    return
                case Hang():
                    await self._until_lost(connection)
                    api.abandon(call, "hang")
                    return
                case Wait(until):
                    await asyncio.sleep(max(0.0, until - world.clock()))
                    outcome = api.step(call)
                case Inside(work):
                    done = await self._inside(work, connection)
                    if done is None:
                        after = api.answered(call, wire.empty())
                        if isinstance(after, Reset):
                            connection.reset()
                        else:
                            connection.close_stream()
                        return
                    outcome = api.answered(call, done)
            effects = self.collect()

    async def _until_lost(self, connection: Connection) -> None:
        gone = asyncio.Event()
        connection.on_lost = gone.set
        if not connection.lost:
            await gone.wait()

    # --- inside a guest --------------------------------------------------------------------------------------------------------

    async def _inside(self, work: GuestWork, connection: Connection) -> Reply | None:
        """The reply, or None when it was streamed."""
        try:
            match work:
                case Exec(stream=False):
                    run = await self._execs.start(work, self._api.world.knobs.exec_cap_s)
                    return await self._execs.result(run, work.exec_id is not None)
                case Exec():
                    await self._stream(await self._execs.start(work, 0.0), None, False, connection)
                    return None
                case Attach():
                    await self._stream(self._execs.find(work), work.cursor, work.from_latest, connection)
                    return None
                case Logs():
                    return self._execs.logs(work)
                case ReadFile():
                    return await self._execs.read_file(work)
                case WriteFile():
                    return await self._execs.write_file(work)
        except GuestError as exc:
            return wire.refused(exc.status, str(exc)).reply
        except ApiError as exc:
            return exc.reply

    async def _stream(self, run: Run, cursor: int | None, from_latest: bool, connection: Connection) -> None:
        connection.open_stream(wire.NDJSON)
        async for line in self._execs.lines(run, cursor, from_latest):
            if connection.lost:
                break
            await connection.write_chunk(line)

    async def _tick(self) -> None:
        """Late effects come also when nobody calls."""
        while True:
            await asyncio.sleep(_TICK_S)
            if self._api.world.deferred:
                self._api.tick()
                await self._machines.apply(self.collect())
                self.collect()
