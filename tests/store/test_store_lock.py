"""One controller a state directory."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.app import lock_of
from reconciler.config import Config
from reconciler.errors import Refused, Unreachable
from reconciler.store.lock import LOCK_FILE, HeldByCommand, acquire, holder
from tests.faults.harness import virtual

HOLD = """
import sys
from pathlib import Path
from reconciler.store.lock import acquire
lock = acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def _holder_process(state: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(state)], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_second_controller_is_refused_and_told_the_pid(tmp_path: Path) -> None:
    with _holder_process(tmp_path) as first:
        try:
            assert holder(tmp_path) == first.pid
            with pytest.raises(Refused, match=f"process {first.pid} "):
                acquire(tmp_path)
        finally:
            os.kill(first.pid, signal.SIGKILL)
    assert holder(tmp_path) is None, "the kernel let go of it, its pid still in the file"
    with acquire(tmp_path):
        assert holder(tmp_path) == os.getpid()
    assert holder(tmp_path) is None


def test_two_within_one_process(tmp_path: Path) -> None:
    with acquire(tmp_path), pytest.raises(Refused, match=str(os.getpid())):
        acquire(tmp_path)
    acquire(tmp_path).release()


def test_releasing_twice_is_harmless(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    lock.release()
    lock.release()
    with acquire(tmp_path):
        lock.release()
        assert holder(tmp_path) == os.getpid()


def test_the_state_directory_is_made_private(tmp_path: Path) -> None:
    state = tmp_path / "new"
    assert holder(state) is None
    with acquire(state):
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert stat.S_IMODE((state / LOCK_FILE).stat().st_mode) == 0o600


def test_somebody_who_only_looks_does_not_keep_a_controller_out(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("999999999\n")  # signed by a process that is gone
    with (tmp_path / LOCK_FILE).open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        waited: list[float] = []

        def pause(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 2:
                fcntl.flock(looking, fcntl.LOCK_UN)

        with acquire(tmp_path, pause=pause):
            assert len(waited) == 2


def test_an_unsigned_lock_that_stays_is_refused(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).touch()
    with (tmp_path / LOCK_FILE).open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert holder(tmp_path) == 0
        with pytest.raises(Refused, match="another process"):
            acquire(tmp_path, pause=lambda _: None)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unreachable):
        acquire(tmp_path / "file" / "state")


def test_a_command_that_writes_is_told_from_a_controller(tmp_path: Path) -> None:
    with acquire(tmp_path, command=True):
        assert holder(tmp_path) == os.getpid()
        with pytest.raises(HeldByCommand, match=f"process {os.getpid()}"):
            acquire(tmp_path)
    with acquire(tmp_path), pytest.raises(Refused) as held:
        acquire(tmp_path, command=True)
    assert not isinstance(held.value, HeldByCommand)
    assert "is the controller" in str(held.value)


@pytest.mark.parametrize(("command", "waits"), [(True, True), (False, False)])
def test_a_controller_waits_for_a_command_and_not_for_another_controller(tmp_path: Path, command: bool, waits: bool) -> None:
    """However long the command's write takes: it may make the store first."""
    held = acquire(tmp_path, command=command)

    async def main() -> None:
        asyncio.get_running_loop().call_later(30.0, held.release)
        config = Config(state=tmp_path)
        if not waits:
            with pytest.raises(Refused, match="is the controller"):
                await lock_of(config)
            return
        (await lock_of(config)).release()

    virtual(main)
    held.release()
