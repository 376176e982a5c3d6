"""One controller a state directory: a lock that the kernel lets go of when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from reconciler.errors import Refused, Unreachable

LOCK_FILE = "controller.lock"
COMMAND = " command"
"""Behind the pid of a holder that is no controller."""
_PROBE_TRIES = 10
_PROBE_SECONDS = 0.02


class HeldByCommand(Refused):
    """The holder writes something while no controller runs, and lets go when that is done."""


class ControllerLock:
    """Held from `acquire` until `release`, or the end of the process. The file stays: removing it would let two hold "the" lock."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd: int | None = fd
        self.path = path

    def release(self) -> None:
        """Let others have it. A second call does nothing."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.ftruncate(fd, 0)
            os.close(fd)

    def __enter__(self) -> ControllerLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def acquire(state: Path, *, command: bool = False, pause: Callable[[float], None] = time.sleep) -> ControllerLock:
    """Become the controller of this state directory (made with mode 0700 when missing), or, for a `command`, keep one away for a write.

    Raises `Refused`, naming the holder's pid, when another process is, `HeldByCommand` when that is a command; `Unreachable` when the
    lock file can't be opened."""
    path = state / LOCK_FILE
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise Unreachable(f"the lock can't be opened: {exc.strerror}", str(path), "check owner and mode of the directory") from exc
    for _ in range(_PROBE_TRIES):
        if _try(fd, fcntl.LOCK_EX):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}{COMMAND if command else ''}\n".encode(), 0)
            return ControllerLock(fd, path)
        if _alive(_pid(fd)):
            break
        pause(_PROBE_SECONDS)  # signed by nobody or by the dead: somebody only looks (`holder`), or is about to sign
    pid, writes = _pid(fd), _signed(fd).endswith(COMMAND)
    os.close(fd)
    if writes:
        raise HeldByCommand(f"a command (process {pid}) writes to this state directory", str(path), "wait until it is done")
    who = f"process {pid}" if pid is not None else "another process"
    raise Refused(f"{who} is the controller of this state directory", str(path), "stop it first, or use another --state directory")


def holder(state: Path) -> int | None:
    """The pid of the running controller, 0 when one runs that has not signed yet, None when none runs. Changes nothing."""
    try:
        fd = os.open(state / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise Unreachable(f"the lock can't be opened: {exc.strerror}", str(state / LOCK_FILE), "check owner and mode") from exc
    try:
        return None if _try(fd, fcntl.LOCK_SH) else _pid(fd) or 0
    finally:
        os.close(fd)


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _pid(fd: int) -> int | None:
    signed = _signed(fd).removesuffix(COMMAND)
    return int(signed) if signed.isascii() and signed.isdigit() else None


def _signed(fd: int) -> str:
    return os.pread(fd, 32, 0).decode("ascii", "replace").strip()
