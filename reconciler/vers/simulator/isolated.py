"""Guests isolated by bubblewrap: own root file system, host name and processes; the host's /usr read-only; the network shared.

Each guest is in a user namespace of its own, so that root in it has no power outside (design §12).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler import children
from reconciler.children import Child
from reconciler.vers.simulator import limits
from reconciler.vers.simulator.disks import ROOM, DiskGuests
from reconciler.vers.simulator.guests import BASE_ENV, GuestError, resolve_inside
from reconciler.vers.simulator.image import GuestImage, has_tools

_BOOT_SECONDS = 30.0
_GUEST = children.Limits(file_bytes=limits.GUEST_FILE)
_LOADER = re.compile(r"LD_.*|GLIBC_.*|MALLOC_.*|GCONV_PATH|LOCPATH|NLSPATH|LOCALDOMAIN|RES_OPTIONS|HOSTALIASES|RESOLV_.*|GETCONF_DIR")
_IN_DIRECTORY = 'cd -- "$0" && exec "$@"'


@dataclass(frozen=True, slots=True)
class _Machine:
    process: Child
    pid: int  # its pid 1, as the host sees it
    namespace: str


def missing_for_isolation() -> str:
    """'' when guests can be isolated here, else what is missing."""
    missing = [name for name in ("bwrap", "nsenter", "cp") if shutil.which(name) is None]
    return f"missing: {', '.join(missing)} (Debian: apt-get install bubblewrap util-linux)" if missing else ""


class IsolatedGuests(DiskGuests):
    """bwrap's own init is pid 1: it reaps, and its end is everybody's. Detached daemons outlive the command that started them."""

    kind = "isolated"

    def __init__(self, directory: Path, image: GuestImage) -> None:
        super().__init__(directory, image)
        self._machines: dict[str, _Machine] = {}
        self._nsenter = shutil.which("nsenter") or "nsenter"
        self._bwrap = shutil.which("bwrap") or "bwrap"

    def inside(self, disk: Path) -> tuple[str, str, str]:
        return "/run/clock-offset", "/opt/node", "/opt/pi"

    async def boot(self, vm_id: str) -> None:
        if vm_id in self._machines:
            return
        reader, writer = os.pipe()
        try:
            command = self._boot_command(vm_id, writer)
            process = await children.start(command, BASE_ENV, stdout=children.PIPE, stderr=children.PIPE, pass_fds=(writer,), limits=_GUEST)
            os.close(writer)
            writer = -1
            pid = await self._child_pid(process, reader)
        except OSError as exc:
            raise GuestError(f"bwrap could not be started: {exc.strerror}") from exc
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)
        self._machines[vm_id] = _Machine(process, pid, os.readlink(f"/proc/{pid}/ns/pid"))

    def _boot_command(self, vm_id: str, info_fd: int) -> list[str]:
        disk = self.disk(vm_id)
        command = [self._bwrap, "--unshare-user", "--uid", "0", "--gid", "0", "--unshare-pid", "--unshare-uts", "--unshare-ipc"]
        command += ["--die-with-parent", "--hostname", vm_id, "--info-fd", str(info_fd)]
        command += ["--bind", str(disk / "root"), "/", "--ro-bind", "/usr", "/usr", "--bind", str(disk / "local"), "/usr/local"]
        if (disk / ROOM).exists():
            room = int((disk / ROOM).read_text()) * 1024
            command += ["--size", str(room), "--tmpfs", "/var/lib/reconciler"]
        if has_tools(disk):
            if self.image.node_dir is not None:
                command += ["--ro-bind", str(self.image.node_dir), "/opt/node"]
            if self.image.pi_dir is not None:
                command += ["--ro-bind", str(self.image.pi_dir), "/opt/pi"]
        else:  # the host's own node would be visible through /usr
            command += [
                part
                for name in ("node", "npm")
                if Path("/usr/bin", name).exists()
                for part in ("--ro-bind", "/dev/null", f"/usr/bin/{name}")
            ]
        return [*command, "--proc", "/proc", "--dev", "/dev", "--", "/bin/sh", "-c", "echo up; exec sleep infinity >/dev/null 2>&1"]

    async def _child_pid(self, process: Child, reader: int) -> int:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            up = await asyncio.wait_for(process.stdout.readline(), _BOOT_SECONDS)
        except TimeoutError:
            up = b""
        if up != b"up\n":
            if process.returncode is None:
                process.kill()
            errors = (await process.stderr.read()).decode(errors="replace")
            raise GuestError(f"the guest did not start: {errors[-300:] or 'no answer'}")
        info = json.loads(os.read(reader, 65536))
        return int(info["child-pid"])

    async def halt(self, vm_id: str) -> None:
        machine = self._machines.pop(vm_id, None)
        if machine is None or machine.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(machine.pid, signal.SIGKILL)
        await machine.process.wait()

    def members(self, vm_id: str) -> set[int]:
        machine = self._machines.get(vm_id)
        return set() if machine is None else {pid for pid in _pids() if _namespace(pid) == machine.namespace}

    def command(self, vm_id: str, argv: Sequence[str], cwd: str, env: dict[str, str]) -> list[str]:
        machine = self._machines.get(vm_id)
        if machine is None or machine.process.returncode is not None:
            raise GuestError(f"VM {vm_id} is not running")
        enter = [self._nsenter, "-t", str(machine.pid), "-U", "--preserve-credentials", "-m", "-p", "-u", "-i", "--"]
        # nsenter begins outside: what the loader and the C library heed must not be the guest's word there
        inside = [f"{name}={env.pop(name)}" for name in list(env) if _LOADER.fullmatch(name)]
        return [*enter, *(["/usr/bin/env", "--", *inside] if inside else []), "/bin/sh", "-c", _IN_DIRECTORY, cwd, *argv]

    def root(self, vm_id: str) -> Path:
        """Through the guest's own eyes while it runs, so that mounts count too."""
        machine = self._machines.get(vm_id)
        return super().root(vm_id) if machine is None else Path(f"/proc/{machine.pid}/root")

    def path(self, vm_id: str, path: str) -> Path:
        return resolve_inside(self.root(vm_id), path)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""  # gone, or not ours to look at
