"""What runs in a VM, for real: isolated by bubblewrap, or a directory where that is missing."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

import httpx2 as httpx
import orjson
import pytest

from reconciler.vers.simulator.guests import GuestError, resolve_inside
from reconciler.vers.simulator.image import GuestImage, default_node_dir
from reconciler.vers.simulator.knobs import Knobs
from tests.simulator.conftest import Start
from tests.simulator.support import Running, until

BOTH = [pytest.param("isolated", marks=pytest.mark.real("bwrap")), "process"]
COUNT = "cd; setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i > fresh; mv fresh count; sleep 0.01; done' >/dev/null 2>&1 </dev/null &"


@pytest.fixture
async def isolated(start: Start, bwrap: None) -> Running:
    return await start(guests="isolated")


async def started(start: Start, kind: str, request: pytest.FixtureRequest, **config: object) -> Running:
    if kind == "isolated":
        request.getfixturevalue("bwrap")
    return await start(guests=kind, **config)


def counted(s: Running, vm_id: str) -> int:
    """The counter, read from outside the guest; 0 before it started."""
    assert s.simulator.guests is not None
    try:
        return int(s.simulator.guests.path(vm_id, "/root/count").read_text())
    except FileNotFoundError:
        return 0


def exists(path: str) -> bool:
    """On the host."""
    return os.path.exists(path)


@pytest.mark.real("bwrap")
async def test_a_guest_is_a_machine_of_its_own(isolated: Running) -> None:
    a, b = await isolated.create(), await isolated.create()
    assert (await isolated.run(a, "hostname; id -u; pwd; echo $HOME")).split() == [a, "0", "/root", "/root"]
    await isolated.run(a, "echo secret > /root/file; mkdir -p /opt/thing; echo 127.9.9.9 elsewhere >> /etc/hosts; touch /tmp/mine")
    assert await isolated.run(b, "ls /root /tmp; ls /opt/thing 2>/dev/null || echo none") == "/root:\nworkspace\n\n/tmp:\nnone\n"
    assert "elsewhere" not in await isolated.run(b, "cat /etc/hosts")
    assert set((await isolated.run(a, "ps -eo comm=")).split()) == {"bwrap", "sleep", "sh", "ps"}  # no process of the host
    assert not exists("/opt/thing")


@pytest.mark.real("bwrap")
async def test_root_in_a_guest_has_no_power_outside(isolated: Running) -> None:
    vm_id = await isolated.create()
    script = "touch /usr/x 2>&1; /usr/bin/date -s 2020-01-01 2>&1; chroot / true && mount -t tmpfs none /usr && touch /usr/y; echo done"
    out = await isolated.run(vm_id, script)
    assert "Read-only file system" in out
    assert "Operation not permitted" in out
    assert not exists("/usr/x")
    assert not exists("/usr/y")


@pytest.mark.real("bwrap")
async def test_nothing_of_the_hosts_environment_comes_along(start: Start, bwrap: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_TOKEN", "canary-a81b")
    s = await start(guests="isolated")
    vm_id = await s.create()
    assert "canary-a81b" not in await s.run(vm_id, "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'")


@pytest.mark.real("bwrap")
async def test_node_is_there_or_missing(start: Start, bwrap: None, tmp_path: Path) -> None:
    package = tmp_path / "pi"
    (package / "dist" / "bundle").mkdir(parents=True)
    (package / "dist" / "bundle" / "cli.js").write_text("console.log('pi', process.argv.slice(2).join(' '))\n")
    s = await start(guests="isolated", image=GuestImage(default_node_dir(), package))
    vm_id = await s.create()
    out = (await s.run(vm_id, "node --version; pi --version; npm --version")).split()
    assert int(out[0].removeprefix("v").split(".")[0]) >= 22
    assert out[1:3] == ["pi", "--version"]
    s.simulator.set_knobs("guest_tools=missing")
    bare = await s.create()
    assert await s.run(bare, "command -v node pi npm || echo missing") == "missing\n"


@pytest.mark.real("bwrap")
async def test_a_machine_without_names_and_one_without_room(isolated: Running) -> None:
    s = isolated
    well = await s.create()
    s.simulator.set_knobs("guest_names=missing", "guest_disk_kib=32")
    poor = await s.create()
    resolve = "python3 -c \"import socket; socket.getaddrinfo('localhost', 1); socket.getaddrinfo('nowhere.example', 1)\" 2>&1 | tail -1"
    fill = "mkdir -p /var/lib/reconciler; head -c 100000 /dev/zero 2>&1 > /var/lib/reconciler/x; stat -c %s /var/lib/reconciler/x"
    assert "gaierror" in await s.run(poor, resolve)
    assert (await s.run(poor, fill)).splitlines()[-1] == "32768"
    assert (await s.run(well, fill)).splitlines()[-1] == "100000"
    assert await s.run(well, "cat /etc/nsswitch.conf") != "hosts: files\n"


@pytest.mark.parametrize("kind", BOTH)
async def test_suspended_stands_still_and_goes_on(start: Start, kind: str, request: pytest.FixtureRequest) -> None:
    s = await started(start, kind, request)
    vm_id = await s.create()
    await s.run(vm_id, COUNT)

    await until(lambda: counted(s, vm_id) > 2, "the counter counts")
    assert (await s.api.patch(f"/vm/{vm_id}/state", json={"state": "Paused"})).status_code == 200
    frozen = counted(s, vm_id)
    for _ in range(20):
        await asyncio.sleep(0.01)
        assert counted(s, vm_id) == frozen
    assert (await s.api.patch(f"/vm/{vm_id}/state", json={"state": "Running"})).status_code == 200

    await until(lambda: counted(s, vm_id) > frozen + 2, "the counter goes on where it stood")


@pytest.mark.parametrize("kind", BOTH)
async def test_a_commit_carries_the_disk(start: Start, kind: str, request: pytest.FixtureRequest) -> None:
    s = await started(start, kind, request)
    vm_id = await s.create()
    await s.run(vm_id, "echo first > ~/file; ln -s file ~/link; chmod 600 ~/file")
    commit = (await s.api.post(f"/vm/{vm_id}/commit", json={})).json()["commit_id"]
    await s.run(vm_id, "echo second > ~/file")
    child = (await s.api.post("/vm/from_commit", json={"commit_id": commit})).json()["vm_id"]
    assert await s.run(child, "cat ~/link; stat -c %a ~/file; echo more >> ~/file") == "first\n600\n"
    assert await s.run(vm_id, "cat ~/file") == "second\n"
    branch = (await s.api.post(f"/vm/branch/by_vm/{vm_id}")).json()["vms"][0]["vm_id"]
    assert await s.run(branch, "cat ~/file") == "second\n"
    assert (await s.api.delete(f"/vm/{vm_id}")).status_code == 200
    again = (await s.api.post("/vm/from_commit", json={"commit_id": commit})).json()["vm_id"]  # the commit outlives its VM
    assert await s.run(again, "cat ~/file") == "first\n"


@pytest.mark.parametrize("kind", BOTH)
async def test_a_running_vm_runs_on_after_its_commit(start: Start, kind: str, request: pytest.FixtureRequest) -> None:
    s = await started(start, kind, request)
    vm_id = await s.create()
    await s.run(vm_id, COUNT)

    await until(lambda: counted(s, vm_id) > 1, "the counter counts")
    await s.api.post(f"/vm/{vm_id}/commit", json={})
    after = counted(s, vm_id)

    await until(lambda: counted(s, vm_id) > after + 1, "it is resumed")
    await s.api.post(f"/vm/{vm_id}/commit?keep_paused=true", json={})
    assert await s.state(vm_id) == "paused"
    still = counted(s, vm_id)
    await asyncio.sleep(0.05)
    assert counted(s, vm_id) == still


@pytest.mark.parametrize("kind", BOTH)
async def test_daemons_outlive_their_command_and_die_with_the_vm(start: Start, kind: str, request: pytest.FixtureRequest) -> None:
    s = await started(start, kind, request)
    for end in ("delete", "kill"):
        vm_id = await s.create()
        await s.run(vm_id, COUNT)
        members = s.simulator.guests.members  # type: ignore[union-attr]
        await until(lambda m=members, v=vm_id: len(m(v)) > 0, "the daemon runs")
        pids = members(vm_id)
        if end == "delete":
            await s.api.delete(f"/vm/{vm_id}")
        else:
            await s.admin.post(f"/vms/{vm_id}/kill")
            assert await s.state(vm_id) == "dead"
        await until(lambda p=pids: not any(_alive(pid) for pid in p), f"all its processes end by {end}")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


@pytest.mark.real("bwrap")
async def test_processes_may_be_lost_on_resume(start: Start, bwrap: None) -> None:
    s = await start(guests="isolated", knobs=Knobs(lose_processes_on_resume="yes"))
    vm_id = await s.create()
    await s.run(vm_id, "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo kept > /root/file")
    await s.api.patch(f"/vm/{vm_id}/state", json={"state": "Paused"})
    await s.api.patch(f"/vm/{vm_id}/state", json={"state": "Running"})
    assert await s.run(vm_id, "ps -eo args= | grep -c '[s]leep 1000' || cat /root/file") == "0\nkept\n"


@pytest.mark.guarantee("G-12")
@pytest.mark.parametrize("kind", BOTH)
async def test_the_clock_of_a_restored_guest_may_be_off_and_be_corrected(start: Start, kind: str, request: pytest.FixtureRequest) -> None:
    s = await started(start, kind, request, knobs=Knobs(clock_offset_on_restore=-86400))
    vm_id = await s.create()
    assert abs(float(await s.run(vm_id, "date +%s.%N")) - s.now()) < 60
    commit = (await s.api.post(f"/vm/{vm_id}/commit", json={})).json()["commit_id"]
    child = (await s.api.post("/vm/from_commit", json={"commit_id": commit})).json()["vm_id"]
    assert abs(float(await s.run(child, "date -u +%s.%N")) - s.now() + 86400) < 60
    await s.run(child, f"date -u -s @{s.now():.3f}")
    assert abs(float(await s.run(child, "date +%s.%N")) - s.now()) < 60


# --- exec and files over the API -------------------------------------------------------------------------------------------


@pytest.fixture
async def vm(start: Start) -> tuple[Running, str]:
    s = await start(guests="process")
    return s, await s.create()


async def test_exec(vm: tuple[Running, str]) -> None:
    s, vm_id = vm
    command = ["sh", "-c", 'cat; echo "$X" >&2; pwd; exit 3']
    body = {
        "command": command,
        "env": {"X": "$(id) 'q'"},
        "working_dir": "/root/workspace",
        "stdin": "in\n",
        "exec_id": "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb",
    }
    answer = (await s.api.post(f"/vm/{vm_id}/exec", json=body)).json()
    assert (answer["exit_code"], answer["stderr"], answer["exec_id"]) == (3, "$(id) 'q'\n", body["exec_id"])
    assert answer["stdout"].startswith("in\n")
    assert answer["stdout"].endswith("/root/workspace\n")
    plain = (await s.api.post(f"/vm/{vm_id}/exec", json={"command": ["printf", "\\377"]})).json()
    assert plain == {"exit_code": 0, "stdout": "\ufffd", "stderr": ""}
    missing = (await s.api.post(f"/vm/{vm_id}/exec", json={"command": ["/no/such/program"]})).json()
    assert missing["exit_code"] == 127
    for bad, status in (({"command": []}, 400), ({"command": "ls"}, 422), ({}, 422), ({"command": [1]}, 422)):
        assert (await s.api.post(f"/vm/{vm_id}/exec", json=bad)).status_code == status


async def test_exec_ends_at_its_timeout_and_at_the_platforms(vm: tuple[Running, str]) -> None:
    s, vm_id = vm
    ended = await s.api.post(f"/vm/{vm_id}/exec", json={"command": ["sleep", "1000"], "timeout_secs": 1})
    assert ended.json()["exit_code"] == 124
    s.simulator.set_knobs("exec_cap_s=0.2")
    capped = await s.api.post(f"/vm/{vm_id}/exec", json={"command": ["sleep", "1000"]})
    assert (capped.status_code, capped.json()) == (500, {"error": "exec timed out", "success": False})


async def test_a_stream_and_joining_it_again(vm: tuple[Running, str]) -> None:
    s, vm_id = vm
    exec_id = "aaaaaaaa-1111-4222-8333-cccccccccccc"
    body = {
        "command": ["sh", "-c", "echo one; echo two >&2; until [ -e ~/go ]; do sleep 0.01; done; echo three; exit 4"],
        "exec_id": exec_id,
    }
    async with s.api.stream("POST", f"/vm/{vm_id}/exec/stream", json=body) as stream:
        assert stream.status_code == 200
        lines = stream.aiter_lines()
        first = [orjson.loads(await anext(lines)), orjson.loads(await anext(lines))]
        assert {(row["stream"], base64.b64decode(row["data_b64"])) for row in first} == {("stdout", b"one\n"), ("stderr", b"two\n")}
        assert [row["cursor"] for row in first] == [1, 2]
    await s.run(vm_id, "touch ~/go")  # the first listener has gone; the command goes on
    again = await s.api.post(f"/vm/{vm_id}/exec/stream/attach", json={"exec_id": exec_id, "cursor": 2})
    rows = [orjson.loads(line) for line in again.text.splitlines()]
    assert [row["type"] for row in rows] == ["chunk", "exit"]
    assert base64.b64decode(rows[0]["data_b64"]) == b"three\n"
    assert (rows[1]["exit_code"], rows[1]["exec_id"]) == (4, exec_id)
    whole = await s.api.post(f"/vm/{vm_id}/exec/stream/attach", json={"exec_id": exec_id})
    assert len(whole.text.splitlines()) == 4
    logs = (await s.api.get(f"/vm/{vm_id}/logs?stream=stdout")).json()
    assert [base64.b64decode(row["data_b64"]) for row in logs["entries"]] == [b"one\n", b"three\n"]
    assert logs["eof"] is True
    rest = (await s.api.get(f"/vm/{vm_id}/logs?offset={logs['next_offset']}")).json()
    assert (rest["entries"], rest["next_offset"]) == ([], logs["next_offset"])
    unknown = await s.api.post(f"/vm/{vm_id}/exec/stream/attach", json={"exec_id": vm_id})
    assert unknown.status_code == 404
    assert (await s.api.post(f"/vm/{vm_id}/exec", json=body)).status_code == 409


async def test_files(vm: tuple[Running, str]) -> None:
    s, vm_id = vm
    data = os.urandom(300_000)

    async def put(**body: object) -> httpx.Response:
        return await s.api.put(f"/vm/{vm_id}/files", json={"content_b64": base64.b64encode(data).decode(), **body})

    assert (await put(path="/root/deep/file")).status_code == 404
    written = await put(path="/root/deep/file", create_dirs=True, mode=0o600)
    assert (written.status_code, written.content, written.headers.get("content-type")) == (200, b"", None)
    assert base64.b64decode((await s.api.get(f"/vm/{vm_id}/files", params={"path": "/root/deep/file"})).json()["content_b64"]) == data
    assert await s.run(vm_id, "stat -c %a ~/deep/file") == "600\n"
    assert (await put(path="/root/other")).status_code == 200
    assert await s.run(vm_id, "stat -c %a ~/other") == "644\n"
    assert (await put(path="relative")).status_code == 400
    assert (await put(path="/root/x", content_b64="***")).status_code == 400
    assert (await s.api.get(f"/vm/{vm_id}/files", params={"path": "/root/none"})).status_code == 404
    assert (await s.api.get(f"/vm/{vm_id}/files")).status_code == 400


async def test_links_of_a_guest_lead_nowhere_outside_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "real").write_text("guest")
    (root / "absolute").symlink_to("/etc/real")
    (root / "up").symlink_to("../../../../etc/real")
    (root / "dir").symlink_to("/etc")
    (root / "loop").symlink_to("/loop")
    for path in ("/absolute", "/up", "/dir/real", "/../../etc/real", "/dir/../etc/real"):
        assert resolve_inside(root, path).read_text() == "guest"
    assert resolve_inside(root, "/etc/new") == root / "etc" / "new"
    with pytest.raises(GuestError):
        resolve_inside(root, "/loop")


async def test_account_variables_reach_new_guests(start: Start) -> None:
    s = await start(guests="process")
    await s.api.put("/env_vars", json={"vars": {"GREETING": "good day"}})
    assert await s.run(await s.create(), 'echo "$GREETING"') == "good day\n"


async def test_a_stub_says_that_nothing_runs(start: Start) -> None:
    s = await start()
    vm_id = await s.create()
    answer = await s.api.post(f"/vm/{vm_id}/exec", json={"command": ["true"]})
    assert answer.status_code == 500
    assert "stub guests run no processes" in answer.json()["error"]
