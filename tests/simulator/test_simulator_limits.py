"""What one client or one guest may have of the simulator, and what is answered beyond that (G-65)."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import orjson
import pytest

from reconciler.vers.simulator import limits, rooted
from tests.simulator.conftest import Start
from tests.simulator.support import Running, until
from tests.simulator.test_simulator_http import head

pytestmark = pytest.mark.guarantee("G-65")

KINDS = [pytest.param("isolated", marks=pytest.mark.real("bwrap")), "process"]
PROMPT_S = 5.0


@pytest.fixture(params=KINDS)
async def machine(start: Start, request: pytest.FixtureRequest) -> tuple[Running, str]:
    if request.param == "isolated":
        request.getfixturevalue("bwrap")
    s = await start(guests=request.param)
    return s, await s.create()


def refusal(answer: httpx.Response) -> str:
    """The platform's error, of a request that can't be served."""
    assert 400 <= answer.status_code < 500, answer.text[:300]
    told = answer.json()
    assert told["success"] is False
    return str(told["error"])


async def test_no_call_makes_more_vms_than_are_documented(start: Start) -> None:
    s = await start()
    await s.create()
    vm_id = next(iter(await s.listed()))
    commit = (await s.api.post(f"/vm/{vm_id}/commit")).json()["commit_id"]
    await s.api.post("/commit_tags", json={"tag_name": "t", "commit_id": commit})
    for path in (f"/vm/branch/by_commit/{commit}", f"/vm/branch/by_vm/{vm_id}", f"/vm/{vm_id}/branch", "/vm/branch/by_tag/t"):
        for count in (limits.BRANCHES + 1, 2**31 - 1):
            assert str(limits.BRANCHES) in refusal(await s.api.post(path, params={"count": count}))
    assert await s.listed() == {vm_id}
    assert len((await s.api.post(f"/vm/branch/by_commit/{commit}?count={limits.BRANCHES}")).json()["vms"]) == limits.BRANCHES
    s.simulator.world.most_vms = limits.BRANCHES + 1
    assert "quota" in refusal(await s.api.post("/vm/new_root", json={"vm_config": {}}))


@pytest.mark.parametrize("digits", ["99999999999", "9" * 5000, "2147483648", "٣", "-1", "1e3", ""])
async def test_a_number_that_is_none_is_a_400(start: Start, digits: str) -> None:
    s = await start()
    for path in ("/commits?limit=", "/commits?offset=", f"/vm/{await s.create()}/logs?max_entries="):
        assert (await s.api.get(path + digits)).status_code == 400
    assert (await s.api.get(f"/vms?{'a=1&' * (limits.FIELDS + 1)}")).status_code == 400


async def test_what_is_kept_is_small(start: Start) -> None:
    s = await start()
    vm_id = await s.create()
    large = "x" * (limits.VARIABLES + 1)
    refusal(await s.api.patch(f"/vm/{vm_id}/label", json={"labels": {"a": large}}))
    refusal(await s.api.put(f"/vm/{vm_id}/labels", json={"labels": {str(n): "x" * 100 for n in range(1000)}}))
    refusal(await s.api.post("/vm/new_root", json={"vm_config": {"labels": {large: ""}}}))
    refusal(await s.api.post(f"/vm/{vm_id}/commit", json={"name": large}))
    refusal(await s.api.put("/env_vars", json={"vars": {f"N{n}": "x" * 8000 for n in range(20)}}))
    refusal(await s.api.post("/repositories", json={"name": "r", "description": large}))
    for n in range(limits.NAMES):
        assert (await s.api.post("/repositories", json={"name": f"r{n}"})).status_code == 201
    assert "quota" in refusal(await s.api.post("/repositories", json={"name": "more"}))
    wrong = await s.api.post(f"/vm/{vm_id}/commit", json={"commit_id": large, "name": [[[]] * 3] * 3})
    assert wrong.status_code == 422
    assert len(wrong.content) < 2000  # it does not repeat what was sent
    assert not s.simulator.world.commits
    assert not s.simulator.world.environment


async def test_a_nested_or_odd_body_is_refused(start: Start) -> None:
    s = await start()
    for body in (b"[" * 100_000, b'{"vm_config":' * 400, b'{"vm_config":{"labels":' + b"[" * 300 + b"]" * 300 + b"}}", b'{"a":"\\ud800"}'):
        assert (await s.api.post("/vm/new_root", content=body)).status_code in (400, 422)
    assert (await s.api.post("/vm/new_root", content=b" " * (limits.BODY + 1))).status_code == 413


async def test_only_plain_files_are_read_and_written(machine: tuple[Running, str]) -> None:
    s, vm_id = machine
    await s.run(vm_id, "cd; mkfifo fifo; ln -s fifo link; ln -s /dev/zero zero; ln -s loop loop; truncate -s 20M large; echo x > plain")
    refused = ["/root/fifo", "/root/link", "/root/loop", "/root", "/", "/root/large", "/root/" + "n" * 300, "/d" * 2500, "/root/plain\0"]
    refused += ["/proc/self/status", "/proc/1/environ", "/proc/kmsg", "/proc/nothing", "//proc/./self/status", "/root/../proc/uptime"]
    if s.simulator.guests is not None and s.simulator.guests.kind == "isolated":
        await s.run(vm_id, "ln -s /proc/self/status ~/status")
        refused += ["/dev/zero", "/root/zero", "/dev/random", "/dev/stdin", "/root/status"]
    for path in refused:
        began = time.monotonic()
        answers = [
            await s.api.get(f"/vm/{vm_id}/files", params={"path": path}),
            await s.api.put(f"/vm/{vm_id}/files", json={"path": path, "content_b64": "", "create_dirs": True}),
        ]
        for answer in answers[: 1 if path == "/root/large" else 2]:
            assert refusal(answer), path
            if "proc" in path or path == "/root/status":
                assert answer.status_code == 400, path
        assert time.monotonic() - began < PROMPT_S
    assert (await s.api.get(f"/vm/{vm_id}/files", params={"path": "/root/plain"})).json()["content_b64"] == "eAo="
    most = base64.b64encode(bytes(limits.FILE + 3)).decode()
    assert (await s.api.put(f"/vm/{vm_id}/files", json={"path": "/root/much", "content_b64": most})).status_code == 413


async def test_a_command_that_can_not_be_started_is_refused(machine: tuple[Running, str]) -> None:
    s, vm_id = machine
    for body in (
        {"command": ["echo", "a\0b"]},
        {"command": ["true"], "env": {"A=B": "c"}},
        {"command": ["true"], "env": {"A": "c\0"}},
        {"command": ["true"], "working_dir": "/" + "d" * 5000},
        {"command": ["echo", "x" * limits.COMMAND]},
        {"command": ["true"] * 20_000},
    ):
        refusal(await s.api.post(f"/vm/{vm_id}/exec", json=body))
    assert await s.run(vm_id, "echo up") == "up\n"


async def test_output_beyond_the_limit_is_an_error_and_ends_the_command(machine: tuple[Running, str]) -> None:
    s, vm_id = machine
    script = ["sh", "-c", "echo $$ > ~/pid; exec cat /dev/zero"]
    began = time.monotonic()
    assert str(limits.OUTPUT) in refusal(await s.api.post(f"/vm/{vm_id}/exec", json={"command": script}))
    streamed = await s.api.post(f"/vm/{vm_id}/exec/stream", json={"command": script})
    last = orjson.loads(streamed.content.splitlines()[-1])
    assert (last["type"], last["code"]) == ("error", "output_limit")
    assert time.monotonic() - began < 2 * PROMPT_S
    # Killed it is by now; the init of its machine may still have to reap it, and until then its pid answers.
    gone = "n=0; while kill -0 $(cat ~/pid) 2>/dev/null; do n=$((n + 1)); [ $n -lt 200 ] || exit; sleep 0.02; done; echo ended"
    assert await s.run(vm_id, gone) == "ended\n"
    whole = await s.api.post(f"/vm/{vm_id}/exec", json={"command": ["head", "-c", str(limits.OUTPUT // 2), "/dev/zero"]})
    assert len(whole.json()["stdout"]) == limits.OUTPUT // 2


async def test_so_many_commands_at_once_and_no_more(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RUNNING", 3)
    s = await start(guests="process")
    vm_id = await s.create()
    sleep = {"command": ["sleep", "1000"]}
    waiting = [asyncio.create_task(s.api.post(f"/vm/{vm_id}/exec", json=sleep)) for _ in range(3)]
    await until(lambda: len(s.simulator._execs._runs.get(vm_id, {})) == 3, "three commands run")  # type: ignore[union-attr]
    busy = await s.api.post(f"/vm/{vm_id}/exec", json=sleep)
    assert (busy.status_code, "already" in refusal(busy)) == (429, True)
    for task in waiting:
        task.cancel()


async def test_what_a_guest_made_of_its_disk_leads_nowhere_outside_it(start: Start, tmp_path: Path) -> None:
    """A commit's disk is written to when a machine is made of it, and read when a command is started."""
    s = await start(guests="process")
    vm_id = await s.create()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    root = s.simulator.guests.path(vm_id, "/")  # type: ignore[union-attr]
    for name in ("hostname", "hosts"):
        (root / "etc" / name).unlink()
        (root / "etc" / name).symlink_to(victim)
    (root / "etc" / "environment").unlink()
    os.mkfifo(root / "etc" / "environment")
    assert await asyncio.wait_for(s.run(vm_id, "echo up"), PROMPT_S) == "up\n"
    commit = (await s.api.post(f"/vm/{vm_id}/commit")).json()["commit_id"]
    child = (await asyncio.wait_for(s.api.post("/vm/from_commit", json={"commit_id": commit}), PROMPT_S)).json()["vm_id"]
    assert await s.state(child) == "running"
    assert victim.read_text() == "mine"
    assert s.simulator.guests.path(child, "/etc/hostname").read_text() == f"{child}\n"  # type: ignore[union-attr]


