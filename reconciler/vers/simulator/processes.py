"""Guests that are directories: where bubblewrap is missing. A guest has its own HOME and PATH and shares everything else,
so absolute paths in its commands are the host's; files and sockets of the API are those of its directory."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from reconciler.vers.simulator import limits, rooted
from reconciler.vers.simulator.disks import DiskGuests
from reconciler.vers.simulator.guests import BASE_ENV

_ROUNDS = 100
_MARK = "VERS_SIMULATED_VM"


class ProcessGuests(DiskGuests):
    """What belongs to a guest is known by a variable in its environment, which everything it starts inherits."""

    kind = "process"

    def inside(self, disk: Path) -> tuple[str, str, str]:
        return "@CLOCK@", str(self.image.node_dir), str(self.image.pi_dir)

    async def boot(self, vm_id: str) -> None:
        """Nothing runs until something is asked for; the clock's wrapper learns where its file is."""
        local = self.disk(vm_id) / "local"
        try:
            text = rooted.read(local, "/bin/date", limits.MIB).decode()
        except (OSError, UnicodeDecodeError):
            return  # the guest has another one, or none
        lines = [f"file='{self._root(vm_id)}/run/clock-offset'" if line.startswith("file=") else line for line in text.splitlines()]
        rooted.write(local, "/bin/date", ("\n".join(lines) + "\n").encode())

    async def halt(self, vm_id: str) -> None:
        await self._end({vm_id})

    async def stop(self) -> None:
        """All at once: to look who belongs to a guest is to read all processes of the host."""
        vms = self.directory / "vms"
        await self._end({disk.name for disk in vms.iterdir()} if vms.is_dir() else set())
        self._runs.clear()
        self._frozen.clear()

    async def _end(self, vm_ids: set[str]) -> None:
        marks = {f"{_MARK}={vm_id}".encode() for vm_id in vm_ids}
        for _ in range(_ROUNDS):
            members = _marked(marks)
            if not members:
                return
            for pid in members:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            await asyncio.sleep(0.01)

    def members(self, vm_id: str) -> set[int]:
        return _marked({f"{_MARK}={vm_id}".encode()})

    def command(self, vm_id: str, argv: Sequence[str], cwd: str, env: dict[str, str]) -> list[str]:
        directory = self.path(vm_id, cwd)
        return ["/bin/sh", "-c", 'cd -- "$0" && exec "$@"', str(directory), *argv]

    def environment(self, vm_id: str) -> dict[str, str]:
        local = self.disk(vm_id) / "local"
        path = f"{local}/sbin:{local}/bin:{BASE_ENV['PATH']}"
        return {**BASE_ENV, "HOME": f"{self._root(vm_id)}/root", "TMPDIR": f"{self._root(vm_id)}/tmp", "PATH": path, _MARK: vm_id}

    def below(self, vm_id: str, path: str) -> str:
        """A path that already names the guest's directory (as $HOME does) is taken as it is."""
        root = self._root(vm_id)
        return path.removeprefix(str(root)) if path.startswith(f"{root}/") else path

    def path(self, vm_id: str, path: str) -> Path:
        return super().path(vm_id, self.below(vm_id, path))

    def _root(self, vm_id: str) -> Path:
        return self.disk(vm_id) / "root"


def _marked(marks: set[bytes]) -> set[int]:
    """Who has one of these in the environment."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and not marks.isdisjoint(_environ(name))}


def _environ(pid: str) -> list[bytes]:
    try:
        return Path("/proc", pid, "environ").read_bytes().split(b"\0")
    except OSError:
        return []
