"""People at the machine of an agent: commands, files, a conversation; and the escalation that an agent is brought back with. From
outside: the program, real machines, real pi."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.background import Platform, eventually
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow, pytest.mark.timeout(400)]

STUCK = 'Work <<<[{"tool":"bash","args":{"command":"sleep 600"}}]>>>'
TASK = """apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: NAME}
spec:
  lieutenantRef: {name: api}
  prompt: |
    PROMPT
"""


def declare(program: Program, name: str, prompt: str, more: str = "") -> None:
    program("apply", "-f", "-", stdin=TASK.replace("NAME", name).replace("PROMPT", prompt) + more)


def field(program: Program, words: str, path: str) -> str:
    return program("get", *words.split(), "-o", f"jsonpath={path}")


@pytest.mark.guarantee("G-61")
@pytest.mark.guarantee("G-64")
def test_commands_and_files(real: Platform, reconciler: Program, tmp_path: Path) -> None:
    with reconciler.controller("specs") as controller:
        reconciler.comes("lieutenant/api", "--for", "Ready")
        # Arguments are data, streams and exit code are the command's own, the agent is not asked.
        assert reconciler("exec", "api", "--", "printf", "%s|", "a b", "$HOME", "; rm -rf /") == "a b|$HOME|; rm -rf /|"
        assert reconciler("exec", "api", "--", "pwd").strip() == "/root/workspace"
        assert reconciler("exec", "api", "--dir", "/tmp", "--", "pwd").strip() == "/tmp"
        ended = reconciler.full("exec", "lt/api", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
        assert (ended.returncode, ended.stdout, ended.stderr) == (7, "out\n", "err\n")
        assert reconciler("exec", "api", "-i", "--", "wc", "-c", stdin="x" * 300_000).strip() == "300000"
        assert len(reconciler("exec", "api", "--", "head", "-c", "9000000", "/dev/zero")) == 9_000_000
        missing = reconciler.full("exec", "api", "--", "no-such-program")
        assert missing.returncode == 1
        assert "no-such-program can't be run: ENOENT" in missing.stderr

        # Files, both ways; into a directory that exists; replaced whole.
        big = tmp_path / "big.bin"
        big.write_bytes(os.urandom(5_000_000))
        big.chmod(0o750)
        reconciler("cp", str(big), "api:sub/dir/big.bin")
        reconciler("cp", "api:sub/dir/big.bin", str(tmp_path / "back.bin"))
        assert (tmp_path / "back.bin").read_bytes() == big.read_bytes()
        assert (tmp_path / "back.bin").stat().st_mode & 0o777 == 0o750
        reconciler("cp", str(big), "api:/tmp")
        assert reconciler("exec", "api", "--", "stat", "-c", "%a %s", "/tmp/big.bin").strip() == "750 5000000"
        (tmp_path / "empty").write_bytes(b"")
        reconciler("cp", str(tmp_path / "empty"), "api:/tmp/empty")
        reconciler("cp", "api:/tmp/empty", str(tmp_path / "back.bin"))
        assert (tmp_path / "back.bin").read_bytes() == b""

        # Directories too; nothing is merged into what is there.
        (tmp_path / "tree" / "deep").mkdir(parents=True)
        (tmp_path / "tree" / "deep" / "a b.txt").write_text("hello")
        reconciler("cp", str(tmp_path / "tree"), "api:tree")
        assert reconciler("exec", "api", "--", "cat", "tree/deep/a b.txt") == "hello"
        reconciler("cp", str(tmp_path / "tree"), "api:tree")
        assert reconciler("exec", "api", "--", "cat", "tree/tree/deep/a b.txt") == "hello"
        reconciler("cp", str(tmp_path / "tree"), "api:tree", code=4)
        reconciler("cp", "api:tree", str(tmp_path / "fetched"))
        assert (tmp_path / "fetched" / "tree" / "deep" / "a b.txt").read_text() == "hello"
        (tmp_path / "into").mkdir()
        reconciler("cp", "api:tree", str(tmp_path / "into"))
        assert (tmp_path / "into" / "tree" / "deep" / "a b.txt").read_text() == "hello"
        reconciler("cp", "api:tree", str(tmp_path / "into"), code=4)
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]

        for words, code in (
            (("api:nowhere", "x"), 1),
            (("nowhere", "api:x"), 1),
            (("a", "b"), 64),
            (("api:", "b"), 64),
            (("api:/dev/null", "b"), 4),
        ):
            reconciler("cp", *words, code=code)
        assert controller.stop() == 0
    assert reconciler("exec", "api", "--", "echo", "also without a controller").strip() == "also without a controller"


def test_an_interrupted_command_ends_there_too(real: Platform, reconciler: Program) -> None:
    with reconciler.controller("specs"):
        reconciler.comes("lieutenant/api", "--for", "Ready")
        for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
            running = subprocess.Popen(
                reconciler.command("exec", "api", "--", "sh", "-c", "echo on; exec sleep 4321"), env=reconciler.env, stdout=subprocess.PIPE
            )
            assert running.stdout is not None
            assert running.stdout.readline() == b"on\n"
            running.send_signal(number)
            assert running.wait(30) == code
            running.stdout.close()
            eventually(lambda: "4321" not in reconciler("exec", "api", "--", "ps", "-eo", "args"), "it is gone there too")


def test_attending_an_agent(real: Platform, reconciler: Program) -> None:
    with reconciler.controller("specs"):
        reconciler.comes("lieutenant/api", "--for", "Ready")
        said = reconciler("attach", "api", stdin='Say it <<<[{"tool":"bash","args":{"command":"echo 1"}},{"say":"as you wish"}]>>>\n')
        assert "> Say it" in said
        assert "  · bash echo 1" in said
        assert said.count("as you wish") == 2, "once in what was asked, once in the answer, though it was seen being written"
        # While it works a line steers.
        loop = reconciler("send", "api", 'Keep looking <<<[{"tool":"bash","args":{"command":"sleep 0.3"}}]>>>').strip()
        reconciler("wait", f"task/{loop}", "--for", "phase=Running")
        steered = reconciler.full("attach", "api", stdin='Stop <<<[{"say":"stopped looking"}]>>>\n')
        assert "steers what runs" in steered.stderr
        assert "stopped looking" in steered.stdout
        reconciler("wait", f"task/{loop}", "--for", "phase=Succeeded")


@pytest.mark.guarantee("G-23")
@pytest.mark.guarantee("G-29")
def test_a_steer_interrupts_a_tool_that_does_not_end(real: Platform, reconciler: Program) -> None:
    with reconciler.controller("specs"):
        reconciler.comes("lieutenant/api", "--for", "Ready")
        declare(reconciler, "stuck", STUCK)
        reconciler("wait", "task/stuck", "--for", "phase=Running")
        pid = field(reconciler, "lt api", "{.status.agent.pid}")
        declare(
            reconciler,
            "steer",
            'Enough <<<[{"say":"I stopped waiting"}]>>>',
            "  delivery: Steer\n  landSeconds: 2\n  escalation: [Steer, Abort]\n",
        )
        reconciler("wait", "task/steer", "--for", "phase=Succeeded", "--timeout", "60")
        reconciler("wait", "task/stuck", "--for", "phase=Succeeded", "--timeout", "60")
        assert field(reconciler, "task steer", "{.status.escalation[*].action}") == "Abort"
        assert field(reconciler, "task stuck", "{.status.attempt}") == "1"
        assert reconciler("output", "api", "--task", "stuck").strip().endswith("I stopped waiting")
        assert field(reconciler, "lt api", "{.status.agent.pid}") == pid


@pytest.mark.guarantee("G-29")
def test_the_whole_escalation_on_the_same_session(real: Platform, reconciler: Program) -> None:
    with reconciler.controller("specs"):
        reconciler.comes("lieutenant/api", "--for", "Ready")
        reconciler("send", "api", 'First <<<[{"tool":"write","args":{"path":"a.txt","content":"a"}},{"say":"remember me"}]>>>', "--wait")
        pid, session = field(reconciler, "lt api", "{.status.agent.pid}"), field(reconciler, "lt api", "{.status.agent.sessionId}")
        declare(reconciler, "stuck", STUCK, "  noProgressSeconds: 4\n  escalation: [Steer, Abort, RestartSession]\n")
        reconciler("wait", "task/stuck", "--for", "phase=TimedOut", "--timeout", "120")
        status = json.loads(reconciler("get", "task", "stuck", "-o", "json"))["status"]
        assert [step["action"] for step in status["escalation"]] == ["Steer", "Abort", "RestartSession"]
        assert status["attempt"] == 1
        assert field(reconciler, "lt api", "{.status.agent.pid}") != pid
        assert field(reconciler, "lt api", "{.status.agent.sessionId}") == session
        answer = reconciler("send", "api", 'And <<<[{"say":"I have heard {first} and more","recall":true}]>>>', "--wait")
        assert "First" in answer


def test_a_result_names_its_files_and_rounds(real: Platform, reconciler: Program) -> None:
    with reconciler.controller("specs"):
        reconciler.comes("lieutenant/api", "--for", "Ready")
        steps = '{"tool":"write","args":{"path":"a.txt","content":"a"}},{"tool":"read","args":{"path":"a.txt"}},{"say_length":100000}'
        name = "files"
        declare(reconciler, name, f"Write <<<[{steps}]>>>")
        reconciler("wait", f"task/{name}", "--for", "phase=Succeeded")
        result = json.loads(reconciler("get", "task", name, "-o", "json"))["status"]["result"]
        assert (result["files"], result["turns"]) == (["a.txt"], 3)
        assert result["answerBytes"] == 100_000
        assert int(result["usage"]["outputTokens"]) > 0
        assert len(reconciler("output", "api", "--task", name).strip()) == 100_000
