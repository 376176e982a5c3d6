"""Into a guest as the platform's clients get there: TLS with SNI, SSH inside, root with the VM's key (vers-api §4)."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from contextlib import suppress

import asyncssh
import pytest

from reconciler.vers.simulator.knobs import Knobs
from tests.simulator.conftest import Start
from tests.simulator.support import Running, until

BROKEN = (OSError, asyncssh.Error)
ECHO = """
import socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()
while True:
    c, _ = s.accept()
    while data := c.recv(65536):
        c.sendall(data)
    c.close()
"""


@pytest.fixture
async def machine(start: Start) -> tuple[Running, str]:
    s = await start(guests="process")
    return s, await s.create()


@pytest.mark.real("bwrap")
async def test_an_isolated_guest_over_ssh(start: Start, bwrap: None) -> None:
    s = await start(guests="isolated")
    vm_id = await s.create()
    async with await s.ssh(vm_id) as conn:
        done = await conn.run("hostname; pwd; id -u; cat; echo oops >&2; exit 7", input="data\n")
        assert (done.exit_status, done.stdout, done.stderr) == (7, f"{vm_id}\n/root\n0\ndata\n", "oops\n")
        assert (await conn.run("kill -9 $$")).exit_signal[0] == "KILL"  # type: ignore[index]
        # a path longer than a socket's own name may be on the host, and one behind an absolute link
        deep = "/root/" + "d" * 60
        await conn.run(f"mkdir {deep}; ln -s {deep} /srv/link; cat > echo.py", input=ECHO, check=True)
        await conn.run(
            f"setsid python3 echo.py {deep}/s >/dev/null 2>&1 </dev/null & until [ -S {deep}/s ]; do sleep 0.01; done", check=True
        )
        for path in (f"{deep}/s", "/srv/link/s"):
            reader, writer = await conn.open_unix_connection(path, encoding=None)
            data = os.urandom(300_000)
            writer.write(data)
            writer.write_eof()
            assert await reader.read() == data
        with pytest.raises(asyncssh.ChannelOpenError):
            await conn.open_unix_connection("/root/none")
    async with await s.ssh(vm_id) as conn:  # the daemon did not mind
        assert (await conn.run(f"test -S {deep}/s && ps -eo args= | grep -c '[e]cho.py'")).stdout == "1\n"


async def test_streams_go_both_ways_whole(machine: tuple[Running, str]) -> None:
    s, vm_id = machine
    async with await s.ssh(vm_id) as conn:
        data = os.urandom(2_000_000)
        done = await conn.run("cat", input=data, encoding=None)
        assert done.stdout == data
        process = await conn.create_process("while read line; do echo got $line; done; echo end")
        process.stdin.write("a\n")
        assert await process.stdout.readline() == "got a\n"
        process.stdin.write_eof()
        assert await process.stdout.read() == "end\n"
        assert (await process.wait()).exit_status == 0


@pytest.mark.parametrize("started", ["plainly", "under nohup"])
async def test_a_closed_channel_hangs_its_command_up_and_spares_the_detached(started: str, machine: tuple[Running, str]) -> None:
    s, vm_id = machine
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN if started == "under nohup" else signal.SIG_DFL)
    try:
        await _hang_up(s, vm_id)
    finally:
        signal.signal(signal.SIGHUP, former)


async def _hang_up(s: Running, vm_id: str) -> None:
    detach = "setsid sh -c 'echo $$ > detached; exec sleep 1000' </dev/null >/dev/null 2>&1 &"
    script = f"{detach} echo $$ > attached; until [ -s detached ]; do :; done; echo up; exec sleep 1000"
    conn = await s.ssh(vm_id)
    process = await conn.create_process(script)
    assert await process.stdout.readline() == "up\n"
    attached, detached = [int(await s.run(vm_id, f"cat ~/{name}")) for name in ("attached", "detached")]
    conn.abort()
    await until(lambda: not _running(attached), "the command ends with its channel")
    assert _running(detached)


def _running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_signal_reaches_the_command(machine: tuple[Running, str]) -> None:
    s, vm_id = machine
    async with await s.ssh(vm_id) as conn:
        process = await conn.create_process("trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.01; done")
        assert await process.stdout.readline() == "ready\n"
        process.send_signal("TERM")
        assert await process.stdout.readline() == "caught\n"
        assert (await process.wait()).exit_status == 5


async def test_only_the_vms_own_key_and_root(machine: tuple[Running, str]) -> None:
    s, vm_id = machine
    other = await s.create()
    key = (await s.api.get(f"/vm/{other}/ssh_key")).json()["ssh_private_key"]
    with pytest.raises(BROKEN):
        await s.ssh(vm_id, key=key)
    with pytest.raises(BROKEN):
        await s.ssh(vm_id, key=asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode())
    async with await s.ssh(other, key=key) as conn:
        assert (await conn.run("echo ready")).stdout == "ready\n"


async def test_the_first_label_routes_under_any_domain(machine: tuple[Running, str]) -> None:
    s, vm_id = machine
    async with await s.ssh(vm_id, sni=f"{vm_id}.vm.example.org") as conn:
        assert (await conn.run("echo ready")).stdout == "ready\n"
    for name in (vm_id[:12], "00000000-0000-4000-8000-000000000000", "nonsense"):
        with pytest.raises(BROKEN):
            await s.ssh(vm_id, sni=f"{name}.{s.endpoints.vm_domain}")


async def test_the_certificate_is_vouched_for_by_the_ca(machine: tuple[Running, str]) -> None:
    s, vm_id = machine
    host, port = s.endpoints.gateway.rsplit(":", 1)
    name = f"{vm_id}.{s.endpoints.vm_domain}"
    trusting = ssl.create_default_context(cafile=s.endpoints.ca)
    _, writer = await asyncio.open_connection(host, int(port), ssl=trusting, server_hostname=name)
    assert writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
    writer.transport.abort()
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection(host, int(port), ssl=ssl.create_default_context(), server_hostname=name)


async def test_suspended_freezes_connections_and_resume_continues_them(machine: tuple[Running, str]) -> None:
    s, vm_id = machine
    async with await s.ssh(vm_id) as conn:
        process = await conn.create_process("while read line; do echo got $line; done")
        process.stdin.write("1\n")
        assert await process.stdout.readline() == "got 1\n"
        await s.admin.post(f"/vms/{vm_id}/suspend")
        process.stdin.write("2\n")
        answer = asyncio.create_task(process.stdout.readline())
        newcomer = asyncio.create_task(s.ssh(vm_id))
        done, _ = await asyncio.wait({answer, newcomer}, timeout=0.3)
        assert not done
        await s.admin.post(f"/vms/{vm_id}/resume")
        assert await answer == "got 2\n"
        async with await newcomer as second:
            assert (await second.run("echo ready")).stdout == "ready\n"


async def test_suspended_may_refuse(start: Start) -> None:
    s = await start(guests="process", knobs=Knobs(ssh_while_suspended="refuse"))
    vm_id = await s.create()
    await s.admin.post(f"/vms/{vm_id}/suspend")
    with pytest.raises(BROKEN):
        await s.ssh(vm_id)
    await s.admin.post(f"/vms/{vm_id}/resume")
    (await s.ssh(vm_id)).abort()


async def test_ssh_is_ready_later_than_the_vm(start: Start) -> None:
    s = await start(guests="process", knobs=Knobs(ssh_ready_delay_s=3600))
    vm_id = await s.create()
    assert await s.state(vm_id) == "running"
    with pytest.raises(BROKEN):
        await s.ssh(vm_id)
    s.set_clock(s.now() + 3601)
    (await s.ssh(vm_id)).abort()


async def test_connections_drop_on_command_on_time_and_with_the_vm(machine: tuple[Running, str]) -> None:
    s, vm_id = machine

    async def in_time() -> asyncssh.SSHClientConnection:
        for seconds in (0.3, 1, 4, 16):  # on a busy machine to connect takes longer than the first ones
            s.simulator.set_knobs(f"ssh_drop_after_s={seconds}")
            with suppress(*BROKEN):
                return await s.ssh(vm_id)
        raise AssertionError("no connection stands for 16 s")

    conn = await s.ssh(vm_id)
    await s.admin.post(f"/vms/{vm_id}/drop_ssh")
    await conn.wait_closed()
    await (await in_time()).wait_closed()
    s.simulator.set_knobs("ssh_drop_after_s=0")
    conn = await s.ssh(vm_id)
    await s.api.delete(f"/vm/{vm_id}")
    await conn.wait_closed()
    assert s.simulator.world.ledger.counts["delete_vm"] == 1


async def test_faults_of_connections(machine: tuple[Running, str]) -> None:
    s, vm_id = machine
    s.simulator.add_fault("ssh:1:reset")
    with pytest.raises(BROKEN):
        await s.ssh(vm_id)
    (await s.ssh(vm_id)).abort()
    s.simulator.add_fault("ssh:1:hang")
    hung = asyncio.create_task(s.ssh(vm_id))
    done, _ = await asyncio.wait({hung}, timeout=0.2)
    assert not done
    hung.cancel()
    await asyncio.gather(hung, return_exceptions=True)
