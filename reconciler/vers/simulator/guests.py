"""What runs in a VM: the contract, and the form in which nothing runs at all (10,000 VMs on a laptop)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from reconciler.children import Child
from reconciler.vers.simulator.records import Kit
from reconciler.vers.simulator.rooted import MAX_LINKS

BASE_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
}


class GuestError(Exception):
    """Something in a guest could not be done; the text is for the API's `error`, `status` what it answers with."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


class Guests(Protocol):
    """Machines by VM id, their disks kept under commit ids. All raise `GuestError` when it can't be done."""

    kind: str
    runs_processes: bool

    async def start(self, vm_id: str, commit: str | None, kit: Kit, clock_offset: float, environment: Mapping[str, str]) -> None:
        """Disk from the base image or a commit, then running."""
        ...

    async def again(self, vm_id: str) -> None:
        """Run it from the disk it has, as after a reboot of the platform."""
        ...

    async def snapshot(self, vm_id: str, commit: str, frozen: bool) -> None:
        """Keep the disk; processes stand still meanwhile, and afterwards too when `frozen`. They are not carried over."""
        ...

    async def freeze(self, vm_id: str) -> None: ...

    async def thaw(self, vm_id: str, restart: bool) -> None: ...

    async def kill(self, vm_id: str) -> None:
        """End everything in it; the disk stays."""
        ...

    async def remove(self, vm_id: str) -> None: ...

    async def forget(self, commit: str) -> None: ...

    async def spawn(self, vm_id: str, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Child:
        """Run argv in it, as root, with pipes, in a process group of its own."""
        ...

    def root(self, vm_id: str) -> Path:
        """The guest's / on the host; what is below it is only reached by `rooted`."""
        ...

    def below(self, vm_id: str, path: str) -> str:
        """A path that the guest's clients name, below `root`."""
        ...

    def path(self, vm_id: str, path: str) -> Path:
        """The host's path of an absolute path of the guest, links followed as the guest would; for looking at a guest that rests."""
        ...

    async def stop(self) -> None:
        """End every guest; disks stay."""
        ...


class StubGuests:
    """Nothing runs. Every change of state works, everything inside fails."""

    kind = "stub"
    runs_processes = False

    async def start(self, vm_id: str, commit: str | None, kit: Kit, clock_offset: float, environment: Mapping[str, str]) -> None:
        return

    async def again(self, vm_id: str) -> None:
        return

    async def snapshot(self, vm_id: str, commit: str, frozen: bool) -> None:
        return

    async def freeze(self, vm_id: str) -> None:
        return

    async def thaw(self, vm_id: str, restart: bool) -> None:
        return

    async def kill(self, vm_id: str) -> None:
        return

    async def remove(self, vm_id: str) -> None:
        return

    async def forget(self, commit: str) -> None:
        return

    async def spawn(self, vm_id: str, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Child:
        raise GuestError("stub guests run no processes; start the simulator with --guests isolated or process")

    def root(self, vm_id: str) -> Path:
        raise GuestError("stub guests have no disk; start the simulator with --guests isolated or process")

    def below(self, vm_id: str, path: str) -> str:
        return path

    def path(self, vm_id: str, path: str) -> Path:
        raise GuestError("stub guests have no disk; start the simulator with --guests isolated or process")

    async def stop(self) -> None:
        return


def resolve_inside(root: Path, path: str) -> Path:
    """Where `path` of the guest with this root lies on the host: `..` stops at the root and absolute links start there again.
    Raises `GuestError` for a loop of links. The last component need not exist."""
    pending = [part for part in path.split("/") if part not in ("", ".")]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop(0)
        if part == "..":
            done = done[:-1]
            continue
        try:
            target = os.readlink(root.joinpath(*done, part))
        except OSError:  # no link, or nothing that can be read
            done.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise GuestError(f"too many levels of symbolic links: {path[:200]}", 400)
        if target.startswith("/"):
            done = []
        pending = [p for p in target.split("/") if p not in ("", ".")] + pending
    return root.joinpath(*done)
