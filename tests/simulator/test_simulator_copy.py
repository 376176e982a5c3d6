"""Files and tunnels over SSH, as `vers copy`, `scp`, `sftp`, `vers tunnel` and `ssh -W` use them."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import asyncssh
import pytest

from tests.simulator.conftest import Start
from tests.simulator.support import Running

KINDS = [pytest.param("isolated", marks=pytest.mark.real("bwrap")), "process"]
REFUSED = (asyncssh.SFTPError,)


@pytest.fixture(params=KINDS)
async def machine(start: Start, request: pytest.FixtureRequest) -> tuple[Running, str]:
    if request.param == "isolated":
        request.getfixturevalue("bwrap")
    s = await start(guests=request.param)
    return s, await s.create()


async def test_a_tree_is_copied_there_and_back(machine: tuple[Running, str], tmp_path: Path) -> None:
    s, vm_id = machine
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    data = os.urandom(1_000_000)
    (here / "sub" / "with a blank").write_bytes(data)
    (here / "run").write_text("#!/bin/sh\necho ran\n")
    (here / "run").chmod(0o750)
    async with await s.ssh(vm_id) as conn, conn.start_sftp_client() as files:
        assert await files.getcwd() == "/root"
        await files.put(str(here), "/root/there", recurse=True, preserve=True)
        assert await s.run(vm_id, "~/there/run") == "ran\n"
        assert await s.run(vm_id, "stat -c %a ~/there/run") == "750\n"
        await files.get("there", str(tmp_path / "back"), recurse=True)
        assert (tmp_path / "back" / "sub" / "with a blank").read_bytes() == data
        assert {name for name in await files.listdir("there") if not str(name).startswith(".")} == {"sub", "run"}
        await files.rename("there/run", "there/ran")
        await files.symlink("/root/there/ran", "link")
        assert await files.readlink("link") == "/root/there/ran"
        assert (await files.stat("link")).size == len("#!/bin/sh\necho ran\n")
        await files.remove("link")
        await files.rmtree("there")
        assert not await files.exists("there")


async def test_a_copy_does_not_leave_the_guest_and_nothing_in_it_holds_it(machine: tuple[Running, str], tmp_path: Path) -> None:
    s, vm_id = machine
    secret = tmp_path / "secret"
    secret.write_text("host")
    await s.run(vm_id, f"cd; ln -s {secret} out; ln -s {tmp_path} dir; mkfifo fifo; ln -s / root; ln -s loop loop")
    async with await s.ssh(vm_id) as conn, conn.start_sftp_client() as files:
        began = time.monotonic()
        for path in ("out", "dir/secret", str(secret), f"../../../../..{secret}", f"root{secret}", "fifo", "loop", "n" * 300, "/etc"):
            for mode in ("rb", "wb"):
                with pytest.raises(REFUSED):
                    await files.open(path, mode)
        assert time.monotonic() - began < 5
        with pytest.raises(REFUSED):
            await files.chmod("out", 0o777)
    assert secret.read_text() == "host"


@pytest.mark.parametrize("reached", ["by address", "by name", "by the machine's name"])
async def test_a_port_of_the_guest_is_reached_through_ssh(machine: tuple[Running, str], reached: str) -> None:
    s, vm_id = machine

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)  # the guests share this host's network
    port = server.sockets[0].getsockname()[1]
    host = {"by address": "127.0.0.1", "by name": "localhost", "by the machine's name": vm_id}[reached]
    async with await s.ssh(vm_id) as conn:
        reader, writer = await conn.open_connection(host, port)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"HELLO"
        server.close()
        await server.wait_closed()
        for nobody in (("127.0.0.1", port), ("no.such.host.invalid", 80)):
            with pytest.raises(asyncssh.ChannelOpenError):
                await conn.open_connection(*nobody)


async def test_an_id_that_is_used_is_a_conflict(start: Start) -> None:
    """Which clients take as final; a 500 they would send again."""
    s = await start()
    vm_id = await s.create()
    body = {"commit_id": "aaaaaaaa-1111-4222-8333-cccccccccccc"}
    assert (await s.api.post(f"/vm/{vm_id}/commit", json=body)).status_code == 201
    again = await s.api.post(f"/vm/{vm_id}/commit", json=body)
    assert (again.status_code, again.json()) == (409, {"error": "commit already exists", "success": False})
    assert len(s.simulator.world.commits) == 1
