"""Starting other programs. Every process that this program starts begins in the same condition, whoever started us and how: default
signal dispositions and no signal blocked (`nohup` ignores SIGHUP, and children inherit that), a session without a terminal, a umask,
limits of its own, and a standard input that is closed unless it was asked for. The environment is always given, never inherited.

Work between fork and exec needs a real fork, which copies the page tables of the whole of us, and the kernel throws them away a moment
later: 5 ms of a processor when we have 100 MB, 30 when we have 600, with the event loop standing still. So it is done only where something
has to be changed that can't be otherwise; else the system starts the program without a copy (`vfork`), in less than one."""

from __future__ import annotations

import asyncio
import functools
import os
import resource
import shutil
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
    preexec_fn: Callable[[], None] | None


_AS_WE_ARE = Condition(start_new_session=True, umask=0o022, preexec_fn=None)
"""Nothing is to be done between fork and exec."""


def _set_up(changes: Mapping[int, int]) -> Condition:
    """Signals as they are by default, and these soft limits, between fork and exec."""

    def begin() -> None:
        # Nothing here takes a lock or imports.
        for number in _CHANGEABLE:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for which, soft in changes.items():
            resource.setrlimit(which, (soft, resource.getrlimit(which)[1]))

    return {**_AS_WE_ARE, "preexec_fn": begin}


_CHANGEABLE = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""The signals whose disposition a program may set. The C library keeps one or two for its threads (32 and 33 with glibc), lets nobody
change them, ignores them in whatever it starts by `posix_spawn`, and sets them up itself when it needs them."""
_INHERITED = tuple(set(_CHANGEABLE) - {signal.SIGPIPE, signal.SIGXFSZ})
"""Those that a child would ignore when we do. The two are ignored by Python itself, which `subprocess` undoes; handlers end with exec."""


def _signals_are_plain() -> bool:
    """Whether a child has nothing to undo."""
    return not signal.pthread_sigmask(signal.SIG_BLOCK, ()) and signal.SIG_IGN not in map(signal.getsignal, _INHERITED)


def _changes(limits: Limits) -> dict[int, int]:
    """The soft limits that are to be others than ours: as wanted, but never beyond the hard one, which may be infinite (-1)."""
    changes = {}
    for which, wanted in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, limits.files), (resource.RLIMIT_FSIZE, limits.file_bytes)):
        ours, hard = resource.getrlimit(which)
        soft = hard if wanted is None or (hard != resource.RLIM_INFINITY and wanted > hard) else wanted
        if soft != ours:
            changes[which] = soft
    return changes


_OPTIONS = {resource.RLIMIT_CORE: "--core", resource.RLIMIT_NOFILE: "--nofile", resource.RLIMIT_FSIZE: "--fsize"}


def begun(argv: Sequence[str], env: Mapping[str, str], limits: Limits) -> tuple[list[str], Condition]:
    """A command that begins with these limits, and in which condition. Where only limits are to be changed, `prlimit` (util-linux) does it
    and becomes the program. What might fail to be a program is left to us, who can tell that from one that failed; a program for another
    machine ends with an error instead."""
    changes, helper = _changes(limits), _prlimit()
    if not _signals_are_plain() or (changes and (helper is None or not _is_a_program(argv[0], env))):
        return list(argv), _set_up(changes)
    words = [f"{_OPTIONS[which]}={'unlimited' if soft == resource.RLIM_INFINITY else soft}:" for which, soft in changes.items()]
    return [*([helper, *words, "--"] if helper is not None and changes else []), *argv], _AS_WE_ARE


def _is_a_program(name: str, env: Mapping[str, str]) -> bool:
    """Whether a child will find it, and the kernel can run it by itself: it is no script, whose interpreter may be missing."""
    found = shutil.which(name, path=env.get("PATH", os.defpath))
    if found is None or not os.path.isabs(found):
        return False
    try:
        with open(found, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


@functools.cache
def _prlimit() -> str | None:
    """Where it is, not where somebody's PATH has one of the same name."""
    return shutil.which("prlimit", path=os.defpath)


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
    command, begins = begun(argv, env, limits)
    transport, protocol = await asyncio.get_running_loop().subprocess_exec(
        _Told, *command, env=dict(env), cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, **begins
    )
    return Child(transport, protocol)


async def start_with(
    protocol: Callable[[], _P], argv: Sequence[str], env: Mapping[str, str], cwd: Path | None = None
) -> tuple[asyncio.SubprocessTransport, _P]:
    """The same with pipes and a protocol of one's own."""
    command, begins = begun(argv, env, PLAIN)
    return await asyncio.get_running_loop().subprocess_exec(protocol, *command, env=dict(env), cwd=cwd, **begins)


def run(argv: Sequence[str], env: Mapping[str, str], timeout: float, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and take what it wrote. Raises `OSError` and `subprocess.TimeoutExpired`."""
    command, begins = begun(argv, env, PLAIN)
    return subprocess.run(
        command, env=dict(env), cwd=cwd, stdin=NOWHERE, capture_output=True, text=True, timeout=timeout, check=False, **begins
    )


def at_the_terminal(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Let a person work in a program at our own terminal until it ends; its exit code. Raises `OSError`."""
    return subprocess.run(list(argv), env=dict(env), check=False).returncode
