"""SSH inside TLS against a real SSH server behind a TLS front, and this host as a machine. Both keep the same promises."""

from __future__ import annotations

import ast
import asyncio
import logging
import os
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest
from ssh_machine import VM, Machine, certificate, machine

import reconciler
from reconciler.agent.ssh import SshOptions, SshPool, SshTransport
from reconciler.agent.transport import FixedScript, LocalTransport, Transport
from reconciler.errors import GuestFailed, GuestUnreachable, Unauthorized

QUICK = SshOptions(connect=10.0, keepalive=5.0)
HOSTILE = "'; touch pwned; \" $(touch pwned) `touch pwned` \\ \n-rf\n\x00\xff || exit 7 é\r\n".encode()


@asynccontextmanager
async def pooled(it: Machine, options: SshOptions = QUICK) -> AsyncIterator[SshPool]:
    pool = SshPool(it, options)
    try:
        yield pool
    finally:
        await pool.aclose()


@pytest.fixture(params=["ssh", "local"])
async def transport(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Transport]:
    """Both kinds of transport, for what both promise."""
    if request.param == "local":
        yield LocalTransport(cwd=tmp_path)
        return
    async with machine(tmp_path) as it, pooled(it) as pool:
        yield await pool.get(VM)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - conditions of sockets and processes have no event to wait for
            await asyncio.sleep(0.005)


# --- what both transports promise ----------------------------------------------------------------------------------------------


async def test_a_script_has_an_exit_code_and_two_outputs(transport: Transport) -> None:
    result = await transport.run(FixedScript("cat; echo oops >&2; exit 3"), b"hello")
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"hello", b"oops\n")


@pytest.mark.guarantee("G-61")
async def test_arguments_arrive_as_data_whatever_they_are(transport: Transport, tmp_path: Path) -> None:
    result = await transport.run(FixedScript("""printf 'it'"'"'s "'; cat"""), HOSTILE)
    assert (result.exit_code, result.stdout) == (0, b"it's \"" + HOSTILE)
    assert not (tmp_path / "pwned").exists()


async def test_megabytes_go_both_ways_at_once(transport: Transport) -> None:
    data = os.urandom(1 << 20) * 6
    result = await transport.run(FixedScript("tee /dev/stderr"), data)
    assert result.exit_code == 0
    assert result.stdout == data
    assert result.stderr == data


async def test_input_nobody_reads_harms_nothing(transport: Transport) -> None:
    result = await transport.run(FixedScript("echo done; exit 5"), bytes(8 << 20))
    assert (result.exit_code, result.stdout) == (5, b"done\n")


async def test_a_script_ended_by_a_signal_says_so(transport: Transport) -> None:
    assert (await transport.run(FixedScript("kill -9 $$"))).exit_code == -9


@pytest.mark.guarantee("G-65")
async def test_endless_output_is_cut_off(transport: Transport) -> None:
    with pytest.raises(GuestFailed, match="more than 100000 bytes"):
        await transport.run(FixedScript("yes"), limit=100_000)
    assert (await transport.run(FixedScript("echo alive"))).stdout == b"alive\n"


async def test_a_script_that_does_not_end_is_given_up(transport: Transport) -> None:
    with pytest.raises(GuestUnreachable, match=r"within 0\.2 s"):
        await transport.run(FixedScript("sleep 600"), timeout=0.2)
    assert (await transport.run(FixedScript("echo alive"))).stdout == b"alive\n"


async def test_many_scripts_at_once(transport: Transport) -> None:
    results = await asyncio.gather(*(transport.run(FixedScript("cat"), b"%d" % i) for i in range(25)))
    assert [r.stdout for r in results] == [b"%d" % i for i in range(25)]


