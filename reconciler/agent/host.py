"""This host as a place for agents: where their directories are, what they see of us, and their end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from reconciler import paths
from reconciler.agent.toolchain import Toolchain, find_toolchain
from reconciler.agent.transport import LocalTransport, Transport
from reconciler.core.profile.localize import HOME_DIR, local_dir, tree_of
from reconciler.errors import GuestFailed, GuestUnreachable, Terminal, Unreachable

# What an agent may see of our environment: what every program needs, and nothing that could be a secret (G-60).
PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
_PATIENCE: Final = 10.0


class Host:
    """`root`: the directory of agents' directories, absolute and without symbolic links; `environ`: the controller's own."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self.root, self._environ = root, environ
        self._transports: dict[str, LocalTransport] = {}
        self._tools: asyncio.Task[Toolchain] | None = None

    def environment(self, uid: str) -> dict[str, str]:
        """The whole environment that a keeper here starts with; pi gets what is declared on top of it."""
        passed = {name: self._environ[name] for name in PASSED_ON if name in self._environ}
        return {"PATH": os.defpath, **passed, "HOME": f"{tree_of(local_dir(str(self.root), uid))}{HOME_DIR}"}

    async def transport(self, uid: str) -> Transport:
        known = self._transports.get(uid)
        if known is None or known.closed:
            try:
                self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                what = "the directory of agents on this host can't be used"
                raise GuestUnreachable(what, str(self.root), paths.why(error)) from error
            known = self._transports[uid] = LocalTransport(env=self.environment(uid), cwd=self.root)
        return known

    async def release(self, uid: str) -> None:
        known = self._transports.pop(uid, None)
        if known is not None:
            await known.close()

    async def tools(self) -> Toolchain:
        """Node and pi, found (or pi fetched) once. Raises `Terminal` with a remedy when they can't be had."""
        if self._tools is None or (self._tools.done() and not _went_well(self._tools)):
            self._tools = asyncio.ensure_future(self._find())
        return await asyncio.shield(self._tools)

    async def _find(self) -> Toolchain:
        try:
            return await asyncio.to_thread(find_toolchain, self._environ)
        except (OSError, RuntimeError) as error:  # a directory of PATH, or the cache, that can't be looked into
            raise Terminal(f"Node and pi can't be looked for: {paths.why(error)}", remedy="correct PATH and the cache directory") from error


def _went_well(task: asyncio.Task[Toolchain]) -> bool:
    return not task.cancelled() and task.exception() is None


def host_id(root: Path) -> str:
    """Names this root, wherever it is mounted; '' before it was made."""
    try:
        return (root / "id").read_text().strip()
    except OSError:
        return ""


def make_host(root: Path) -> str:
    """Make the root and its name, where there is none. Raises `Unreachable` when it can't be read or written."""
    path = root / "id"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.with_suffix(".new").write_text(str(uuid.uuid4()))
            os.link(path.with_suffix(".new"), path)
        path.with_suffix(".new").unlink(missing_ok=True)
        return path.read_text().strip()
    except OSError as error:
        raise Unreachable("the directory of agents on this host can't be used", str(root), error.strerror or "check its mode") from error


def end_all(home: str) -> None:
    """End every process of ours that was started with this HOME: what an agent here was, and all it left running. Blocks. Raises
    `GuestFailed` when one of them stays."""
    deadline = time.monotonic() + _PATIENCE
    while left := _started_with(f"HOME={home}".encode()):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise GuestFailed(f"processes {', '.join(map(str, sorted(left)))} do not end", home, "end them")
        time.sleep(0.02)


def _started_with(variable: bytes) -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if variable in (entry / "environ").read_bytes().split(b"\0") and int(entry.name) != os.getpid():
                found.add(int(entry.name))
    return found
