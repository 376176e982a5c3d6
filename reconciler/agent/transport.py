"""One connection to one machine: run our own scripts there, reach Unix sockets there. `LocalTransport` is this host.

What a user wrote never becomes code (G-61): a script is a constant of ours (`FixedScript`), data goes to its standard input.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NewType, Protocol

from reconciler import children
from reconciler.errors import GuestFailed, GuestUnreachable

FixedScript = NewType("FixedScript", str)
"""A POSIX shell script that is a literal in our source. A test refuses any other use."""

OUTPUT_LIMIT: Final = 16 << 20
_CHUNK: Final = 1 << 16
_SOCKET_PATH_BYTES: Final = 107  # sockaddr_un, less its end
# What a script on this host may see of our environment: nothing that could be a secret (G-60).
_PASSED_ON: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a script ended: its exit code (minus the signal's number when one ended it) and all it wrote."""

    exit_code: int
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)


class Duplex(Protocol):
    """Bytes both ways, without lines and their limits. A broken connection raises `GuestUnreachable`."""

    async def read(self, limit: int = _CHUNK) -> bytes:
        """At least one byte as soon as there is one, at most `limit`; b'' when the other side has ended."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns when there is room for more, so that a slow reader slows the writer."""
        ...

    async def close(self) -> None: ...


class Transport(Protocol):
    """One connection to one machine."""

    @property
    def closed(self) -> bool:
        """Whether the connection is gone; it never comes back, another one is opened instead."""
        ...

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call once when the connection is gone, whatever the cause; soon, when it is gone already."""
        ...

    async def run(self, script: FixedScript, stdin: bytes = b"", timeout: float = 30.0, limit: int = OUTPUT_LIMIT) -> RunResult:
        """Run with `sh`, feed `stdin` and end it, collect both outputs. A script that leaves something running must redirect
        that one's three streams. Raises `GuestUnreachable` when the connection breaks, or after `timeout` seconds (the script's
        process group is killed); `GuestFailed` when it writes more than `limit` bytes to one stream. Never run a second time."""
        ...

    async def open_unix(self, path: str, timeout: float = 10.0) -> Duplex:
        """Connect to a Unix socket there. Raises `GuestUnreachable` when nothing answers."""
        ...

    async def close(self) -> None: ...


class _Reads(Protocol):
    async def read(self, n: int = -1, /) -> bytes: ...


class _Writes(Protocol):
    def write(self, data: bytes, /) -> None: ...
    def write_eof(self) -> None: ...
    async def drain(self) -> None: ...
    def close(self) -> None: ...


class Streams:
    """A `Duplex` over a reader and a writer. `broken`: what their methods raise when the connection is gone; `where`: for errors;
    `on_end`: called once when closed."""

    def __init__(
        self, reader: _Reads, writer: _Writes, where: str, broken: tuple[type[Exception], ...], on_end: Callable[[], None] | None = None
    ) -> None:
        self._reader, self._writer, self._where, self._broken, self._on_end = reader, writer, where, broken, on_end

    async def read(self, limit: int = _CHUNK) -> bytes:
        try:
            return await self._reader.read(limit)
        except self._broken as error:
            raise GuestUnreachable("the connection broke while reading", self._where, type(error).__name__) from error

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except self._broken as error:
            raise GuestUnreachable("the connection broke while writing", self._where, type(error).__name__) from error

    async def close(self) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()
        with suppress(*self._broken):  # closing what is broken has nothing to tell
            self._writer.close()


class TooMuchOutput(Exception):
    """A script wrote more than it may."""


async def talk(
    stdin: bytes, writer: _Writes, stdout: _Reads, stderr: _Reads, limit: int, broken: tuple[type[Exception], ...]
) -> tuple[bytes, bytes]:
    """Feed a process and read both its outputs at the same time, so that none of the three pipes can block another.

    Raises `TooMuchOutput`, or what the streams raise on reading."""

    async def feed() -> bytes:
        # A script need not read its input to the end; how it ended tells whether that was right.
        with suppress(*broken):
            for start in range(0, len(stdin), _CHUNK):
                writer.write(stdin[start : start + _CHUNK])
                await writer.drain()
            writer.write_eof()
        return b""

    _, out, err = await together(feed(), _drained(stdout, limit), _drained(stderr, limit))
    return out, err


async def together(*coroutines: Coroutine[Any, Any, bytes]) -> list[bytes]:
    """All results, or the first exception; none of them outlives this call."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _drained(reader: _Reads, limit: int) -> bytes:
    content = bytearray()
    while chunk := await reader.read(_CHUNK):
        content += chunk
        if len(content) > limit:
            raise TooMuchOutput
    return bytes(content)


def checked_socket(path: str) -> str:
    """A path that fits a socket address. Raises `GuestFailed`, because a longer one fails everywhere and for ever."""
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES or "\0" in path:
        raise GuestFailed("the path of a Unix socket is too long", path, f"keep it under {_SOCKET_PATH_BYTES + 1} bytes")
    return path


class LocalTransport:
    """This host as a machine. `env`: the whole environment of scripts, None passes on the harmless part of ours; `cwd`: where they
    start."""

    def __init__(self, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        self._env = dict(env) if env is not None else {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._cwd = cwd
        self._callbacks: list[Callable[[], None]] = []
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def on_close(self, callback: Callable[[], None]) -> None:
        if self._closed:
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._callbacks.append(callback)

    async def run(self, script: FixedScript, stdin: bytes = b"", timeout: float = 30.0, limit: int = OUTPUT_LIMIT) -> RunResult:
        self._must_be_open()
        loop = asyncio.get_running_loop()
        try:
            # The two steps of create_subprocess_exec, because only the transport can let go of pipes that others hold open.
            pipes, protocol = await children.start_with(
                lambda: asyncio.subprocess.SubprocessStreamProtocol(limit=_CHUNK, loop=loop),
                ("/bin/sh", "-c", script),
                self._env,
                self._cwd,
            )
        except OSError as error:
            raise GuestUnreachable("a script can't be started on this host", str(self._cwd or ""), error.strerror or "") from error
        process = asyncio.subprocess.Process(pipes, protocol, loop)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(timeout):
                out, err = await talk(stdin, process.stdin, process.stdout, process.stderr, limit, (OSError,))
                return RunResult(await process.wait(), out, err)
        except TimeoutError:
            raise GuestUnreachable(f"a script did not end within {timeout:g} s", "this host") from None
        except TooMuchOutput:
            raise GuestFailed(f"a script wrote more than {limit} bytes", "this host") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            pipes.close()
            await process.wait()

    async def open_unix(self, path: str, timeout: float = 10.0) -> Duplex:
        self._must_be_open()
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_unix_connection(checked_socket(path))
        except OSError as error:  # a TimeoutError is one
            raise GuestUnreachable("nothing answers at the socket", path, error.strerror or "is the keeper up?") from error
        return Streams(reader, writer, path, (OSError,))

    async def close(self) -> None:
        self._closed = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def _must_be_open(self) -> None:
        if self._closed:
            raise GuestUnreachable("this connection is closed", "this host")
