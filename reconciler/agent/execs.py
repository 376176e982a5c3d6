"""Commands that a person runs on the machine of an agent: their streams, over a connection of their own. No shell reads anything
(G-61); the command ends with the connection."""

from __future__ import annotations

import asyncio
import base64
import signal as signals
from collections.abc import Awaitable, Callable, Sequence

from reconciler.agent.keeper_client import KeeperClient
from reconciler.agent.protocol import binary, obj, signal_number, whole
from reconciler.core.keys import Json
from reconciler.engine.ports import Machine
from reconciler.errors import GuestFailed, GuestUnreachable

_QUICK = 30.0
_INPUT = 600.0  # a command may take its time to read
PIECE = 1 << 16

Open = Callable[[Callable[[Json], None], Callable[[], None]], Awaitable[KeeperClient]]
Sink = Callable[[bytes], None]
Source = Callable[[], Awaitable[bytes]]
"""The next piece of input, at most `PIECE` bytes; b'' at its end."""


class Exec:
    """One command. `out` and `err` are called with what it writes, as it comes."""

    def __init__(self, at: Machine, out: Sink, err: Sink) -> None:
        self._at, self._sinks = at, {"out": out, "err": err}
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._client: KeeperClient | None = None
        self._number = 0

    async def run(self, opened: Open, argv: Sequence[str], cwd: str = "", source: Source | None = None) -> int:
        """Start it, feed it, and wait for its end: its exit code, 128 plus the number of the signal that ended it. `cwd` '': the
        agent's work dir. Raises `GuestFailed` when it can't be started, `GuestUnreachable` when the connection breaks (the command
        is ended then)."""
        self._client = client = await opened(self._heard, self._lost)
        try:
            answer = await client.request("exec", self._at.epoch, _QUICK, argv=list(argv), cwd=cwd or None)
            self._number = whole(answer, "exec") or 0
            feeding = asyncio.create_task(self._feed(client, source))
            try:
                either: list[asyncio.Future[None] | asyncio.Future[int]] = [feeding, self._ended]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if feeding.done() and not self._ended.done():
                    feeding.result()
                return await self._ended
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
        finally:
            await client.close()

    async def signal(self, number: signals.Signals) -> None:
        """Send it a signal, as Ctrl-C would."""
        if self._client is not None and self._number:
            await self._client.request("exec.signal", self._at.epoch, _QUICK, exec=self._number, signal=number.name)

    async def _feed(self, client: KeeperClient, source: Source | None) -> None:
        while True:
            piece = await source() if source is not None else b""
            data = base64.b64encode(piece).decode() if piece else None
            try:
                answer = await client.request("exec.input", self._at.epoch, _INPUT, exec=self._number, data=data, end=not piece)
            except GuestUnreachable as gone:
                if "[NotRunning]" in gone.what:
                    return  # it ended meanwhile
                raise
            if not piece or answer.get("closed") is True:
                return

    def _heard(self, message: Json) -> None:
        if "exec" not in message or self._ended.done():
            return
        try:
            for name, sink in self._sinks.items():
                if data := binary(message, name):
                    sink(data)
        except (GuestFailed, OSError) as error:
            self._ended.set_exception(error)
            return
        if "exit" in message:
            self._ended.set_result(exit_code(obj(message["exit"])))

    def _lost(self) -> None:
        if not self._ended.done():
            self._ended.set_exception(GuestUnreachable("the connection broke; the command was ended with it", self._at.id))


def exit_code(facts: Json) -> int:
    """As a shell tells it."""
    code = whole(facts, "exitCode")
    if code is not None:
        return code
    return 128 + (signal_number(facts) or int(signals.SIGKILL))
