"""Processes of the program that need not import it: one warm process, started by whoever asks first, has imported everything and forks one
for each command. Each has its own arguments, environment, directory and streams, as if it had been started by `python -m
reconciler`; what is saved is the second and a half that imports take.

Test whatever depends on how the interpreter starts with a real process (`Program.command`)."""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
LONGEST = 1 << 16
"""Bytes of one request."""


class Forked:
    """One command's process; the part of `subprocess.Popen` that tests use."""

    def __init__(self, args: Sequence[str], answers: int) -> None:
        self.args = list(args)
        self.returncode: int | None = None
        self._answers = os.fdopen(answers, "rb", buffering=0)
        self._rest = b""
        self.pid = int(self._line(30.0))

    def _line(self, timeout: float | None) -> bytes:
        while b"\n" not in self._rest:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            more = self._answers.read(64)
            assert more, "the warm process is gone"
            self._rest += more
        line, self._rest = self._rest.split(b"\n", 1)
        return line

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended; that of a signal is negative."""
        if self.returncode is None:
            self.returncode = int(self._line(timeout))
            self._answers.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(words: Sequence[str], env: Mapping[str, str], cwd: Path, streams: tuple[IO[Any], IO[Any], IO[Any]]) -> Forked:
    """Start `reconciler WORDS`. `streams`: its stdin, stdout and stderr, files or pipes."""
    request = json.dumps({"words": list(words), "env": dict(env), "cwd": str(cwd)}).encode()
    assert len(request) < LONGEST
    mine, theirs = os.pipe()
    try:
        socket.send_fds(_warm(), [request], [*(one.fileno() for one in streams), theirs])
    finally:
        os.close(theirs)
    return Forked(["reconciler", *words], mine)


@functools.cache
def _warm() -> socket.socket:
    """The way to the warm process of this one; it ends when nobody can write to it any more."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv = [sys.executable, "-m", "tests.warm", str(theirs.fileno())]
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    theirs.close()

    def end() -> None:
        mine.close()
        process.wait(10)

    atexit.register(end)
    return mine


# --- in the warm process ----------------------------------------------------------------------------------------------------------


def main(requests: socket.socket) -> None:
    """Serve until the other end is closed. Returns only there, and in the processes of commands."""
    _import_everything()
    gc.collect()
    gc.freeze()
    waiters: set[int] = set()
    while True:
        request, fds, _, _ = socket.recv_fds(requests, LONGEST, 4)
        waiters = {one for one in waiters if os.waitpid(one, os.WNOHANG if request else 0) == (0, 0)}
        if not request:
            return
        waiter = os.fork()
        if waiter == 0:
            requests.close()
            if _wait_for_one(fds):
                break
            os._exit(0)
        waiters.add(waiter)
        for fd in fds:
            os.close(fd)
    asked = json.loads(request)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.path[0] = asked["cwd"]
    sys.argv = ["reconciler", *asked["words"]]
    runpy.run_module("reconciler", run_name="__main__", alter_sys=True)


def _wait_for_one(fds: list[int]) -> bool:
    """Fork the command's process; here, tell its number and later its exit code. True: this is the command's process."""
    stdin, stdout, stderr, answers = fds
    pid = os.fork()
    if pid == 0:
        for number, fd in enumerate((stdin, stdout, stderr)):
            os.dup2(fd, number)
        for fd in fds:
            os.close(fd)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have had it ignored
        return True
    # An interrupt from the keyboard is not meant for it. A process group of its own would be no way: when this process ended while a test
    # keeps a process stopped, the kernel would take the tests for an orphaned group with stopped jobs, and hang up on all of them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for fd in (stdin, stdout, stderr):
        os.close(fd)
    os.write(answers, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(answers, b"%d\n" % os.waitstatus_to_exitcode(status))
    return False


def _import_everything() -> None:
    import reconciler

    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            importlib.import_module(module.name)
    for late in ("alembic.command", "alembic.config"):  # imported where a store is made, which many a test begins with
        importlib.import_module(late)
    assert threading.active_count() == 1, "a thread does not survive a fork"


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
