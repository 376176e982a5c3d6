"""A controller in the foreground, from outside; machines with nothing inside suffice here."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.background import Platform, eventually
from tests.program import Program

PROFILE = """apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {name: %s}
spec:
  extends: {name: lightweight}
  env:
  - {name: A, value: "%s"}
"""
API = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec:
  role: Test
  profileRef: {name: lightweight}
"""
FAST = {"RECONCILER_SETTLE_SECONDS": "1", "RECONCILER_RESYNC_SECONDS": "0.2"}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Without a key; an empty folder `specs`."""
    (tmp_path / "specs").mkdir()
    return Program(tmp_path, dict(FAST), warm=True)


@pytest.mark.guarantee("G-42")
def test_a_broken_document_leaves_the_last_good_version_in_force(program: Program) -> None:
    specs = program.folder / "specs"
    (specs / "a.yaml").write_text(PROFILE % ("a", "1"))
    with program.controller("specs") as controller:
        program("wait", "bp/a", "--for", "Ready")
        (specs / "a.yaml").write_text((PROFILE % ("a", "2")).replace("env:", "envs:"))
        (specs / "b.yaml").write_text(PROFILE % ("b", "1"))
        controller.says("specs/a.yaml:6:3: spec.envs: unknown field")
        program("wait", "bp/b", "--for", "Ready")
        assert program.json("get", "bp", "a")["spec"]["env"][0]["value"] == "1"
        (specs / "b.yaml").write_text(PROFILE % ("b", "2"))
        eventually(lambda: program.json("get", "bp", "b")["spec"]["env"][0]["value"] == "2", "the other file goes on")
        (specs / "a.yaml").write_text(PROFILE % ("a", "3"))
        controller.says("specs/a.yaml: good again")
        eventually(lambda: program.json("get", "bp", "a")["spec"]["env"][0]["value"] == "3", "the corrected version")
        assert controller.said.count("spec.envs") == 1, "said once"
        (specs / "c.yaml").write_text((PROFILE % ("c", "1")).replace("env:", "envs:"))
        controller.says("specs/c.yaml:6:3: spec.envs: unknown field")
        (specs / "c.yaml").unlink()
        controller.says("specs/c.yaml: gone, and with it what was wrong in it")
        assert controller.stop() == 0


def test_a_missing_or_wrong_key_is_told_and_may_be_corrected(stub: Platform, program: Program) -> None:
    (program.folder / "specs" / "api.yaml").write_text(API)
    told = stub.endpoints.environment()
    key = told.pop("VERS_API_KEY")
    program.env.update(told)
    with program.controller("specs") as controller:
        controller.says("there is no Vers API key")
        controller.says("waiting")
        keys = program.home / ".vers" / "keys.json"
        keys.parent.mkdir()
        keys.write_text(json.dumps({"keys": {"VERS_API_KEY": key[:-4] + "0000"}}))
        eventually(lambda: controller.said.count("platform: ") >= 2, "the wrong key is told too")
        assert not stub.present()
        keys.write_text(json.dumps({"keys": {"VERS_API_KEY": key}}))
        controller.says("platform: answers again")
        controller.says("CreatedVM")
        assert key[36:] not in controller.said
        assert len(stub.present()) == 1
        assert controller.stop() == 0
    assert len(stub.present()) == 1


@pytest.mark.guarantee("G-02")
def test_a_lost_store_is_lost_until_its_claims_were_read(stub: Platform, program: Program) -> None:
    """The platform is away when the controller starts, which is stopped while it waits; the next one finds the machine all the same."""
    (program.folder / "specs" / "api.yaml").write_text(API)
    program.env.update(stub.endpoints.environment())
    with program.controller("specs") as controller:
        eventually(lambda: [vm for vm in stub.present() if stub.simulator.world.present[vm].labels.get("fleet.vers.sh/vm-id")], "a claim")
        assert controller.stop() == 0
    for file in program.state.glob("state.db*"):
        file.unlink()
    there = program.env["VERS_BASE_URL"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        program.env["VERS_BASE_URL"] = f"http://127.0.0.1:{free.getsockname()[1]}"
        with program.controller("specs") as controller:
            controller.says("the platform does not list its machines yet")
            controller.stop(signal.SIGINT)
    program.env["VERS_BASE_URL"] = there
    with program.controller("specs") as controller:
        controller.says("its machines are looked for by their claims")
        (machine,) = stub.present()
        eventually(lambda: machine in program("get", "lt", "-o", "json", code=None), "it has its machine")
        assert controller.stop() == 0
    assert stub.ever() == [machine]


def test_an_unreachable_platform_is_told(program: Program) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        program.env.update(VERS_API_KEY="x" * 100, VERS_BASE_URL=f"http://127.0.0.1:{free.getsockname()[1]}")
    done = program.full("run", "specs", "--once", "--timeout", "60")
    assert done.returncode == 0, "nothing is declared, so nothing is missing"
    (program.folder / "specs" / "api.yaml").write_text(API)
    done = program.full("run", "specs", "--once", "--timeout", "6")
    assert done.returncode == 3
    assert "platform: " in done.stderr
    assert "waiting" in done.stderr


def test_once_says_what_can_not_be_reached(program: Program) -> None:
    specs = program.folder / "specs"
    (specs / "a.yaml").write_text(PROFILE % ("a", "1"))
    assert program("run", "specs", "--once", "--timeout", "60") is not None
    (specs / "b.yaml").write_text((PROFILE % ("b", "1")).replace("lightweight", "nowhere"))
    done = program.full("run", "specs", "--once", "--timeout", "60")
    assert done.returncode == 1
    assert "bootprofile/b: ProfileNotFound" in done.stderr
    (specs / "b.yaml").write_text("kind: Nothing\n")
    done = program.full("run", "specs", "--once", "--timeout", "60")
    assert done.returncode == 1
    assert "specs/b.yaml:1:1: kind" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_stops_in_time_and_only_one_runs(program: Program, number: signal.Signals, code: int) -> None:
    (program.folder / "specs" / "a.yaml").write_text(PROFILE % ("a", "1"))
    with program.controller("specs") as controller:
        program("wait", "bp/a", "--for", "Ready")
        second = program.full("run", "specs")
        assert second.returncode == 4
        assert f"process {controller.process.pid}" in second.stderr
        assert stat.S_IMODE((program.state / "control.sock").stat().st_mode) == 0o600
        assert controller.stop(number) == code
        assert not (program.state / "control.sock").exists()


@pytest.mark.parametrize("depth", [1, 12])
def test_writes_go_to_the_running_controller(program: Program, depth: int) -> None:
    """Also where the path of its socket is longer than a socket's address may be."""
    program.env["RECONCILER_STATE"] = str(program.folder.joinpath(*["a-long-directory"] * depth))
    (program.folder / "specs" / "a.yaml").write_text(PROFILE % ("a", "1"))
    (program.folder / "b.yaml").write_text(PROFILE % ("b", "1"))
    with program.controller("specs") as controller:
        program("wait", "bp/a", "--for", "Ready")
        assert program("apply", "-f", "b.yaml") == "bootprofile/b created\n"
        program("wait", "bp/b", "--for", "Ready")
        assert program("apply", "-f", "b.yaml") == "bootprofile/b unchanged\n"
        refused = program.full("apply", "-f", "specs/a.yaml")
        assert refused.returncode == 4
        assert "specs/a.yaml:1" in refused.stderr
        program("delete", "bp", "a", code=4)
        program("delete", "bp", "b", "--wait")
        assert controller.stop() == 0
    # Without it, the same words reach the store.
    program("delete", "bp", "a", code=4)
    (program.folder / "specs" / "a.yaml").unlink()
    program("delete", "bp", "a")
    assert program("get", "bp", "-o", "name") == ""


