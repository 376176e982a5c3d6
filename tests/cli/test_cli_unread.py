"""Nothing goes on for a reader who is gone, as in `logs -f | head -1`: commands that follow something end at once and without a word."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from reconciler.cli.hangup import until_unread
from tests import warm
from tests.background import Platform
from tests.cli.conftest import Run
from tests.cli.test_cli_conversation import LT, state
from tests.program import Program

__all__ = ["state"]

FOLLOWING = {
    "logs": (("logs", "api", "-f"), "two\n"),
    "output": (("output", "api", "-f"), "two\n"),
    "get": (("get", "lt", "-w"), "api "),
    "events": (("events", "-w"), "MESSAGE\n"),
    "attach": (("attach", "api"), "two\n"),
}
"""Commands, and with what their first look ends."""


@pytest.fixture
def program(run: Run, state: Path, tmp_path: Path) -> Program:
    return Program(tmp_path, {"VERS_BASE_URL": "http://127.0.0.1:9", "VERS_API_KEY": "none"}, warm=True)


@pytest.mark.parametrize("command", FOLLOWING)
def test_nothing_goes_on_for_a_reader_who_is_gone(program: Program, command: str) -> None:
    """No other line ever comes."""
    words, end = FOLLOWING[command]
    code, complaints = read_until(end, program, words)
    assert code == 1
    assert [one for one in complaints if not one.startswith("not live for now: ")] == []


def test_a_controller_stops_for_a_reader_who_is_gone(tmp_path: Path, stub: Platform) -> None:
    """And says so. Otherwise no work on any object would come to its end: the end is told."""
    program = Program(tmp_path, dict(stub.endpoints.environment()), warm=True)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "lt.yaml").write_text(LT.split("---\n")[0])
    code, (complaint,) = read_until("Provisioning", program, ("run", "specs"))
    assert code == 1
    assert complaint.startswith("error: nobody reads what is printed any more (standard output): ")


def read_until(end: str, program: Program, words: tuple[str, ...]) -> tuple[int, list[str]]:
    """Run a command, read its results until they have this in them, and no more; its exit code, and what it says to people."""
    theirs, ours = os.pipe()
    complaints = program.folder / "complaints"
    with open(theirs, "rb", buffering=0) as reads, open(os.devnull, "rb") as nothing, complaints.open("wb") as err:
        with open(ours, "wb") as writes:
            process = warm.start(words, program.env, program.folder, (nothing, writes, err))
        try:
            told = ""
            while end not in told:
                more = reads.read(1 << 16)
                assert more, complaints.read_text()
                told += more.decode()
            reads.close()
            return process.wait(60), complaints.read_text().splitlines()
        finally:
            process.kill()


def test_what_a_socket_brings_is_no_hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a command that SSH runs, input and output may be one socket."""
    ours, theirs = socket.socketpair()
    went_on = False

    async def work() -> None:
        nonlocal went_on
        for _ in range(50):
            await asyncio.sleep(0)
        went_on = True
        theirs.close()
        await asyncio.Event().wait()

    with ours, ours.makefile("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        theirs.send(b"typed")
        with pytest.raises(BrokenPipeError):
            asyncio.run(until_unread(work()))
        monkeypatch.undo()
    assert went_on
