"""The front of all VMs: TLS on one port, the VM chosen by the first label of the SNI name, SSH inside (vers-api §4)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
import weakref
from typing import cast

import asyncssh

from reconciler.vers.simulator import certs, limits
from reconciler.vers.simulator.faults import FaultPlan
from reconciler.vers.simulator.guests import Guests
from reconciler.vers.simulator.guestsftp import GuestFiles
from reconciler.vers.simulator.guestssh import GuestServer, serve_command
from reconciler.vers.simulator.records import Vm
from reconciler.vers.simulator.wire import is_uuid
from reconciler.vers.simulator.world import World

log = logging.getLogger(__name__)

_CHUNK = 64 * 1024


class Gateway:
    """Connections of a suspended VM stand still; new ones hang or are refused as the knob says. Faults of operation `ssh` count
    connections. `served` counts those that reached a guest, `failures` those that broke in a way nobody asked for."""

    def __init__(self, world: World, guests: Guests, faults: FaultPlan) -> None:
        self._world = world
        self._guests = guests
        self._faults = faults
        self._names: weakref.WeakKeyDictionary[ssl.SSLObject, str] = weakref.WeakKeyDictionary()
        self._flows: dict[str, asyncio.Event] = {}
        self._connections: dict[str, set[asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.served = 0
        self.failures = 0

    async def start(self, host: str, port: int, context: ssl.SSLContext) -> int:
        """Listen; returns the port. Raises `OSError` when the address can't be had."""

        def named(sslobj: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
            self._names[cast(ssl.SSLObject, sslobj)] = name or ""

        context.sni_callback = named
        self._server = await asyncio.start_server(self._accept, host, port, ssl=context, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- told by the machines ------------------------------------------------------------------------------------------------

    def freeze(self, vm_id: str) -> None:
        self._flow(vm_id).clear()

    def thaw(self, vm_id: str) -> None:
        self._flow(vm_id).set()

    def drop(self, vm_id: str) -> None:
        for known, tasks in self._connections.items():
            if vm_id in ("", known):
                for task in list(tasks):
                    task.cancel()

    def _flow(self, vm_id: str) -> asyncio.Event:
        flow = self._flows.get(vm_id)
        if flow is None:
            flow = self._flows[vm_id] = asyncio.Event()
            flow.set()
        return flow

    # --- connections -----------------------------------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= limits.CONNECTIONS:
            _break(writer)
            return
        task = asyncio.create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            vm = self._wanted(writer)
            if vm is not None and await self._admitted(vm, reader):
                await self._serve(vm, reader, writer)
                writer.close()
                await writer.wait_closed()
        except (OSError, asyncssh.Error) as exc:
            self.failures += 1
            log.info("an SSH connection ended: %s", exc)
        finally:
            _break(writer)

    def _wanted(self, writer: asyncio.StreamWriter) -> Vm | None:
        """The VM that the SNI name asks for; full ids only."""
        name = self._names.get(writer.get_extra_info("ssl_object"), "")
        vm_id = name.split(".")[0].lower()
        vm = self._world.present.get(vm_id) if is_uuid(vm_id) else None
        if vm is None or vm.owner != self._world.account.key_id or not vm.exists(self._world.clock()):
            return None
        return vm

    async def _admitted(self, vm: Vm, reader: asyncio.StreamReader) -> bool:
        fault = self._faults.strike("ssh")
        if fault is not None and fault.kind == "hang":
            await reader.read()
            return False
        if fault is not None and fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        elif fault is not None:
            return False
        if vm.suspended and self._world.knobs.ssh_while_suspended == "hang":
            await self._flow(vm.id).wait()
        return vm.phase == "running" and vm.exists(self._world.clock()) and vm.ssh_at <= self._world.clock()

    async def _serve(self, vm: Vm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The SSH server talks to one end of a socket pair; what goes between the other end and the client can be stopped."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.setdefault(vm.id, set()).add(task)
        self.served += 1
        here, there = socket.socketpair()
        limit = self._world.knobs.ssh_drop_after_s
        serving = asyncio.create_task(self._ssh(vm, there))
        try:
            inner_reader, inner_writer = await asyncio.open_connection(sock=here)
            flow = self._flow(vm.id)
            pumps = {
                asyncio.create_task(_pump(reader, inner_writer, flow)),
                asyncio.create_task(_pump(inner_reader, writer, flow)),
            }
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED, timeout=limit or None)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                inner_writer.close()
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            self._connections[vm.id].discard(task)
            if not self._connections[vm.id]:
                del self._connections[vm.id]

    async def _ssh(self, vm: Vm, sock: socket.socket) -> None:
        seed = bytes.fromhex(vm.key_seed)
        host_key = asyncssh.import_private_key(certs.private_key(certs.host_key_seed(seed)))

        async def command(process: asyncssh.SSHServerProcess[bytes]) -> None:
            await serve_command(self._guests, vm.id, process)

        try:
            connection = await asyncssh.run_server(
                sock,
                server_factory=lambda: GuestServer(self._guests, vm.id, seed),
                server_host_keys=[host_key],
                process_factory=command,
                encoding=None,
                line_editor=False,
                sftp_factory=lambda channel: GuestFiles(channel, self._guests, vm.id),
                agent_forwarding=False,
                x11_forwarding=False,
                compression_algs=None,
                login_timeout=60,
            )
        except (OSError, asyncssh.Error) as exc:  # a client that left early, or brought the wrong key
            log.info("SSH to %s was not established: %s", vm.id, exc)
            return
        try:
            await connection.wait_closed()
        finally:
            connection.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            await flow.wait()
            writer.write(data)
            await writer.drain()


def _break(writer: asyncio.StreamWriter) -> None:
    """Close at once, by a TCP reset; what is not sent is lost. A connection that is closed already stays so."""
    if writer.is_closing():
        return
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
