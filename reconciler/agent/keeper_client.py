"""One connection to one keeper: requests answered in any order, events as they come. A lost connection ends every request in
it with `GuestUnreachable`; nothing is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from reconciler.agent.protocol import PROTOCOLS, Lines, decode, encode, error_of, obj
from reconciler.agent.transport import Duplex
from reconciler.core.keys import Json
from reconciler.engine.supervision import Supervisor
from reconciler.errors import GuestUnreachable, ReconcilerError

_READ = 1 << 18


class KeeperClient:
    """Speaks to the keeper behind `duplex`, which it owns. `where`: for errors; `on_event`: called with each unasked line;
    `on_lost`: called once when the connection ends other than by `close`."""

    def __init__(
        self,
        duplex: Duplex,
        where: str,
        on_event: Callable[[Json], None],
        on_lost: Callable[[], None],
        supervisor: Supervisor | None = None,
    ) -> None:
        self._duplex, self._where = duplex, where
        self._on_event, self._on_lost = on_event, on_lost
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self._next = 0
        self._gone = asyncio.Event()
        supervisor = supervisor if supervisor is not None else Supervisor()
        self._reader = supervisor.once("keeper connection", self._read, self._broke, name=f"keeper {where}")

    @property
    def closed(self) -> bool:
        return self._gone.is_set()

    async def hello(self, vm_id: str, epoch: int, timeout: float) -> Json:
        """Introduce ourselves; the keeper's facts. Raises `StaleEpoch` when it has seen a higher epoch."""
        return await self.request("hello", epoch, timeout, protocols=list(PROTOCOLS), vmId=vm_id)

    async def request(self, op: str, epoch: int | None, timeout: float, **fields: object) -> Json:
        """One request and its answer. Raises what the keeper's refusal means (`protocol.error_of`), or `GuestUnreachable` when
        there is no answer within `timeout` seconds: what it asked for may have happened all the same."""
        if self.closed:
            raise GuestUnreachable("the connection to the keeper is gone", self._where)
        self._next += 1
        number = self._next
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(timeout):
                line = encode({"id": number, "op": op, "epoch": epoch, **fields})
                await self._duplex.write(line)  # the whole line is taken at once; what is awaited is room for more
                message = await answer
        except TimeoutError:
            # Whatever is wrong with it, the next request gets a new connection.
            await self.close()
            raise GuestUnreachable(f"the keeper did not answer {op} within {timeout:g} s", self._where) from None
        finally:
            self._waiting.pop(number, None)
        if "error" in message:
            raise error_of(message["error"], self._where)
        return message

    async def _read(self) -> None:
        lines = Lines()
        why: ReconcilerError = GuestUnreachable("the keeper closed the connection", self._where)
        try:
            while data := await self._duplex.read(_READ):
                for line in lines.add(data):
                    self._take(decode(line))
        except ReconcilerError as error:
            why = error
        except Exception:
            await self._duplex.close()
            raise
        self._end(why)
        await self._duplex.close()
        self._on_lost()

    def _broke(self, error: Exception) -> None:
        """By a defect of ours in what was made of the keeper's words: whoever waits is told, the next one connects anew."""
        self._end(GuestUnreachable(f"the connection to the keeper broke: internal error: {type(error).__name__}", self._where))
        self._on_lost()

    def _take(self, message: Json) -> None:
        number = message.get("id")
        if isinstance(number, int):
            answer = self._waiting.get(number)
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif "event" in message or "gap" in message or "live" in message or "exec" in message:
            self._on_event(message)
        elif "error" in message:
            raise error_of(obj(message["error"]), self._where)

    def _end(self, why: ReconcilerError) -> None:
        self._gone.set()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(GuestUnreachable(why.what, self._where, why.remedy))

    async def ended(self, timeout: float) -> None:
        """Wait until the connection has ended. Raises `GuestUnreachable` when it has not within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._gone.wait()
        except TimeoutError:
            raise GuestUnreachable("the keeper did not end", self._where) from None

    async def close(self) -> None:
        """Hang up; changes nothing at the keeper."""
        if self.closed:
            return
        self._end(GuestUnreachable("the connection to the keeper was closed", self._where))
        self._reader.cancel()
        await self._duplex.close()