async def test_a_walk_stays_below_its_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (tmp_path / "secret").write_text("host")
    (root / "etc" / "real").write_text("guest")
    (root / "absolute").symlink_to("/etc/real")
    (root / "up").symlink_to("../../../../etc/real")
    (root / "out").symlink_to(tmp_path / "secret")
    for path in ("/absolute", "/up", "/../../etc/real", "/etc/../../etc/real", "etc/./real"):
        assert rooted.read(root, path) == b"guest"
    for path in ("/out", "/../secret", "/etc/real/x", "/etc/real/.."):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            rooted.read(root, path)
    with pytest.raises(FileNotFoundError):  # the link's target is a path of the guest, and its directory is missing there
        rooted.write(root, "/out", b"new")


@pytest.mark.parametrize("sent", ["endless chunks", "tiny chunks", "an endless body", "an endless head", "requests without end"])
async def test_a_request_without_end_is_cut_off(start: Start, sent: str) -> None:
    s = await start(latency={"whoami": 1000})
    chunked = head(s, "POST /api/v1/vm/new_root HTTP/1.1", "Transfer-Encoding: chunked")
    pieces = {
        "endless chunks": (
            chunked,
            b"10000\r\n" + b"x" * 65536 + b"\r\n",
        ),
        "tiny chunks": (chunked, b"1\r\nx\r\n" * 10_000),
        "an endless body": (head(s, "PUT /api/v1/vm/x/files HTTP/1.1", f"Content-Length: {limits.FILE_BODY + 1}"), b"x" * 65536),
        "an endless head": (b"GET / HTTP/1.1\r\n", b"x: y\r\n" * 1000),
        "requests without end": (head(s, "GET /api/v1/whoami HTTP/1.1"), head(s, "GET /api/v1/whoami HTTP/1.1") * 500),
    }
    first, more = pieces[sent]
    host, port = s.endpoints.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(first)

    async def send() -> None:
        for _ in range(3000):
            writer.write(more)
            await writer.drain()

    sending = asyncio.create_task(send())
    if sent == "requests without end":  # not read any further, and nobody else minds
        done, _ = await asyncio.wait({sending}, timeout=1)
        assert not done
        assert s.simulator._server.listener.held() < limits.MIB  # type: ignore[union-attr]
    else:
        answer = await asyncio.wait_for(reader.readline(), PROMPT_S)
        assert answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 431"))
    assert (await asyncio.wait_for(s.api.get("/vms"), PROMPT_S)).status_code == 200
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.transport.abort()


