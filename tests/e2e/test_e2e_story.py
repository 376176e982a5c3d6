"""What a user does in a day, from outside: the program, real machines, real pi."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.background import Platform, eventually
from tests.e2e.conftest import CANARY
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow]

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

FIRST = """apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: first}
spec:
  lieutenantRef: {name: api}
  prompt: |
    Write hello.txt <<<[{"tool":"write","args":{"path":"hello.txt","content":"hello\\n"}},{"say":"hello.txt is written"}]>>>
  acceptance:
  - file: {path: hello.txt, minBytes: 6}
"""

LOOP = 'Keep looking <<<[{"tool":"bash","args":{"command":"sleep 0.3"}}]>>>'


def field(program: Program, words: str, path: str) -> str:
    return program("get", *words.split(), "-o", f"jsonpath={path}")


@pytest.mark.guarantee("G-07")
@pytest.mark.guarantee("G-41")
@pytest.mark.guarantee("G-67")
def test_a_day(real: Platform, reconciler: Program) -> None:
    foreign = {vm.id: dict(vm.labels) for vm in real.simulator.world.present.values()}
    planned = json.loads(reconciler("plan", "specs", "-o", "json", code=2))
    assert [a["verb"] for a in planned["actions"]].count("Create") == 1
    assert len(planned["inputsHash"]) == 64
    assert sum(planned["summary"].values()) == len(planned["actions"])
    assert not real.ever(), "a plan makes nothing"

    with reconciler.controller("specs") as controller:
        # It converges, a plan then has nothing to do, and ids are whole.
        reconciler.comes("lieutenant/api", "--for", "Ready")
        reconciler("plan", "specs")
        vm_id = field(reconciler, "lt api", "{.status.vm.id}")
        assert real.present() == [vm_id]
        assert vm_id in reconciler("get", "lt", "-o", "wide")
        assert vm_id in controller.said
        assert all(len(word) == 36 for word in UUID.findall(reconciler("get", "vm")))
        pid = field(reconciler, "lt api", "{.status.agent.pid}")

        # A file that appears is acted on.
        (reconciler.folder / "specs" / "task.yaml").write_text(FIRST)
        reconciler.comes("task/first", "--for", "phase=Succeeded")
        assert "hello.txt is written" in reconciler("output", "api", "--task", "first")

        # Work from the command line, with its answer.
        assert reconciler("send", "api", 'Say it <<<[{"say":"as you wish"}]>>>', "--wait").strip() == "as you wish"
        failed = reconciler.full("send", "api", 'Nothing <<<[{"say":"done"}]>>>', "--file-exists", "missing.txt", "--wait")
        assert failed.returncode == 1
        assert "AcceptanceFailed" in failed.stderr

        # A steer reaches the running turn, and only that.
        looking = reconciler("send", "api", LOOP).strip()
        reconciler("wait", f"task/{looking}", "--for", "phase=Running")
        reconciler("send", "api", 'Stop it <<<[{"say":"stopped looking"}]>>>', "--steer", "--wait")
        reconciler("wait", f"task/{looking}", "--for", "phase=Succeeded")
        assert reconciler("output", "api").strip() == "stopped looking"

        # Cancelling ends a turn.
        looking = reconciler("send", "api", LOOP).strip()
        reconciler("wait", f"task/{looking}", "--for", "phase=Running")
        reconciler("cancel", looking)
        reconciler("wait", f"task/{looking}", "--for", "phase=Cancelled")

        # Suspended in its file, comments kept; work waits; resumed, the same process goes on.
        reconciler("suspend", "lt", "api")
        text = (reconciler.folder / "specs" / "api.yaml").read_text()
        assert "# who it is" in text
        assert "mode: Suspended" in text
        reconciler("wait", "lt/api", "--for", "Suspended")
        waiting = reconciler("send", "api", 'Awake <<<[{"say":"good morning"}]>>>').strip()
        assert real.simulator.world.present[vm_id].suspended
        reconciler("wait", f"task/{waiting}", "--for", "phase=Succeeded", "--timeout", "1", code=3)
        reconciler("resume", "lt/api")
        reconciler("wait", f"task/{waiting}", "--for", "phase=Succeeded")
        assert field(reconciler, "lt api", "{.status.agent.pid}") == pid

        answers = reconciler("output", "api", "--history", "2").splitlines()
        assert [line for line in answers if line.startswith("--- answer ")] == ["--- answer 1 of 2 ---", "--- answer 2 of 2 ---"]
        assert answers[-2:] == ["--- answer 2 of 2 ---", "good morning"]
        assert "good" in reconciler("output", "api", "--tail", "13")
        assert len(reconciler("output", "api", "--tail", "8").strip("\n")) <= 8
        described = reconciler("describe", "lt", "api")
        assert vm_id in described
        assert "good morning" in described
        assert "CreatedVM" in reconciler("events", "--for", "lt/api")

        # What a file declares is not deleted by command; what it no longer declares is.
        reconciler("delete", "lt", "api", code=4)
        (reconciler.folder / "specs" / "api.yaml").unlink()
        controller.says("lieutenant/api is no longer declared; kept")
        assert real.present() == [vm_id]
        reconciler("delete", "lt", "api", "--wait")
        assert real.present() == []
        assert controller.stop() == 0
    assert real.ever() == [vm_id]
    assert {vm.id: dict(vm.labels) for vm in real.simulator.world.present.values()} == foreign


@pytest.mark.guarantee("G-01")
def test_kill_and_start_again_in_the_middle_of_a_turn(real: Platform, reconciler: Program) -> None:
    step = '{"tool":"bash","args":{"command":"echo x >> steps.txt; while [ ! -e go.txt ]; do sleep 0.1; done"}}'
    with reconciler.controller("specs", name="first") as first:
        reconciler.comes("lt/api", "--for", "Ready")
        task = reconciler("send", "api", f'Slow <<<[{step},{{"say":"finished slowly"}}]>>>', "--file-exists", "steps.txt").strip()
        reconciler("wait", f"task/{task}", "--for", "phase=Running")
        pid, vm_id = field(reconciler, "lt api", "{.status.agent.pid}"), field(reconciler, "lt api", "{.status.vm.id}")
        before = {op: n for op, n in real.calls.items() if op not in ("list_vms", "ssh_key")}
        first.kill()
    assert reconciler("get", "lt", "api", "-o", "name").strip() == "lieutenant/api"  # looking needs no controller
    queued = reconciler.full("send", "api", 'Then <<<[{"say":"after all that"}]>>>')
    assert "no controller runs" in queued.stderr
    with reconciler.controller("specs", name="second") as second:
        seen = real.calls["list_vms"]
        eventually(lambda: real.calls["list_vms"] > seen, "the second controller looks")
        real.simulator.guests.path(vm_id, "/root/workspace/go.txt").touch()  # type: ignore[union-attr]
        reconciler("wait", f"task/{task}", "--for", "phase=Succeeded")
        reconciler("wait", f"task/{queued.stdout.strip()}", "--for", "phase=Succeeded")
        assert field(reconciler, "lt api", "{.status.agent.pid}") == pid
        assert second.stop() == 0
    assert real.present() == real.ever() == [vm_id]
    after = {op: n for op, n in real.calls.items() if op not in ("list_vms", "ssh_key")}
    assert after == before
    prompts = [request for request in real.model.requests if "Slow" in request.user]
    assert len(prompts) == 2, "one request for the tool call and one after it: nothing was sent twice"


@pytest.mark.guarantee("G-45")
def test_a_converged_fleet_rests(real: Platform, reconciler: Program) -> None:
    with reconciler.controller("specs"):
        reconciler.comes("lt/api", "--for", "Ready")
        reconciler("wait", "bp/scripted", "--for", "Ready")
        versions = field(reconciler, "all", "{.items[*].metadata.resourceVersion}")
        calls = eventually(lambda: steady(real), "three rounds of nothing but the list")
        (reconciler.folder / "specs" / "api.yaml").touch()
        seen = real.calls["list_vms"]
        eventually(lambda: real.calls["list_vms"] >= seen + 3, "more rounds")
        assert {op: n for op, n in real.calls.items() if op != "list_vms"} == calls
        assert field(reconciler, "all", "{.items[*].metadata.resourceVersion}") == versions


def steady(real: Platform) -> dict[str, int] | None:
    """The calls so far without the list, once the list alone has gone on."""
    others = {op: n for op, n in real.calls.items() if op != "list_vms"}
    seen = real.calls["list_vms"]
    eventually(lambda: real.calls["list_vms"] >= seen + 3, "the list goes on")
    return others if {op: n for op, n in real.calls.items() if op != "list_vms"} == others else None


@pytest.mark.guarantee("G-60")
def test_a_secret_shows_nowhere(real: Platform, reconciler: Program, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets" / "default" / "llm"
    secrets.mkdir(parents=True, mode=0o700)
    (secrets / "token").touch(mode=0o600)
    (secrets / "token").write_text(CANARY + "\n")
    api = tmp_path / "specs" / "api.yaml"
    api.write_text(api.read_text() + "  env:\n  - {name: TOKEN, valueFrom: {secretKeyRef: {name: llm, key: token}}}\n")
    flags = ("--secrets", str(tmp_path / "secrets"))
    printed: list[str] = []
    with reconciler.controller("specs", *flags, "-v") as controller:
        reconciler.comes("lt/api", "--for", "Ready")
        sent = reconciler.full("send", "api", "reveal it", *flags, "--wait", "--timeout", "60")
        assert "the token is [redacted]" in sent.stdout
        printed += [sent.stdout, sent.stderr]
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                printed.append(path.read_bytes().decode(errors="replace"))
            except OSError:
                continue  # it ended meanwhile
        for words in ("get all -o yaml", "describe lt api", "events", "output api --history 0", "plan specs"):
            done = reconciler.full(*words.split(), *flags)
            printed += [done.stdout, done.stderr]
        printed.append(controller.said)
        assert controller.stop() == 0
    key = real.endpoints.api_key[36:]
    printed += [path.read_bytes().decode(errors="replace") for path in reconciler.state.iterdir() if path.is_file()]
    for text in printed:
        assert CANARY not in text
        assert key not in text


def test_the_demonstration(image: object, tmp_path: Path) -> None:
    demo = Program(tmp_path, {})
    told = demo.json("demo")
    assert told["ok"] is True
    assert told["machines"] == {"created": 1, "left": 0}
    assert {file["path"] for file in told["files"]} == {"server.js", "server.test.js", "users.json"}
    assert [task["phase"] for task in told["tasks"]] == ["Succeeded"] * 5
    assert not os.path.exists(demo.state), "a demonstration uses a directory of its own"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.guarantee("G-24")
@pytest.mark.guarantee("G-32")
def test_the_demonstration_of_survival(image: object, tmp_path: Path) -> None:
    told = Program(tmp_path, {}).json("demo", "--scenario", "survive", seconds=240.0)
    assert told["ok"] is True
    assert [chapter["title"] for chapter in told["chapters"]] == ["told", "pi", "dead", "gone", "deleted"]
    assert told["machines"] == {"created": 3, "left": 0}
    answers = {task["name"]: task["answer"] for task in told["tasks"]}
    assert [answers[f"ask-{number}"] for number in (1, 2, 3)] == ["Keep in mind: the release is called Halcyon."] * 3


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.guarantee("G-06")
@pytest.mark.guarantee("G-31")
def test_the_demonstration_of_an_outage(image: object, tmp_path: Path) -> None:
    told = Program(tmp_path, {}).json("demo", "--scenario", "outage", seconds=240.0)
    assert told["ok"] is True
    assert [chapter["title"] for chapter in told["chapters"]] == ["outage", "back", "memory", "deleted"]
    assert told["machines"] == {"created": 1, "left": 0}
    answers = {task["name"]: task["answer"] for task in told["tasks"]}
    assert answers["ask"] == "Keep in mind: the release is called Halcyon."
    assert {file["path"] for file in told["files"]} == {"notes/release.md"}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.guarantee("G-10")
@pytest.mark.guarantee("G-13")
def test_the_demonstration_of_a_tree(image: object, tmp_path: Path) -> None:
    told = Program(tmp_path, {}).json("demo", "--scenario", "tree", seconds=240.0)
    assert told["ok"] is True
    assert [chapter["title"] for chapter in told["chapters"]] == ["created", "grown", "shrunk", "night", "morning", "deleted"]
    assert told["machines"] == {"created": 5, "left": 0}
    answers = {task["name"]: task["answer"] for task in told["tasks"]}
    assert answers == {"told": "Noted.", "long": "One, two, three.", "ask": "Keep in mind: the release is called Halcyon."}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.guarantee("G-14")
def test_the_demonstration_of_a_rollout(image: object, tmp_path: Path) -> None:
    """With the real pi, and a machine without an agent beside it: three are replaced, a fourth replacement is given up, nothing is lost."""
    told = Program(tmp_path, {}).json("demo", "--scenario", "rollout", seconds=360.0)
    assert told["ok"] is True
    assert [chapter["title"] for chapter in told["chapters"]] == ["created", "rolled-out", "stopped", "undone", "deleted"]
    assert told["machines"] == {"created": 7, "left": 0}
    answers = {task["name"]: task["answer"] for task in told["tasks"]}
    known = "Keep in mind: the release is called Halcyon."
    assert answers == {"told": "Noted.", "afterwards": known, "still": known}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.guarantee("G-33")
def test_the_demonstration_of_live_copies(image: object, tmp_path: Path) -> None:
    """With the real pi, three copies of one source at once: each has its files and knows what it was told, and is on its own after that."""
    told = Program(tmp_path, {}).json("demo", "--scenario", "fork", seconds=240.0)
    assert told["ok"] is True
    assert [chapter["title"] for chapter in told["chapters"]] == ["source", "copies", "apart", "deleted"]
    assert told["machines"] == {"created": 4, "left": 0}
    answers = {task["name"]: task["answer"] for task in told["tasks"]}
    assert {answers[f"ask-{way}"] for way in ("careful", "quick", "bold")} == {"Keep in mind: the release is called Halcyon."}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.guarantee("G-28")
@pytest.mark.guarantee("G-29")
@pytest.mark.guarantee("G-37")
def test_the_demonstration_of_an_agent_that_is_held_to_what_is_declared(image: object, tmp_path: Path) -> None:
    """The real pi with its model as attacker: what is denied does not happen, the very call that was approved goes on, and a turn without
    budget is ended and goes on when that is raised."""
    told = Program(tmp_path, {}).json("demo", "--scenario", "governed", seconds=240.0)
    assert told["ok"] is True
    assert [chapter["title"] for chapter in told["chapters"]] == ["remembered", "denied", "approved", "budget", "deleted"]
    assert told["machines"] == {"created": 2, "left": 0}
    assert [task["phase"] for task in told["tasks"]] == ["Succeeded"] * 5
    assert {file["path"] for file in told["files"]} == {".git", "counted.txt", "kept.txt"}


def test_a_demonstration_without_isolation_touches_nothing(tmp_path: Path) -> None:
    """An agent's paths are absolute: where machines are no more than directories, they would be the host's own."""
    (tmp_path / "bin").mkdir()
    demo = Program(tmp_path, {"PATH": str(tmp_path / "bin")})
    done = demo.full("demo")
    assert done.returncode == 1
    assert "bwrap" in done.stderr
    assert "install it" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "home"}
    assert list(demo.home.iterdir()) == []