@pytest.mark.guarantee("G-67")
@pytest.mark.guarantee("G-07")
def test_the_platform_s_machines_by_their_whole_ids(stub: Platform, program: Program) -> None:
    program.env.update(stub.endpoints.environment())
    foreign = [vm.id for vm in stub.simulator.world.present.values()]
    (program.folder / "specs" / "api.yaml").write_text(API)
    with program.controller("specs") as controller:
        controller.says("CreatedVM")
        (vm_id,) = stub.present()
        table = program("get", "vm")
        assert vm_id in table
        assert "lieutenant/api" in table
        assert foreign[0] in table
        assert table.split()[:3] == ["NAME", "READY", "REASON"]
        assert {tuple(line.split()[1:3]) for line in table.splitlines()[1:]} == {("True", "Running")}
        assert {item["metadata"]["name"] for item in program.json("get", "vms")["items"]} == {vm_id, *foreign}
        assert controller.stop() == 0
    assert stub.present() == [vm_id]
    assert set(foreign) <= set(stub.simulator.world.present)


@pytest.mark.guarantee("G-41")
def test_a_plan_has_no_side_effect(stub: Platform, program: Program) -> None:
    program.env.update(stub.endpoints.environment())
    (program.folder / "specs" / "api.yaml").write_text(API)
    first = program.json("plan", "specs", code=2)
    assert not program.state.exists(), "not even a state directory"
    assert stub.present() == []
    assert first["actions"][0]["verb"] == "Create"
    assert set(first["actions"][0]) == {"kind", "name", "namespace", "verb", "target", "reason"}
    assert program.json("plan", "specs", code=2)["inputsHash"] == first["inputsHash"]
    (program.folder / "specs" / "api.yaml").write_text(API.replace("Test", "Other"))
    assert program.json("plan", "specs", code=2)["inputsHash"] != first["inputsHash"]
    dry = program.full("run", "specs", "--dry-run")
    assert dry.returncode == 0
    assert "Create" in dry.stdout
    (program.folder / "specs" / "api.yaml").write_text("kind: Nothing\n")
    assert program.full("plan", "specs").returncode == 1


