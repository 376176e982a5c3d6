"""Notices as a user has them: the program, a real receiver, and a controller that is killed."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.background import eventually
from tests.notify.receiver import LOST, Web, web
from tests.program import Program

KEY = "a-signing-key-of-some-length"
FLEET = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: a}
spec: {lieutenantRef: {name: api}, prompt: do it}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: b}
spec: {lieutenantRef: {name: api}, prompt: do it}
"""


@pytest.fixture
def receiver() -> Iterator[Web]:
    with web() as running:
        yield running


@pytest.fixture
def program(tmp_path: Path, receiver: Web) -> Iterator[Program]:
    """Two tasks whose lieutenant is not there, a platform that is away, and a sink."""
    (tmp_path / "c.toml").write_text(f"""
[[notify]]
name = "ops"
url = "{receiver.url}"
key-from = {{secret = "ops/hook/key"}}
hold-seconds = 0
""")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "tasks.yaml").write_text(FLEET)
    with socket.socket() as away:  # bound and not listening: connections are refused
        away.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{away.getsockname()[1]}"
        yield Program(tmp_path, {"VERS_API_KEY": "x" * 100, "VERS_BASE_URL": address, "RECONCILER_SECRET_HOOK_KEY": KEY}, warm=True)


def ids(receiver: Web) -> dict[str, set[str]]:
    """By subject."""
    found: dict[str, set[str]] = {}
    for one in receiver.got:
        found.setdefault(one.event["subject"], set()).add(one.event["id"])
    return found


@pytest.mark.slow
def test_a_controller_that_is_killed_between_news_and_delivery_delivers_after_its_next_start(
    program: Program, receiver: Web, tmp_path: Path
) -> None:
    receiver.then = 500
    log = tmp_path / "log"
    first = program.background("run", "specs", "--config", "c.toml", log=log)
    eventually(lambda: len(receiver.got) >= 1, "the first try")
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = len(receiver.got)
    receiver.answers, receiver.then = [LOST, 503], 204
    second = program.background("run", "specs", "--config", "c.toml", log=log)
    try:
        eventually(lambda: len(receiver.got) >= before + 4, "both are delivered, each after its failures")
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait() == 0
    assert {subject: len(found) for subject, found in ids(receiver).items()} == {"default/task/a": 1, "default/task/b": 1}
    before = len(receiver.got)
    (tmp_path / "specs" / "third.yaml").write_text(FLEET.split("---")[0].replace("name: a}", "name: c}"))
    third = program.background("run", "specs", "--config", "c.toml", log=log)
    try:
        eventually(lambda: len(receiver.got) > before, "news of the third")
    finally:
        third.send_signal(signal.SIGTERM)
        third.wait()
    assert {one.event["subject"] for one in receiver.got[before:]} == {"default/task/c"}, "what was taken is not sent again"
    assert KEY not in log.read_text()


@pytest.mark.slow
def test_doctor_says_what_is_wrong_with_a_sink_and_tries_it_when_asked(program: Program, receiver: Web, tmp_path: Path) -> None:
    said = program("doctor", "--config", "c.toml", code=None)
    assert "ok     notices  ops: a webhook, signed; --notify tries it" in said
    assert receiver.got == []
    said = program("doctor", "--config", "c.toml", "--notify", code=None)
    assert "ok     notices  ops: a webhook, signed: it took a test notice" in said
    assert receiver.types() == ["test"]
    assert "notify ops" in program("config", "view", "--config", "c.toml")
    assert receiver.url not in program("config", "view", "--config", "c.toml")
    receiver.then = 401
    said = program("doctor", "--config", "c.toml", "--notify", code=1)
    assert "wrong  notices  the receiver answered 401 (notify ops)" in said
    program.env.pop("RECONCILER_SECRET_HOOK_KEY")
    said = program("doctor", "--config", "c.toml", code=1)
    assert "wrong  notices  a value that a sink refers to is not there (secret ops/hook/key)" in said
    (tmp_path / "c.toml").write_text('[[notify]]\nname = "page"\ncommand = ["no-such-program"]\n')
    assert "wrong  notices  the command of a sink is not there" in program("doctor", "--config", "c.toml", code=1)
    (tmp_path / "c.toml").write_text(f'[[notify]]\nname = "page"\ncommand = {json.dumps([sys.executable, "-c", ""])}\n')
    assert "page: a command: it took a test notice" in program("doctor", "--config", "c.toml", "--notify", code=None)
    (tmp_path / "c.toml").write_text("")
    program("doctor", "--config", "c.toml", "--notify", code=64)
    (tmp_path / "c.toml").write_text('[[notify]]\nname = "page"\ncomand = ["x"]\n')
    done = program.full("run", "specs", "--config", "c.toml")
    assert (done.returncode, "notify page: comand" in done.stderr) == (64, True)
