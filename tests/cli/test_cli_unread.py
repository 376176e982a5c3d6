"""A reader who is gone, as in `logs -f | head -1`: commands that follow something end at once and without a word, controllers go on."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli.hangup import until_unread
from tests import warm
from tests.background import Platform, eventually
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


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
def test_a_controller_goes_on_without_a_reader(tmp_path: Path, stub: Platform, heard: bool) -> None:
    """And says so, where somebody hears it: its work does not stand still because who looked at it went away."""
    program = Program(tmp_path, dict(stub.endpoints.environment()), warm=True)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "lt.yaml").write_text(LT.split("---\n")[0])
    made = len(stub.present())

    def goes_on() -> None:
        (tmp_path / "specs" / "other.yaml").write_text(LT.split("---\n")[0].replace("name: api", "name: other"))
        eventually(lambda: len(stub.present()) == made + 2, "the other one has a machine, too")

    code, complaints = read_until("Provisioning", program, ("run", "specs"), goes_on, heard)
    assert code == 0
    assert [line for line in complaints if "nobody reads" not in line] == []
    assert len(complaints) == heard


def read_until(
    end: str, program: Program, words: tuple[str, ...], then: Callable[[], None] | None = None, heard: bool = True
) -> tuple[int, list[str]]:
    """Run a command, read its results until they have this in them, and no more; its exit code, and what it says to people. `then`: done
    before it is told to end; `heard`: somebody hears what is said to people."""
    theirs, ours = os.pipe()
    complaints = program.folder / "complaints"
    with open(theirs, "rb", buffering=0) as reads, open(os.devnull, "rb") as nothing, complaints.open("wb") as err:
        with open(ours, "wb") as writes:
            process = warm.start(words, program.env, program.folder, (nothing, writes, err if heard else writes))
        try:
            told = ""
            while end not in told:
                more = reads.read(1 << 16)
                assert more, complaints.read_text()
                told += more.decode()
            reads.close()
            if then is not None:
                then()
                process.send_signal(signal.SIGTERM)
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