def test_json_lines_for_programs(program: Program) -> None:
    (program.folder / "specs" / "a.yaml").write_text(PROFILE % ("a", "1"))
    with program.controller("specs", "--log-format", "json") as controller:
        program("wait", "bp/a", "--for", "Ready")
        program("delete", "bp", "a", code=4)
        (program.folder / "specs" / "a.yaml").unlink()
        controller.says("no longer declared")
        program("delete", "bp", "a")
        controller.says('"reason": "Deleted"')
        rows = [json.loads(line) for line in controller.said.splitlines() if line.startswith("{")]
        assert rows[-1]["kind"] == "BootProfile"
        assert controller.stop() == 0


def test_simulate_says_how_to_reach_it(program: Program) -> None:
    command = program.command("simulate", "--guests", "stub", "--env-file", "env", "--seed", "7")
    with subprocess.Popen(command, env=program.env, cwd=program.folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            assert set(told) == {"url", "apiKey", "gateway", "vmDomain", "ca", "admin"}
            file = program.folder / "env"
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            exported = dict(line.removeprefix("export ").split("=", 1) for line in file.read_text().splitlines())
            assert exported["VERS_API_KEY"] == told["apiKey"]
            assert exported["RECONCILER_SETTLE_SECONDS"] == "3"
            program.env.update(exported)
            assert program("get", "vm", "-o", "name") == ""
            checked = program("doctor")
            assert "wrong" not in checked
            assert "--allow-local lets them" in checked
            assert re.search(r"^ok     clock .*differ by less", checked, re.MULTILINE)
            assert re.search(r"^(ok|note)   +git ", checked, re.MULTILINE)
            allowed = program("doctor", "--allow-local", code=None)
            assert "agents may run on this host with node" in allowed or "wrong  local" in allowed
            assert told["apiKey"][36:] not in checked
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_reader_that_goes_away_harms_nothing(program: Program) -> None:
    """`reconciler crds | head -1`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "crds"], env=program.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    told = process.stderr.read().decode()
    process.stderr.close()
    process.wait(30)
    assert "Traceback" not in told
    assert "Exception" not in told
