"""Start, stop, restart, the administrator and the page."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import pytest

from reconciler.errors import UsageError
from reconciler.vers.simulator import ports
from reconciler.vers.simulator.service import Simulator, SimulatorConfig, configure
from tests.simulator.conftest import Start
from tests.simulator.support import Running, running, until

_SERVE = """
import sys
from pathlib import Path
from reconciler.vers.simulator.service import configure, run
sys.exit(run(configure(data=Path(sys.argv[1]), env_file=Path(sys.argv[2]), guests=sys.argv[3], knobs=("foreign_vms=1",))))
"""


def there(path: Path) -> bool:
    return path.exists()


def mode(path: Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


async def everything(s: Running) -> dict[str, object]:
    """All that a client can see."""
    rows = (await s.api.get("/vms")).json()
    seen: dict[str, object] = {row["vm_id"]: [row, (await s.api.get(f"/vm/{row['vm_id']}/metadata")).json()] for row in rows}
    for path in ("/commits", "/commit_tags", "/repositories", "/repositories/r/tags", "/env_vars", "/whoami"):
        seen[path] = (await s.api.get(path)).json()
    return seen


async def test_a_data_directory_has_the_same_platform_again(tmp_path: Path) -> None:
    config = SimulatorConfig(guests="process", data=tmp_path / "data")
    async with running(config) as s:
        vm_id, paused, deleted = await s.create(labels={"a": "b"}), await s.create(), await s.create()
        await s.run(vm_id, "echo kept > ~/file")
        commit = (await s.api.post(f"/vm/{vm_id}/commit", json={"name": "c"})).json()["commit_id"]
        await s.api.post("/commit_tags", json={"tag_name": "t", "commit_id": commit})
        await s.api.post("/repositories", json={"name": "r"})
        await s.api.post("/repositories/r/tags", json={"tag_name": "v1", "commit_id": commit})
        await s.api.put("/env_vars", json={"vars": {"X": "1"}})
        await s.api.patch(f"/vm/{paused}/state", json={"state": "Sleeping"})
        await s.api.delete(f"/vm/{deleted}")
        key = (await s.api.get(f"/vm/{vm_id}/ssh_key")).json()
        before, api_key = await everything(s), s.endpoints.api_key
        made = set(s.simulator.world.vms)
    async with running(config) as s:
        assert await everything(s) == before
        assert s.endpoints.api_key == api_key
        assert (await s.api.get(f"/vm/{vm_id}/ssh_key")).json() == key
        assert await s.run(vm_id, "cat ~/file") == "kept\n"
        assert await s.state(paused) == "sleeping"
        child = (await s.api.post("/vm/from_commit", json={"ref": "r:v1"})).json()["vm_id"]
        assert child not in made
        assert await s.run(child, "cat ~/file") == "kept\n"
        assert (await s.api.delete(f"/vm/{deleted}")).status_code == 403
    assert mode(tmp_path / "data" / "world.db") == 0o600


@pytest.mark.real("bwrap")
async def test_isolated_guests_come_back_with_a_new_pid_1(tmp_path: Path, bwrap: None) -> None:
    config = SimulatorConfig(guests="isolated", data=tmp_path / "data")
    async with running(config) as s:
        vm_id, paused = await s.create(), await s.create()
        await s.run(vm_id, "echo kept > /root/file; setsid sleep 1000 >/dev/null 2>&1 </dev/null &")
        await s.api.patch(f"/vm/{paused}/state", json={"state": "Paused"})
    async with running(config) as s:
        assert await s.run(vm_id, "cat /root/file; hostname; ps -eo args= | grep -c '[s]leep 1000' || true") == f"kept\n{vm_id}\n0\n"
        assert (await s.state(vm_id), await s.state(paused)) == ("running", "paused")
        await s.api.patch(f"/vm/{paused}/state", json={"state": "Running"})
        assert await s.run(paused, "echo up") == "up\n"


async def test_a_data_directory_has_one_simulator_and_may_be_broken(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running(SimulatorConfig(guests="stub", data=data)) as s:
        with pytest.raises(UsageError) as refused:
            await Simulator().start(SimulatorConfig(guests="stub", data=data))
        assert f"--data {data}" in str(refused.value)
        await s.create()
    (data / "world.db").write_bytes(b"not a database" * 100)
    with pytest.raises(UsageError) as refused:
        await Simulator().start(SimulatorConfig(guests="stub", data=data))
    assert refused.value.remedy


async def test_a_restart_on_the_same_data_listens_at_the_same_ports_and_one_without_data_does_not(tmp_path: Path) -> None:
    config = SimulatorConfig(guests="stub", data=tmp_path / "data")
    async with running(config) as s:
        before = s.endpoints
    async with running(config) as s, running(SimulatorConfig(guests="stub", data=tmp_path / "other")) as other:
        assert (s.endpoints.url, s.endpoints.gateway) == (before.url, before.gateway)
        assert (other.endpoints.url, other.endpoints.gateway) != (before.url, before.gateway)


async def test_a_port_that_is_asked_for_is_stronger_than_the_kept_one(tmp_path: Path) -> None:
    async with running(SimulatorConfig(guests="stub", data=tmp_path / "first")) as s:
        free = int(s.endpoints.url.rpartition(":")[2])
    async with running(SimulatorConfig(guests="stub", data=tmp_path / "data")) as s:
        before = s.endpoints
    async with running(SimulatorConfig(guests="stub", data=tmp_path / "data", port=free)) as s:
        assert (s.endpoints.url, s.endpoints.gateway) == (f"http://127.0.0.1:{free}", before.gateway)


async def test_a_kept_port_that_somebody_else_has_is_named_and_the_new_one_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ports, "WAIT_S", 0.0)
    config = SimulatorConfig(guests="stub", data=tmp_path / "data")
    async with running(config) as s:
        before = s.endpoints
    old = before.gateway.rpartition(":")[2]
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", int(old))
    async with taken, running(config) as s:
        moved = s.endpoints
        new = moved.gateway.rpartition(":")[2]
        assert (moved.url, new == old) == (before.url, False)
    (told,) = [record.getMessage() for record in caplog.records if record.name == ports.__name__]
    assert f"the machines' gateway was {old}" in told
    assert f"now it is {new}" in told
    assert "--env-file" in told
    async with running(config) as s:
        assert s.endpoints.gateway == moved.gateway


async def test_a_kept_port_that_is_held_for_a_moment_is_waited_for() -> None:
    attempts: list[int] = []

    async def start(port: int) -> int:
        attempts.append(port)
        if len(attempts) < 3:
            raise OSError(errno.EADDRINUSE, "in use")
        return port

    assert await ports.listen(start, 0, 4000, "the API") == 4000
    assert attempts == [4000, 4000, 4000]


async def test_late_effects_survive_a_restart(tmp_path: Path) -> None:
    config = SimulatorConfig(guests="stub", data=tmp_path / "data", faults=("new_root:1:late=0.5",))
    async with running(config) as s:
        with pytest.raises(httpx.ReadError):
            await s.api.post("/vm/new_root", json={"vm_config": {}})
        early = len(s.simulator.world.vms)
    async with running(SimulatorConfig(guests="stub", data=tmp_path / "data")) as s:
        await until(lambda: len(s.simulator.world.vms) == 1, "the late VM")
    assert early == 0


async def test_without_data_nothing_is_left_behind() -> None:
    async with running(SimulatorConfig(guests="process")) as s:
        vm_id = await s.create()
        await s.run(vm_id, "setsid sleep 1000 >/dev/null 2>&1 </dev/null &")
        members = s.simulator.guests.members  # type: ignore[union-attr]
        assert members(vm_id)
        directory = Path(s.endpoints.ca).parent
    assert not members(vm_id)
    assert not there(directory)


@pytest.mark.guarantee("G-64")
@pytest.mark.parametrize("guests", ["stub", pytest.param("isolated", marks=pytest.mark.real("bwrap"))])
async def test_the_command_prints_one_line_and_ends_on_sigterm(tmp_path: Path, guests: str, request: pytest.FixtureRequest) -> None:
    if guests == "isolated":
        request.getfixturevalue("bwrap")
    env_file = tmp_path / "env"
    command = [sys.executable, "-c", _SERVE, str(tmp_path / "data"), str(env_file), guests]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = json.loads(await process.stdout.readline())
        assert list(line) == ["url", "apiKey", "gateway", "vmDomain", "ca", "admin"]
        assert line["url"].startswith("http://127.0.0.1:")
        assert line["gateway"].startswith("127.0.0.1:")
        assert len(line["apiKey"]) == 36 + 64
        assert mode(env_file) == 0o600
        sourced = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            """. "$0"; printf '%s\\n' "$VERS_API_KEY" "$VERS_BASE_URL" """
            '"$RECONCILER_VM_GATEWAY" "$RECONCILER_VM_DOMAIN" "$RECONCILER_VM_CA"',
            str(env_file),
            stdout=subprocess.PIPE,
        )
        words = (await sourced.communicate())[0].decode().splitlines()
        assert words == [line[name] for name in ("apiKey", "url", "gateway", "vmDomain", "ca")]
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {line['apiKey']}"}, verify=False) as api:
            assert len((await api.get(f"{line['url']}/api/v1/vms")).json()) == 1
            await api.post(f"{line['url']}/api/v1/vm/new_root", json={"vm_config": {}})
        async with httpx.AsyncClient(verify=False) as admin:  # the credential is in the URL
            assert len((await admin.get(f"{line['admin']}/state")).json()["vms"]) == 2
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert await process.stdout.read() == b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.guarantee("G-64")
async def test_page_and_administration_need_their_own_credential(start: Start) -> None:
    s = await start()
    async with httpx.AsyncClient(base_url=s.endpoints.url, verify=False) as anyone:
        for path in ("/", "/admin/state", "/admin/calls", "/admin/nothing"):
            for headers in ({}, {"Authorization": f"Bearer {s.endpoints.api_key}"}, {"Authorization": "Basic !!"}):
                answer = await anyone.get(path, headers=headers)
                assert (answer.status_code, answer.text) == (401, "401 Unauthorized")
        assert (await anyone.get("/", auth=("x", s.endpoints.admin_token))).status_code == 200


@pytest.mark.guarantee("G-64")
async def test_the_page_escapes_everything(start: Start) -> None:
    s = await start()
    vm_id = await s.create(labels={"<script>": '"><img src=x>'})
    await s.api.get("/<b>&path</b>")
    page = await s.admin.get(f"{s.endpoints.url}/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert vm_id in page.text
    for raw in ("<script>", "<img", "<b>"):
        assert raw not in page.text
    assert "&lt;script&gt;=&quot;&gt;&lt;img src=x&gt;" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text


async def test_administration(start: Start) -> None:
    s = await start()
    vm_id = await s.create()
    foreign = (await s.admin.post("/vms", json={"labels": {"who": "else"}})).json()["vm_id"]
    assert await s.listed() == {vm_id, foreign}
    assert (await s.admin.post("/faults", json={"spec": "list_vms:1:503"})).json() == {"fault": "list_vms:1:before:503"}
    assert (await s.api.get("/vms")).status_code == 503
    assert (await s.admin.delete("/faults")).status_code == 204
    assert (await s.admin.patch("/knobs", json={"suspend_dialect": "sleeping"})).json()["suspend_dialect"] == "sleeping"
    assert (await s.api.patch(f"/vm/{vm_id}/state", json={"state": "Paused"})).status_code == 422
    assert (await s.admin.patch("/latency", json={"list_vms": 0.01})).json() == {"list_vms": 0.01}
    for deed, state in (("suspend", "sleeping"), ("resume", "running"), ("kill", "dead")):
        assert (await s.admin.post(f"/vms/{vm_id}/{deed}")).status_code == 204
        assert await s.state(vm_id) == state
    await s.admin.post("/key", json={"state": "expired"})
    assert (await s.api.get("/vms")).text == "403 Forbidden"
    await s.admin.post("/key", json={"state": "valid"})
    await s.api.delete(f"/vm/{vm_id}")
    truth = (await s.admin.get("/state")).json()
    assert {row["vm_id"]: (row["exists"], row["foreign"]) for row in truth["vms"]} == {vm_id: (False, False), foreign: (True, True)}
    assert truth["counts"]["new_root"] == 1
    calls = (await s.admin.get("/calls", params={"after": 1})).json()["calls"]
    assert calls[0]["seq"] == 2
    changes = [row["op"] for row in (await s.admin.get("/changes")).json()["changes"]]
    assert changes == ["new_root", "foreign", "suspend", "resume", "vm_dies", "delete_vm"]
    for method, path, sent in (
        ("POST", "/faults", {"spec": "x"}),
        ("PATCH", "/knobs", {"x": "1"}),
        ("PATCH", "/latency", {"x": 1}),
        ("PATCH", "/latency", {"*": -1}),
    ):
        refused = await s.admin.request(method, path, json=sent)
        assert refused.status_code == 400
        assert refused.json()["error"]
    assert (await s.admin.post(f"/vms/{foreign}/explode")).status_code == 404


@pytest.mark.guarantee("G-60")
async def test_secrets_are_in_no_repr_and_not_in_the_truth(start: Start) -> None:
    s = await start()
    vm_id = await s.create()
    secrets = (s.endpoints.api_key[36:], s.endpoints.admin_token, s.simulator.world.vms[vm_id].key_seed)
    told = [repr(s.endpoints), repr(s.simulator.world.account), repr(s.simulator.world.vms[vm_id])]
    told += [(await s.admin.get(path)).text for path in ("/state", "/calls", "/changes")]
    for secret in secrets:
        assert not any(secret in text for text in told)


async def test_an_address_in_use_is_said_plainly_and_nothing_stays(start: Start, tmp_path: Path) -> None:
    s = await start()
    port = int(s.endpoints.url.rpartition(":")[2])
    with pytest.raises(UsageError) as refused:
        await Simulator().start(SimulatorConfig(guests="stub", port=port))
    assert f"127.0.0.1:{port}" in str(refused.value)
    with pytest.raises(UsageError):
        await Simulator().start(SimulatorConfig(guests="stub", data=Path("/proc/none")))


def test_the_command_lines_words() -> None:
    config = configure("127.0.0.1:8080", latencies=("list_vms=0.5",), faults=("*:*:503",), knobs=("quota=3",), seed=4, guests="stub")
    assert (config.host, config.port, config.latency, config.knobs.quota, config.seed) == ("127.0.0.1", 8080, {"list_vms": 0.5}, 3, 4)
    for wrong in (
        {"listen": "8080"},
        {"listen": "h:x"},
        {"latencies": ("x=1",)},
        {"latencies": ("list_vms=-1",)},
        {"faults": ("x",)},
        {"knobs": ("x",)},
    ):
        with pytest.raises(UsageError) as refused:
            configure(**wrong)  # type: ignore[arg-type]
        assert refused.value.remedy