async def test_a_unix_socket_is_a_pipe_without_lines(transport: Transport, tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    path = str(tmp_path / "k")
    data = os.urandom(1 << 20) * 3  # one "line" longer than any stream limit
    server = await asyncio.start_unix_server(echo, path)
    duplex = await transport.open_unix(path)

    async def read_all() -> bytes:
        got = bytearray()
        while len(got) < len(data):
            got += await duplex.read()
        return bytes(got)

    _, got = await asyncio.gather(duplex.write(data), read_all())
    assert got == data
    await duplex.close()
    server.close()


async def test_the_end_of_a_socket_is_seen(transport: Transport, tmp_path: Path) -> None:
    async def bye(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.close()

    server = await asyncio.start_unix_server(bye, str(tmp_path / "k"))
    duplex = await transport.open_unix(str(tmp_path / "k"))
    got = b""
    while chunk := await duplex.read():
        got += chunk
    assert got == b"bye"
    await duplex.close()
    server.close()


async def test_a_socket_nobody_serves_is_unreachable(transport: Transport, tmp_path: Path) -> None:
    with pytest.raises(GuestUnreachable, match="nothing answers"):
        await transport.open_unix(str(tmp_path / "missing"))
    with pytest.raises(GuestFailed, match="too long"):
        await transport.open_unix("/" + "x" * 107)


async def test_closing_is_heard_and_final(transport: Transport) -> None:
    heard: list[str] = []
    transport.on_close(lambda: heard.append("before"))
    await transport.close()
    await until(lambda: transport.closed)
    transport.on_close(lambda: heard.append("after"))
    await until(lambda: heard == ["before", "after"])
    with pytest.raises(GuestUnreachable):
        await transport.run(FixedScript("true"))
    with pytest.raises(GuestUnreachable):
        await transport.open_unix("/tmp/any")


@pytest.mark.guarantee("G-60")
async def test_a_script_on_this_host_sees_nothing_of_our_environment_that_could_be_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERS_API_KEY", "canary")
    monkeypatch.setenv("RECONCILER_SECRET_A_B", "canary")
    result = await LocalTransport().run(FixedScript("env"))
    assert b"PATH=" in result.stdout
    assert b"canary" not in result.stdout


async def test_what_a_given_up_script_started_on_this_host_ends_with_it(tmp_path: Path) -> None:
    transport = LocalTransport(cwd=tmp_path)
    with pytest.raises(GuestUnreachable):
        await transport.run(FixedScript("sleep 600 & echo $! > child; wait"), timeout=0.5)
    child = int((tmp_path / "child").read_text())

    def ended() -> bool:
        try:
            return Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            return True

    await until(ended)


# --- how machines are reached ----------------------------------------------------------------------------------------------------


async def test_one_connection_is_kept_and_routed_by_its_server_name(tmp_path: Path) -> None:
    async with machine(tmp_path) as it, pooled(it) as pool:
        transports = await asyncio.gather(*(pool.get(VM) for _ in range(10)))
        assert len(set(map(id, transports))) == 1
        await transports[0].run(FixedScript("true"))
        assert await pool.get(VM) is transports[0]
        assert pool.peek(VM) is transports[0]
        assert it.snis == [f"{VM}.vm.example.test"]
        assert set(it.logins) == {"root"}
        assert it.keys_asked == 1


async def test_fast_algorithms_are_chosen_and_others_do(tmp_path: Path) -> None:
    async with machine(tmp_path) as it, pooled(it) as pool:
        await pool.get(VM)
        server = it.connections[0]
        assert server.get_extra_info("send_cipher") == "aes128-gcm@openssh.com"
    other = tmp_path / "other"
    other.mkdir()
    options: dict[str, object] = {"kex_algs": ["ecdh-sha2-nistp521"], "encryption_algs": ["aes256-ctr"], "mac_algs": ["hmac-sha2-512"]}
    async with machine(other, **options) as it, pooled(it) as pool:
        assert (await (await pool.get(VM)).run(FixedScript("echo ok"))).stdout == b"ok\n"


async def test_a_dropped_connection_is_heard_and_replaced(tmp_path: Path) -> None:
    async with machine(tmp_path) as it, pooled(it) as pool:
        first = await pool.get(VM)
        heard = asyncio.Event()
        first.on_close(heard.set)
        it.drop()
        await heard.wait()
        assert first.closed
        assert pool.peek(VM) is None
        second = await pool.get(VM)
        assert second is not first
        assert (await second.run(FixedScript("echo back"))).stdout == b"back\n"
        assert it.keys_asked == 1


async def test_a_drop_while_a_script_runs_is_told_and_not_repeated(tmp_path: Path) -> None:
    async with machine(tmp_path) as it, pooled(it) as pool:
        transport = await pool.get(VM)
        running = asyncio.create_task(transport.run(FixedScript("echo once >> count; sleep 600"), timeout=60))
        await until((tmp_path / "count").exists)
        it.drop()
        with pytest.raises(GuestUnreachable):
            await running
        await (await pool.get(VM)).run(FixedScript("true"))
        assert (tmp_path / "count").read_text() == "once\n"


async def test_a_drop_while_reading_a_socket_is_told(tmp_path: Path) -> None:
    opened = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(silent, str(tmp_path / "k"))
    async with machine(tmp_path) as it, pooled(it) as pool:
        duplex = await (await pool.get(VM)).open_unix(str(tmp_path / "k"))
        await opened.wait()
        reading = asyncio.create_task(duplex.read())
        it.drop()
        with pytest.raises(GuestUnreachable):
            await reading
        with pytest.raises(GuestUnreachable):
            await duplex.write(b"x")
        await duplex.close()
    server.close()


async def test_a_key_that_is_no_longer_good_is_fetched_again_once(tmp_path: Path) -> None:
    async with machine(tmp_path) as it, pooled(it) as pool:
        await pool.get(VM)
        it.replace_key()
        it.drop()
        await until(lambda: pool.peek(VM) is None)
        assert (await (await pool.get(VM)).run(FixedScript("echo in"))).stdout == b"in\n"
        assert it.keys_asked == 2


async def test_a_refused_fresh_key_is_not_asked_for_again(tmp_path: Path) -> None:
    async with machine(tmp_path) as it, pooled(it) as pool:
        it.accepted = asyncssh.generate_private_key("ssh-ed25519")
        with pytest.raises(GuestUnreachable, match="refused the key"):
            await pool.get(VM)
        assert it.keys_asked == 1


async def test_release_closes_and_forgets(tmp_path: Path) -> None:
    async with machine(tmp_path) as it, pooled(it) as pool:
        first = await pool.get(VM)
        await pool.release(VM)
        assert first.closed
        await until(lambda: it.lost == 1)
        assert await pool.get(VM) is not first
        assert it.keys_asked == 2
        await pool.release("not-there")


async def test_release_while_opening_ends_the_wait(tmp_path: Path) -> None:
    async with silent_front() as (it, accepted), pooled(it) as pool:
        waiting = asyncio.create_task(pool.get(VM))
        await accepted.wait()
        await pool.release(VM)
        with pytest.raises(GuestUnreachable, match="released"):
            await waiting


async def test_one_who_stops_waiting_does_not_stop_the_others(tmp_path: Path) -> None:
    async with machine(tmp_path) as it, pooled(it) as pool:
        impatient, patient = asyncio.create_task(pool.get(VM)), asyncio.create_task(pool.get(VM))
        await until(lambda: it.keys_asked == 1)
        impatient.cancel()
        assert (await (await patient).run(FixedScript("echo ok"))).stdout == b"ok\n"
        with pytest.raises(asyncio.CancelledError):
            await impatient


async def test_an_idle_connection_is_closed_and_a_used_one_is_not(tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(lambda *_: None, str(tmp_path / "k"))
    async with machine(tmp_path) as it, pooled(it, SshOptions(idle=0.1)) as pool:
        transport = await pool.get(VM)
        duplex = await transport.open_unix(str(tmp_path / "k"))
        assert (await transport.run(FixedScript("sleep 0.5; echo still"))).stdout == b"still\n"
        assert not transport.closed
        await duplex.close()
        await until(lambda: transport.closed and pool.peek(VM) is None)
    server.close()


@pytest.mark.guarantee("G-65")
async def test_machines_that_do_not_answer_keep_no_other_waiting(tmp_path: Path) -> None:
    async with machine(tmp_path) as it, silent_front() as (dead, accepted):
        options = SshOptions(connect=60.0, openings=1, opening_slot=0.1)
        live_endpoint = it.endpoint
        it.endpoint = lambda vm_id: live_endpoint(vm_id) if vm_id == VM else dead.endpoint(vm_id)  # type: ignore[method-assign]
        async with pooled(it, options) as pool:
            waiting = [asyncio.create_task(pool.get(VM.replace("1", digit))) for digit in "6789"]
            await accepted.wait()
            assert (await (await pool.get(VM)).run(FixedScript("echo ok"))).stdout == b"ok\n"
            assert not any(task.done() for task in waiting)
            for task in waiting:
                task.cancel()


async def test_a_silent_front_is_given_up(tmp_path: Path) -> None:
    async with silent_front() as (it, _), pooled(it, SshOptions(connect=0.3)) as pool:
        with pytest.raises(GuestUnreachable, match=r"within 0\.3 s"):
            await pool.get(VM)


async def test_a_peer_that_falls_silent_is_noticed(tmp_path: Path) -> None:
    async with machine(tmp_path) as it, pooled(it, SshOptions(keepalive=0.05, keepalive_count=2)) as pool:
        transport = await pool.get(VM)
        transport_to_client = it.connections[0]._transport
        assert transport_to_client is not None
        transport_to_client.pause_reading()  # as a stopped machine: the connection stays up, nothing answers
        await until(lambda: transport.closed)
        transport_to_client.resume_reading()


async def test_nothing_listening_is_unreachable(tmp_path: Path) -> None:
    async with machine(tmp_path) as it:
        pass
    async with pooled(it) as pool:
        with pytest.raises(GuestUnreachable, match="can't be reached"):
            await pool.get(VM)


async def test_something_else_than_ssh_is_unreachable(tmp_path: Path) -> None:
    async with silent_front(b"HTTP/1.1 400 Bad Request\r\n\r\n", tls=tmp_path) as (it, _), pooled(it) as pool:
        with pytest.raises(GuestUnreachable):
            await pool.get(VM)


async def test_the_front_is_verified_against_a_given_ca(tmp_path: Path) -> None:
    async with machine(tmp_path) as it:
        it.verify = True
        async with pooled(it) as pool:
            assert (await (await pool.get(VM)).run(FixedScript("echo ok"))).stdout == b"ok\n"
        it.domain = "elsewhere.test"
        async with pooled(it) as pool:
            with pytest.raises(GuestUnreachable, match="can't be reached"):
                await pool.get(VM)
        it.domain = "vm.example.test"
        right = it.ca_file.read_bytes()
        async with pooled(it) as pool:
            it.ca_file = tmp_path / "later.pem"
            with pytest.raises(GuestUnreachable, match="can't be reached"):
                await pool.get(VM)
            other = tmp_path / "other"
            other.mkdir()
            certificate(other)
            it.ca_file.write_bytes((other / "ca.pem").read_bytes())
            os.utime(it.ca_file, (1, 1))
            with pytest.raises(GuestUnreachable, match="can't be reached"):
                await pool.get(VM)
            it.ca_file.write_bytes(right)
            assert (await (await pool.get(VM)).run(FixedScript("echo ok"))).stdout == b"ok\n"


async def test_trouble_with_the_key_is_the_machines_trouble(tmp_path: Path) -> None:
    async with machine(tmp_path) as it, pooled(it) as pool:
        it.key_trouble = Unauthorized("the platform refused the API key", "GET /x", "check it")
        with pytest.raises(GuestUnreachable, match="refused the API key"):
            await pool.get(VM)
        it.key_trouble, it.key_text = None, "-----BEGIN CANARY"
        with pytest.raises(GuestUnreachable, match="can't be read"):
            await pool.get(VM)


async def test_the_tls_layer_keeps_one_record_not_256_kib(tmp_path: Path) -> None:
    async with machine(tmp_path) as it, pooled(it) as pool:
        transport = await pool.get(VM)
        layer = getattr(transport._connection._transport, "_ssl_protocol", None)
        assert hasattr(layer, "_ssl_buffer"), "this interpreter's TLS layer has another shape: 256 KiB a connection again"
        data = os.urandom(1 << 20)
        assert (await transport.run(FixedScript("cat"), data)).stdout == data
        assert len(layer._ssl_buffer) == 16 << 10


@pytest.mark.guarantee("G-60")
async def test_the_private_key_shows_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = ""
    async with machine(tmp_path) as it:
        pem = it.handed_out.export_private_key().decode()
        canaries = [line for line in pem.splitlines() if len(line) > 20 and "KEY" not in line]
        for trouble in ("none", "refused", "broken"):
            if trouble == "refused":
                it.accepted = asyncssh.generate_private_key("ssh-ed25519")
            if trouble == "broken":
                it.key_text = pem.replace("END", "FIN")
            async with pooled(it) as pool:
                try:
                    transport = await pool.get(VM)
                    await transport.run(FixedScript("cat"), pem.encode())
                    shown += repr(transport) + repr(vars(transport))
                except GuestUnreachable as error:
                    shown += repr(error) + "".join(traceback.format_exception(error))
                shown += repr(pool) + repr(vars(pool))
    assert canaries
    for canary in canaries:
        assert canary not in shown
        assert canary not in caplog.text


@pytest.mark.guarantee("G-61")
def test_every_script_is_a_literal_in_our_source() -> None:
    found = 0
    for file in Path(reconciler.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "FixedScript":
                found += 1
                literal = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
                assert literal, f"{file.name}:{node.lineno}: FixedScript takes a literal, data goes to its standard input"
    assert found >= 0


@asynccontextmanager
async def silent_front(says: bytes = b"", tls: Path | None = None) -> AsyncIterator[tuple[Machine, asyncio.Event]]:
    """Something that takes connections and never becomes SSH."""
    accepted = asyncio.Event()
    context: ssl.SSLContext | None = certificate(tls) if tls is not None else None

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        writer.write(says)
        try:
            await reader.read() if not says else await reader.read(1)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    key = asyncssh.generate_private_key("ssh-ed25519")
    it = Machine(key, key, Path("/nonexistent"))
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it, accepted
    finally:
        server.close()


def test_a_transport_is_what_the_pool_gives() -> None:
    kinds: tuple[type[Transport], ...] = (SshTransport, LocalTransport)
    assert all(hasattr(kind, "open_unix") for kind in kinds)
