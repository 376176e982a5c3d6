"""Machines over SSH inside TLS (vers-api §4): `SshTransport` is one connection, `SshPool` keeps one a VM.

The platform's front routes by the TLS server name `{vm_id}.DOMAIN`; what runs inside is plain SSH, user `root`, with the key
the API hands out. Host keys are not checked: a branched VM shares its parent's, the front's certificate can be (RECONCILER_VM_CA).
"""

from __future__ import annotations

import asyncio
import os
import shlex
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import asyncssh
from pydantic import SecretStr

from reconciler.agent.transport import (
    OUTPUT_LIMIT,
    Duplex,
    FixedScript,
    RunResult,
    Streams,
    TooMuchOutput,
    checked_socket,
    talk,
)
from reconciler.errors import GuestFailed, GuestUnreachable, ReconcilerError

_BROKEN: Final = (OSError, asyncssh.Error)
_SESSIONS: Final = 8  # sshd allows 10 (MaxSessions); forwarded sockets don't count
_TLS_BUFFER: Final = 16 << 10
# Fast ones first (`^`), a connect in two thirds of the time and less; the library's defaults follow as fall-back.
_KEX: Final = "^curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256"
_CIPHERS: Final = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
_HOST_KEYS: Final = "^ssh-ed25519,ecdsa-sha2-nistp256"


