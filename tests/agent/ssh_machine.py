"""A machine as the platform shows it: a TLS front that routes by server name, an SSH server behind it, `sh` and Unix sockets inside."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from reconciler.errors import ReconcilerError

VM = "11111111-2222-4333-8444-555555555555"
DOMAIN = "vm.example.test"


@dataclass(frozen=True)
class Address:
    sni: str
    host: str
    port: int
    ca: str = ""


class Door(asyncssh.SSHServer):
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._machine.connections.append(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._machine.lost += 1

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._machine.logins.append(username)
        return username == "root" and key.public_data == self._machine.accepted.public_data

    def unix_connection_requested(self, dest_path: str) -> bool:
        return True


@dataclass
class Machine:
    """The front's address, the SSH server's records, and the platform's side of access: endpoint and key."""

    accepted: asyncssh.SSHKey
    handed_out: asyncssh.SSHKey
    ca_file: Path
    port: int = 0
    snis: list[str | None] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    keys_asked: int = 0
    lost: int = 0
    killed: int = 0
    verify: bool = False
    domain: str = DOMAIN
    key_trouble: ReconcilerError | None = None
    key_text: str | None = field(default=None, repr=False)

    def endpoint(self, vm_id: str) -> Address:
        return Address(f"{vm_id}.{self.domain}", "127.0.0.1", self.port, str(self.ca_file) if self.verify else "")

    async def ssh_key(self, vm_id: str) -> SecretStr:
        self.keys_asked += 1
        if self.key_trouble is not None:
            raise self.key_trouble
        return SecretStr(self.key_text or self.handed_out.export_private_key().decode())

    def replace_key(self) -> None:
        """As when a VM is restored: only a new key is good."""
        self.accepted = self.handed_out = asyncssh.generate_private_key("ssh-ed25519")

    def drop(self) -> None:
        """Cut every connection, as a platform's hiccup does."""
        for connection in self.connections:
            connection.abort()
        self.connections.clear()

    async def serve_process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or ""
        self.commands.append(command)
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_shell(
            command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, cwd=self.ca_file.parent
        )
        ended = asyncio.ensure_future(child.wait())
        left = asyncio.ensure_future(process.channel.wait_closed())
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stderr is not None
            feeding = asyncio.ensure_future(copy(process.stdin, child.stdin))
            telling = asyncio.gather(copy(child.stdout, process.stdout, end=False), copy(child.stderr, process.stderr, end=False))
            await asyncio.wait((ended, left), return_when=asyncio.FIRST_COMPLETED)
            feeding.cancel()
            if ended.done() and child.returncode is not None:
                await telling
                if child.returncode < 0:
                    process.exit_with_signal("KILL")
                else:
                    process.exit(child.returncode)
        finally:
            left.cancel()
            if child.returncode is None:
                self.killed += 1
                os.killpg(child.pid, signal.SIGKILL)
            child._transport.close()  # type: ignore[attr-defined]  # else its unread pipes keep the end from being seen
            await ended


async def copy(source: Any, sink: Any, *, end: bool = True) -> None:
    """All bytes of one stream into another."""
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        if end:
            sink.write_eof()
    except (OSError, asyncssh.Error):
        pass  # the other side left


def certificate(folder: Path) -> ssl.SSLContext:
    """A self-signed certificate for *.DOMAIN; `ca.pem` in `folder` verifies it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"*.{DOMAIN}")])
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*.{DOMAIN}")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "ca.pem", folder / "front.key"
    pem.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    return context


@asynccontextmanager
async def machine(folder: Path, **server_options: object) -> AsyncIterator[Machine]:
    """Serve one machine on free ports of loopback."""
    context = certificate(folder)
    key = asyncssh.generate_private_key("ssh-ed25519")
    it = Machine(key, key, folder / "ca.pem")

    def remember(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        it.snis.append(name)

    context.sni_callback = remember
    ssh = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=lambda: Door(it),
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        process_factory=it.serve_process,
        encoding=None,
        **server_options,
    )
    ssh_port = ssh.sockets[0].getsockname()[1]
    pumps: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", ssh_port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            except ConnectionError:
                pass
            finally:
                sink.close()

        for task in (asyncio.create_task(pump(reader, inner_writer)), asyncio.create_task(pump(inner_reader, writer))):
            pumps.add(task)
            task.add_done_callback(pumps.discard)

    front = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    it.port = front.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        front.close()
        ssh.close()
        it.drop()
        for task in list(pumps):
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await ssh.wait_closed()
