"""Running the programs and reading the files of this host that give credentials (`valueFrom.exec`, `valueFrom.file`)."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from reconciler import children, paths
from reconciler.core.snapshot.rendered import SecretRef
from reconciler.errors import NotFound, Refused, TimedOut, Unreachable

MAX_BYTES = 1 << 16
SECONDS = 30.0
PASSED_ON = ("PATH", "HOME", "LANG", "USER", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
"""What a program gets of our environment, which holds secrets otherwise."""
BY_HAND = "run it by hand, as the user of the controller, to see why"


class HostDraws:
    """`engine.ports.Draws` on this host. `environ`: of the controller; `seconds`: that a program may take."""

    def __init__(self, environ: Mapping[str, str], seconds: float = SECONDS) -> None:
        self._env = {name: environ[name] for name in PASSED_ON if name in environ}
        self._seconds = seconds

    async def draw(self, namespace: str, ref: SecretRef) -> str:
        """What the program prints, or what is in the file. What goes wrong is told without a word of that, and without what the program
        says on its standard error, which may hold anything."""
        data = await self._run(namespace, ref) if ref.kind == "Program" else self._read(Path(ref.name))
        if len(data) > MAX_BYTES:
            raise Refused("it gave more than 64 KiB", ref.words, "give the value alone")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
        raise Refused("it gave what is not UTF-8", ref.words, "encode the value, for example with base64")

    async def _run(self, namespace: str, ref: SecretRef) -> bytes:
        where = ref.words
        program = shutil.which(ref.command[0], path=self._env.get("PATH"))
        if program is None:
            raise NotFound("the program is not there, or can't be executed", where, "install it, or name another one")
        env = {**self._env, "RECONCILER_NAMESPACE": namespace}
        try:
            child = await children.start([program, *ref.command[1:]], env, cwd=Path("/"), stdout=children.PIPE)
        except (OSError, ValueError) as error:
            raise Unreachable(f"the program can't be started: {type(error).__name__}", where, BY_HAND) from None
        try:
            async with asyncio.timeout(self._seconds):
                assert child.stdout is not None
                data = b""
                while len(data) <= MAX_BYTES and (more := await child.stdout.read(MAX_BYTES)):
                    data += more
                code = await child.wait() if len(data) <= MAX_BYTES else 0
        except TimeoutError:
            raise TimedOut(f"the program did not end within {self._seconds:g} s", where, BY_HAND) from None
        finally:
            child.let_go()
        if code != 0:
            raise Unreachable(f"the program ended with {code}", where, BY_HAND)
        return data

    def _read(self, path: Path) -> bytes:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Refused("the file can't be read", f"file {path}", (error.strerror or "correct its permissions").lower()) from None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Refused("it is not a regular file", f"file {path}", "put a file there")
            if found.st_mode & 0o077:
                raise Refused(f"others may read it (mode {stat.S_IMODE(found.st_mode):04o})", f"file {path}", "`chmod 600` it")
            if found.st_uid not in (os.geteuid(), 0):
                raise Refused("it belongs to somebody else", f"file {path}", "`chown` it to the user that runs the controller")
            with os.fdopen(os.dup(descriptor), "rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError as error:  # a disk or a file server that fails
            raise Refused("the file can't be read", f"file {path}", paths.why(error)) from None
        finally:
            os.close(descriptor)