class Endpoint(Protocol):
    """How one VM is dialled: TCP to `host`:`port`, TLS with server name `sni`, verified against the PEM file `ca` unless ''."""

    @property
    def sni(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def ca(self) -> str: ...


class Access(Protocol):
    """Where keys and addresses come from (the Vers client)."""

    def endpoint(self, vm_id: str) -> Endpoint: ...

    async def ssh_key(self, vm_id: str) -> SecretStr: ...


@dataclass(frozen=True, slots=True)
class SshOptions:
    """Seconds. `connect`: all of TCP, TLS, key exchange and login. A connection whose peer is silent for
    `keepalive` × (`keepalive_count` + 1) is gone. One unused for `idle` is closed."""

    connect: float = 15.0
    keepalive: float = 5.0
    keepalive_count: int = 2
    idle: float = 300.0
    openings: int = 16  # at once, each for as long as `opening_slot`
    opening_slot: float = 2.0


class SshTransport:
    """One SSH connection; implements `reconciler.agent.transport.Transport`."""

    def __init__(self, connection: asyncssh.SSHClientConnection, vm_id: str, watch: _Watch, idle: float) -> None:
        self._connection = connection
        self._vm_id = vm_id
        self._watch = watch
        self._sessions = asyncio.Semaphore(_SESSIONS)
        self._users = 0
        self._idle = idle
        self._timer: asyncio.TimerHandle | None = None
        watch.on_close(self._stop_timer)
        self.touch()

    @property
    def closed(self) -> bool:
        return self._watch.lost

    def on_close(self, callback: Callable[[], None]) -> None:
        self._watch.on_close(callback)

    async def run(self, script: FixedScript, stdin: bytes = b"", timeout: float = 30.0, limit: int = OUTPUT_LIMIT) -> RunResult:
        self._use(1)
        try:
            async with asyncio.timeout(timeout), self._sessions:
                return await self._run(script, stdin, limit)
        except TimeoutError:
            raise GuestUnreachable(f"a script did not end within {timeout:g} s", self._vm_id) from None
        except TooMuchOutput:
            raise GuestFailed(f"a script wrote more than {limit} bytes", self._vm_id) from None
        except _BROKEN as error:
            raise GuestUnreachable("the connection broke while a script ran", self._vm_id, _why(error)) from error
        finally:
            self._use(-1)

    async def open_unix(self, path: str, timeout: float = 10.0) -> Duplex:
        checked_socket(path)
        where = f"{self._vm_id}:{path}"
        opened = False
        self._use(1)
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await self._connection.open_unix_connection(path)
            opened = True
        except _BROKEN as error:  # a TimeoutError is one
            raise GuestUnreachable("nothing answers at the socket", where, _why(error)) from error
        finally:
            if not opened:
                self._use(-1)
        return Streams(reader, writer, where, _BROKEN, lambda: self._use(-1))

    async def close(self) -> None:
        """Orderly, at most a second; then by force."""
        self._connection.close()
        try:
            async with asyncio.timeout(1.0):
                await self._connection.wait_closed()
        except TimeoutError:
            self._connection.abort()

    def abort(self) -> None:
        """At once, nothing is said to the other side."""
        self._connection.abort()

    def touch(self) -> None:
        """Used just now: the idle time starts again."""
        self._stop_timer()
        if not self.closed and not self._users:
            self._timer = asyncio.get_running_loop().call_later(self._idle, self._connection.close)

    async def _run(self, script: FixedScript, stdin: bytes, limit: int) -> RunResult:
        # The login shell may be any; a quoted constant to sh means the same in all of them.
        command = f"exec /bin/sh -c {shlex.quote(script)}"
        writer, stdout, stderr = await self._connection.open_session(command, encoding=None)
        channel = cast("asyncssh.SSHClientChannel[bytes]", writer.channel)
        try:
            out, err = await talk(stdin, writer, stdout, stderr, limit, _BROKEN)
            await channel.wait_closed()
            code = channel.get_returncode()
            if code is None:
                raise GuestUnreachable("the connection ended before the script did", self._vm_id)
            return RunResult(code, out, err)
        finally:
            if not channel.is_closing():
                with suppress(*_BROKEN):  # gone already
                    channel.kill()
                channel.abort()

    def _use(self, change: int) -> None:
        self._users += change
        self.touch()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Watch(asyncssh.SSHClient):
    """Learns that the connection is gone, however it went."""

    def __init__(self) -> None:
        self.lost = False
        self._callbacks: list[Callable[[], None]] = []

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        callbacks, self._callbacks = self._callbacks, []
        loop = asyncio.get_running_loop()
        for callback in callbacks:
            loop.call_soon(callback)  # each on its own, so that one that fails keeps no other from hearing

    def on_close(self, callback: Callable[[], None]) -> None:
        if self.lost:
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._callbacks.append(callback)


class _TlsTunnel:
    """What the SSH library dials through: TCP to the endpoint, TLS with its server name."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext) -> None:
        self._endpoint, self._context = endpoint, context

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        end = self._endpoint
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(factory, end.host, end.port, ssl=self._context, server_hostname=end.sni)
        _slim(transport)
        return transport, protocol


def _slim(transport: asyncio.BaseTransport) -> None:
    """Give the TLS layer a read buffer of one record instead of 256 KiB, at a thousand machines 240 MiB less.

    There is no public way; where the interpreter's layer is built otherwise, nothing happens."""
    layer: Any = getattr(transport, "_ssl_protocol", None)
    if isinstance(getattr(layer, "_ssl_buffer", None), bytearray) and isinstance(getattr(layer, "_ssl_buffer_view", None), memoryview):
        layer.max_size = _TLS_BUFFER
        layer._ssl_buffer = bytearray(_TLS_BUFFER)
        layer._ssl_buffer_view = memoryview(layer._ssl_buffer)


class SshPool:
    """One kept connection a VM, opened on demand and by one at a time, closed by `release`, by idleness, or with the pool."""

    def __init__(self, access: Access, options: SshOptions | None = None) -> None:
        self._access = access
        self._options = options if options is not None else SshOptions()
        self._open: dict[str, SshTransport] = {}
        self._opening: dict[str, asyncio.Task[SshTransport]] = {}
        self._keys: dict[str, asyncssh.SSHKey] = {}
        self._contexts: dict[str, tuple[int, ssl.SSLContext]] = {}
        self._slots = asyncio.Semaphore(self._options.openings)
        self._closed = False

    async def get(self, vm_id: str) -> SshTransport:
        """The connection to this VM, opened when there is none. Raises `GuestUnreachable`."""
        transport = self._open.get(vm_id)
        if transport is not None and not transport.closed:
            transport.touch()
            return transport
        if self._closed:
            raise GuestUnreachable("the connections are closed", vm_id)
        task = self._opening.get(vm_id)
        if task is None:
            task = asyncio.create_task(self._connect(vm_id))
            self._opening[vm_id] = task
            task.add_done_callback(lambda done: self._opened(vm_id, done))
        try:
            # Shielded: whoever stops waiting does not take the connection away from the others.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # released meanwhile, not this caller
                raise GuestUnreachable("the connection was released while it was opened", vm_id) from None
            raise

    def peek(self, vm_id: str) -> SshTransport | None:
        """The connection that there is, None when there is none now."""
        transport = self._open.get(vm_id)
        return transport if transport is not None and not transport.closed else None

    async def release(self, vm_id: str) -> None:
        """Close the connection to this VM and forget its key."""
        self._keys.pop(vm_id, None)
        opening = self._opening.pop(vm_id, None)
        if opening is not None:
            opening.cancel()
        transport = self._open.pop(vm_id, None)
        if transport is not None:
            await transport.close()

    async def aclose(self) -> None:
        self._closed = True
        await asyncio.gather(*(self.release(vm_id) for vm_id in {*self._open, *self._opening}))

    def _opened(self, vm_id: str, task: asyncio.Task[SshTransport]) -> None:
        wanted = self._opening.get(vm_id) is task
        if wanted:
            del self._opening[vm_id]
        if task.cancelled() or task.exception() is not None:
            return  # whoever waits is told; when nobody does, nobody asked
        transport = task.result()
        if not wanted:  # released in the moment it opened
            transport.abort()
            return
        self._open[vm_id] = transport
        transport.on_close(lambda: self._gone(vm_id, transport))

    def _gone(self, vm_id: str, transport: SshTransport) -> None:
        if self._open.get(vm_id) is transport:
            del self._open[vm_id]

    async def _connect(self, vm_id: str) -> SshTransport:
        known = self._keys.get(vm_id)
        try:
            return await self._dial(vm_id, known if known is not None else await self._key(vm_id))
        except asyncssh.PermissionDenied as error:
            if known is None:
                raise GuestUnreachable("the VM refused the key the platform gave", vm_id, _why(error)) from None
        # The key kept from before is no longer good; one fresh key, once.
        try:
            return await self._dial(vm_id, await self._key(vm_id))
        except asyncssh.PermissionDenied as error:
            raise GuestUnreachable("the VM refused the key the platform gave", vm_id, _why(error)) from None

    async def _key(self, vm_id: str) -> asyncssh.SSHKey:
        self._keys.pop(vm_id, None)
        try:
            secret = await self._access.ssh_key(vm_id)
        except ReconcilerError as error:
            raise GuestUnreachable(f"no SSH key for the VM: {error.what}", vm_id, error.remedy) from error
        try:
            key = asyncssh.import_private_key(secret.get_secret_value())
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
            raise GuestUnreachable("the platform's SSH key for the VM can't be read", vm_id) from None
        self._keys[vm_id] = key
        return key

    async def _dial(self, vm_id: str, key: asyncssh.SSHKey) -> SshTransport:
        """One attempt. Raises `asyncssh.PermissionDenied` for a refused key, `GuestUnreachable` for everything else."""
        options = self._options
        watch = _Watch()
        try:
            end = self._access.endpoint(vm_id)
            tunnel = _TlsTunnel(end, self._context(end.ca))
            async with asyncio.timeout(options.connect):
                release = await self._slot()
                try:
                    connection = await asyncssh.connect(
                        end.sni,
                        443,
                        tunnel=tunnel,
                        client_factory=lambda: watch,
                        username="root",
                        client_keys=[key],
                        preferred_auth="publickey",
                        agent_path=None,
                        known_hosts=None,
                        config=None,
                        kex_algs=_KEX,
                        encryption_algs=_CIPHERS,
                        server_host_key_algs=_HOST_KEYS,
                        compression_algs=None,
                        gss_kex=False,
                        gss_auth=False,
                        keepalive_interval=options.keepalive,
                        keepalive_count_max=options.keepalive_count,
                        login_timeout=options.connect,
                    )
                finally:
                    release()
        except asyncssh.PermissionDenied:
            raise
        except TimeoutError:
            raise GuestUnreachable(f"the VM did not answer within {options.connect:g} s", vm_id) from None
        except ReconcilerError as error:
            raise GuestUnreachable(error.what, error.where, error.remedy) from error
        except (*_BROKEN, ValueError) as error:
            raise GuestUnreachable("the VM can't be reached by SSH", vm_id, _why(error)) from error
        return SshTransport(connection, vm_id, watch, options.idle)

    async def _slot(self) -> Callable[[], None]:
        """Wait for leave to open a connection; the result gives it back. It is given back by itself after `opening_slot` seconds:
        the limit is there to spread the work of handshakes, and machines that don't answer make no work."""
        await self._slots.acquire()
        pending = [self._slots.release]

        def release() -> None:
            timer.cancel()
            if pending:
                pending.pop()()

        timer = asyncio.get_running_loop().call_later(self._options.opening_slot, release)
        return release

    def _context(self, ca: str) -> ssl.SSLContext:
        """TLS as the front needs it; its certificate is verified only against a given CA (vers-api §4: nobody does upstream), read
        again when its file changed. Raises `OSError` when it can't be read."""
        version = os.stat(ca).st_mtime_ns if ca else 0
        known = self._contexts.get(ca)
        if known is not None and known[0] == version:
            return known[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if ca:
            context.load_verify_locations(cafile=ca)
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._contexts[ca] = (version, context)
        return context


def _why(error: Exception) -> str:
    """One line of what the library said: it names addresses and protocol steps, never keys or data."""
    said: Any = getattr(error, "reason", "") or getattr(error, "strerror", "") or ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