async def test_who_stalls_is_cut_off(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STALLED_S", 0.2)
    s = await start()
    host, port = s.endpoints.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head(s, "POST /api/v1/vm/new_root HTTP/1.1", "Content-Length: 10") + b"{")
    assert (await asyncio.wait_for(reader.readline(), PROMPT_S)).startswith(b"HTTP/1.1 408")
    writer.close()


@dataclass
class Simulated:
    """`reconciler simulate` in a process of its own. `names`: ids that a test wants to remember."""

    process: subprocess.Popen[bytes]
    url: str
    headers: dict[str, str]
    names: dict[str, str] = field(default_factory=dict)

    @property
    def api(self) -> str:
        return f"{self.url}/api/v1"


@contextmanager
def simulated(*arguments: str) -> Iterator[Simulated]:
    command = [sys.executable, "-m", "reconciler", "simulate", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            told = orjson.loads(process.stdout.readline())
            yield Simulated(process, told["url"], {"Authorization": f"Bearer {told['apiKey']}"})
        finally:
            if process.poll() is None:
                process.kill()


def resident(pid: int) -> int:
    """The most memory it ever had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


BUSY = """
import asyncio, sys, time
from reconciler.vers.simulator.ending import run_to_the_end

async def main():
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
    sys.stdout.write("kept")

run_to_the_end(main())
"""


def test_the_process_waits_for_no_thread_that_is_busy_with_a_disk() -> None:
    done = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, timeout=60, check=False, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout) == (0, b"kept")


async def test_sigterm_ends_it_while_disks_are_copied_and_removed() -> None:
    """Many branches and deletions are under way, and none of them is waited for."""
    with simulated("--guests", "process") as started:
        async with httpx.AsyncClient(base_url=started.api, headers=started.headers, timeout=60, verify=False) as api:
            vm_id, *others = [(await api.post("/vm/new_root", json={"vm_config": {}})).json()["vm_id"] for _ in range(3)]
            script = "cd; mkdir many; cd many; seq 5000 | xargs touch"
            assert (await api.post(f"/vm/{vm_id}/exec", json={"command": ["sh", "-c", script]})).json()["exit_code"] == 0
            asked = [asyncio.create_task(api.post(f"/vm/branch/by_vm/{vm_id}?count={limits.BRANCHES}"))]
            asked += [asyncio.create_task(api.delete(f"/vm/{one}")) for one in others]

            async def begun() -> bool:
                return len((await api.get("/vms")).json()) > 1

            await until(begun, "it makes branches")
            started.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(started.process.wait, PROMPT_S) == 0
            await asyncio.gather(*asked, return_exceptions=True)


async def test_sigterm_ends_it_whatever_guests_do() -> None:
    with simulated("--guests", "process") as started:
        async with httpx.AsyncClient(base_url=started.api, headers=started.headers, timeout=30, verify=False) as api:
            vm_id = (await api.post("/vm/new_root", json={"vm_config": {}})).json()["vm_id"]
            deaf = "trap '' TERM HUP INT; cd; mkfifo fifo; setsid sh -c 'while :; do sleep 1; done' & while :; do sleep 1; done"
            running = asyncio.create_task(api.post(f"/vm/{vm_id}/exec", json={"command": ["sh", "-c", deaf]}))

            async def made() -> bool:
                return (await api.get(f"/vm/{vm_id}/files?path=/root/fifo")).status_code == 400

            await until(made, "the FIFO is there")
            stream = asyncio.create_task(api.post(f"/vm/{vm_id}/exec/stream", json={"command": ["cat", "fifo"]}))
            await asyncio.sleep(0.1)
            started.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(started.process.wait, PROMPT_S) == 0
            await asyncio.gather(running, stream, return_exceptions=True)
