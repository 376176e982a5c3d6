"""sshd of one guest: user root, the VM's own key, commands and Unix sockets inside the guest (vers-api §4)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable
from typing import cast

import asyncssh

from reconciler.children import Child
from reconciler.vers.simulator import certs, limits, rooted
from reconciler.vers.simulator.guests import GuestError, Guests

log = logging.getLogger(__name__)

_CHUNK = 64 * 1024
_SIGNALS = {name: signal.Signals[f"SIG{name}"] for name in ("ABRT", "ALRM", "HUP", "INT", "KILL", "PIPE", "QUIT", "TERM", "USR1", "USR2")}


class GuestServer(asyncssh.SSHServer):
    """One connection. Only root with the VM's key gets in; Unix sockets and TCP connections are forwarded from the client's side."""

    def __init__(self, guests: Guests, vm_id: str, seed: bytes) -> None:
        self._guests = guests
        self._vm_id = vm_id
        self._expected = asyncssh.import_public_key(certs.public_key(seed))
        self._conn: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._conn = conn

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == "root" and bool(key.public_data == self._expected.public_data)

    def unix_connection_requested(self, dest_path: str) -> Awaitable[asyncssh.SSHUNIXSession[bytes]]:
        return self._forward(dest_path)

    async def _forward(self, dest_path: str) -> asyncssh.SSHUNIXSession[bytes]:
        """The directory is opened first: a socket's own path may be at most 107 bytes, and the guest's is long on the host."""
        assert self._conn is not None
        try:
            guests = self._guests
            with rooted.at(guests.root(self._vm_id), guests.below(self._vm_id, dest_path)) as spot:
                async with asyncio.timeout(limits.CONNECT_S):
                    forwarder = await self._conn.forward_unix_connection(f"/proc/self/fd/{spot.parent}/{spot.name}")
                return cast(asyncssh.SSHUNIXSession[bytes], forwarder)
        except (OSError, UnicodeError, GuestError) as exc:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(exc)) from exc

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Awaitable[asyncssh.SSHTCPSession[bytes]]:
        return self._tunnel(dest_host, dest_port)

    async def _tunnel(self, host: str, port: int) -> asyncssh.SSHTCPSession[bytes]:
        """To where the guest could connect: it has this host's network."""
        assert self._conn is not None
        try:
            async with asyncio.timeout(limits.CONNECT_S):
                forwarder = await self._conn.forward_connection("127.0.0.1" if host == self._vm_id else host, port)
            return cast(asyncssh.SSHTCPSession[bytes], forwarder)
        except (OSError, UnicodeError, ValueError, OverflowError) as exc:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(exc) or "no answer") from exc


async def serve_command(guests: Guests, vm_id: str, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """What sshd does with an exec or shell request: the user's shell runs the string, its streams are the channel's.

    The channel ends when the command has ended and nobody holds its output any more. A channel closed before that hangs the
    command's process group up (SIGHUP), which what was detached by setsid does not see."""
    if process.subsystem is not None:
        process.exit(127)
        return
    argv = ["/bin/sh", "-c", process.command] if process.command is not None else ["/bin/sh", "-l"]
    env = {name: value for name, value in process.env.items() if name == "LANG" or name.startswith("LC_")}
    try:
        child = await guests.spawn(vm_id, argv, env, "/root")
    except GuestError as exc:
        process.stderr.write(f"{exc}\n".encode())
        process.exit(255)
        return
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    feeding = asyncio.create_task(_feed(process, child, child.stdin))
    outputs = [
        asyncio.create_task(_copy(child.stdout, process.stdout)),
        asyncio.create_task(_copy(child.stderr, process.stderr)),
    ]
    ended = asyncio.create_task(_end(child, outputs))
    closed = asyncio.create_task(process.wait_closed())
    await asyncio.wait({ended, closed}, return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        code = child.returncode
        assert code is not None
        if code < 0:
            process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            process.exit(code)
    elif child.returncode is None:
        _signal(child.pid, signal.SIGHUP)
    feeding.cancel()
    child.stdin.close()
    # output nobody reads is read to its end, or the command would stand still
    await asyncio.gather(feeding, ended, closed, return_exceptions=True)


async def _end(child: Child, outputs: list[asyncio.Task[None]]) -> None:
    await child.wait()
    await asyncio.gather(*outputs)


async def _feed(process: asyncssh.SSHServerProcess[bytes], child: Child, stdin: asyncio.StreamWriter) -> None:
    while True:
        try:
            data = await process.stdin.read(_CHUNK)
        except asyncssh.SignalReceived as exc:
            if (number := _SIGNALS.get(exc.signal)) is not None:
                _signal(child.pid, number)
            continue
        except asyncssh.BreakReceived:
            _signal(child.pid, signal.SIGINT)
            continue
        except asyncssh.TerminalSizeChanged:
            continue
        if not data:
            break
        try:
            stdin.write(data)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            break
    stdin.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncssh.SSHWriter[bytes]) -> None:
    listening = True
    while data := await reader.read(_CHUNK):
        if listening:
            try:
                writer.write(data)
                await writer.drain()
            except (OSError, asyncssh.Error):
                listening = False


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
