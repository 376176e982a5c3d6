"""The control socket: JSON lines over a Unix socket (0600) in the state directory. It never waits for a machine."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.core.keys import Json
from reconciler.engine.supervision import Supervisor
from reconciler.errors import ReconcilerError, Unreachable

SOCKET = "control.sock"
LINE_LIMIT = 4 << 20
TIMEOUT = 30.0
_ADDRESS_BYTES = 107

log = logging.getLogger(__name__)


@contextmanager
def address(state: Path) -> Iterator[str]:
    """The socket's address, of any length: a path too long for a socket address is reached through its directory's descriptor."""
    path = state / SOCKET
    if len(os.fsencode(path)) <= _ADDRESS_BYTES:
        yield str(path)
        return
    directory = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = f"/proc/self/fd/{directory}/{SOCKET}"
        if not os.path.isdir(os.path.dirname(short)):
            raise Unreachable("the path of the control socket is too long", str(path), "use a shorter --state directory")
        yield short
    finally:
        os.close(directory)


class ControlServer:
    """Answers requests of this user (and root) with `handle`."""

    def __init__(self, state: Path, handle: Callable[[Json], Awaitable[Json]], supervisor: Supervisor) -> None:
        self._state, self._handle, self._supervisor = state, handle, supervisor
        self._server: asyncio.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.refused = 0

    async def start(self) -> None:
        """Listen. The caller holds the controller's lock, so a socket that is there is a dead one's. Raises `Unreachable`."""
        self._server = await self._listening()
        self._serving = self._supervisor.start("control socket", self._serve)

    async def _serve(self) -> None:
        server = self._server if self._server is not None else await self._listening()
        self._server = server
        try:
            await server.serve_forever()
        finally:
            self._server = None
            server.close()

    async def _listening(self) -> asyncio.Server:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with address(self._state) as path:
                with suppress(FileNotFoundError):
                    os.unlink(path)
                listener.bind(path)
                os.chmod(path, 0o600)
            return await asyncio.start_unix_server(self._connected, sock=listener, limit=LINE_LIMIT)
        except OSError as error:
            listener.close()
            raise Unreachable(
                f"the control socket can't be made: {error.strerror}", str(self._state / SOCKET), "check the directory"
            ) from error

    async def stop(self) -> None:
        """Answer nothing more; a request under way is cut off (its write is durable or not at all)."""
        if self._serving is None:
            return
        self._serving.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(self._serving, *self._tasks, return_exceptions=True)
        if self._server is not None:  # it was never served
            self._server.close()
        with suppress(FileNotFoundError):
            os.unlink(self._state / SOCKET)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not _allowed(writer):
                self.refused += 1
                log.warning("the control socket refused a connection of another user")
                return
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError) as error:  # the other side went away, or sent a line beyond the limit
            log.debug("control connection ended: %s", type(error).__name__)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> Json:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return {"error": {"type": "UsageError", "what": "a request is one JSON object a line", "where": "control socket", "remedy": ""}}
        return await self._handle(request)


def _allowed(writer: asyncio.StreamWriter) -> bool:
    """Whether the other side is this user or root, by the kernel's word."""
    peer: socket.socket = writer.get_extra_info("socket")
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return uid in (0, os.geteuid())


class NoController(ReconcilerError):
    """Nobody listens at the control socket."""


async def ask(state: Path, request: Json) -> Json:
    """One request to the running controller → its answer. Raises `NoController` when none listens, `Unreachable` when it does not
    answer in time (the request may then have been carried out)."""
    try:
        with address(state) as path:
            reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
            raise NoController("no controller runs", str(state)) from None
        raise Unreachable(f"the control socket can't be reached: {error.strerror}", str(state / SOCKET), "check its owner") from error
    try:
        async with asyncio.timeout(TIMEOUT):
            writer.write(json.dumps(request).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
            answer = json.loads(line) if line else None
    except (OSError, ValueError) as error:  # a TimeoutError is an OSError
        raise Unreachable("the controller did not answer", str(state / SOCKET), "look at its log, then try again") from error
    finally:
        writer.close()
    if not isinstance(answer, dict):
        raise Unreachable("the controller went away before it answered", str(state / SOCKET), "try again")
    return answer
