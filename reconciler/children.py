"""Starting other programs. Every process that this program starts begins in the same condition, whoever started us and how: default
signal dispositions and no signal blocked (`nohup` ignores SIGHUP, and children inherit that), a session without a terminal, a umask,
limits of its own, and a standard input that is closed unless it was asked for. The environment is always given, never inherited."""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, TypeVar

_P = TypeVar("_P", bound=asyncio.SubprocessProtocol)
_BUFFER = 1 << 16
NOWHERE = subprocess.DEVNULL
PIPE = subprocess.PIPE


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process; None is what this host allows at most. `files`: open at once; `file_bytes`: size of a file that it writes."""

    files: int | None = 65_536
    file_bytes: int | None = None


PLAIN = Limits()


class Condition(TypedDict):
    """Arguments that `asyncio` and `subprocess` share."""

    start_new_session: bool
    umask: int
    preexec_fn: Callable[[], None]


def condition(limits: Limits = PLAIN, umask: int = 0o022) -> Condition:
    """In which condition a child begins."""

    def begin() -> None:
        # Between fork and exec: nothing here takes a lock or imports.
        for number in _CHANGEABLE:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_NOFILE, limits.files)
        _limit(resource.RLIMIT_FSIZE, limits.file_bytes)

    return {"start_new_session": True, "umask": umask, "preexec_fn": begin}


_CHANGEABLE = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""The signals whose disposition a program may set. The C library keeps one or two for its threads (32 and 33 with glibc), lets nobody
change them, ignores them in whatever it starts by `posix_spawn`, and sets them up itself when it needs them."""


def _limit(which: int, wanted: int | None) -> None:
    """Set the soft limit: as wanted, but never beyond the hard one, which may be infinite (-1)."""
    hard = resource.getrlimit(which)[1]
    soft = hard if wanted is None or (hard != resource.RLIM_INFINITY and wanted > hard) else wanted
    resource.setrlimit(which, (soft, hard))


class _Told(asyncio.subprocess.SubprocessStreamProtocol):
    """Knows when the process has ended, and not only when nobody holds its pipes any more."""

    def __init__(self) -> None:
        super().__init__(limit=_BUFFER, loop=asyncio.get_running_loop())
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


class Child(asyncio.subprocess.Process):
    """A process whose `wait` returns when it has ended. That of asyncio waits for the ends of its pipes too, which whatever the
    process left behind may hold for ever."""

    def __init__(self, transport: asyncio.SubprocessTransport, protocol: _Told) -> None:
        super().__init__(transport, protocol, asyncio.get_running_loop())
        self._pipes, self._exited = transport, protocol.exited

    async def wait(self) -> int:
        await self._exited.wait()
        code = self._pipes.get_returncode()
        assert code is not None
        return code

    def let_go(self) -> None:
        """Close our ends of its pipes, whoever holds the others; a process that runs is killed."""
        self._pipes.close()


async def start(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    cwd: Path | None = None,
    stdin: int = NOWHERE,
    stdout: int = NOWHERE,
    stderr: int = NOWHERE,
    pass_fds: tuple[int, ...] = (),
    limits: Limits = PLAIN,
) -> Child:
    """Start a program. Raises `OSError`, and `ValueError` for an argument with a NUL byte."""
    transport, protocol = await asyncio.get_running_loop().subprocess_exec(
        _Told, *argv, env=dict(env), cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, **condition(limits)
    )
    return Child(transport, protocol)


async def start_with(
    protocol: Callable[[], _P], argv: Sequence[str], env: Mapping[str, str], cwd: Path | None = None
) -> tuple[asyncio.SubprocessTransport, _P]:
    """The same with pipes and a protocol of one's own."""
    return await asyncio.get_running_loop().subprocess_exec(protocol, *argv, env=dict(env), cwd=cwd, **condition())


def run(argv: Sequence[str], env: Mapping[str, str], timeout: float, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and take what it wrote. Raises `OSError` and `subprocess.TimeoutExpired`."""
    return subprocess.run(
        list(argv), env=dict(env), cwd=cwd, stdin=NOWHERE, capture_output=True, text=True, timeout=timeout, check=False, **condition()
    )


def at_the_terminal(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Let a person work in a program at our own terminal until it ends; its exit code. Raises `OSError`."""
    return subprocess.run(list(argv), env=dict(env), check=False).returncode
