"""Machines that have a disk: a directory per VM and per commit. How their processes run is the subclasses' business."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reconciler import children
from reconciler.children import Child
from reconciler.vers.simulator import limits, rooted
from reconciler.vers.simulator.guests import BASE_ENV, GuestError, resolve_inside
from reconciler.vers.simulator.image import GuestImage, build_base, remove_tools
from reconciler.vers.simulator.records import Kit

ROOM = "room-kib"
"""File beside a disk that says how much room /var/lib/reconciler has."""

_GUEST = children.Limits(file_bytes=limits.GUEST_FILE)
_TOOLS = {"PATH": os.defpath, "LC_ALL": "C"}
_SETTLE_S = 0.02
_ROUNDS = 50  # a fork between looking and stopping needs another round; a fork bomb needs them all


class DiskGuests(ABC):
    """`directory`/{base,vms/ID,commits/ID}, each with `root` (the machine's /) and `local` (its /usr/local)."""

    kind = ""
    runs_processes = True

    def __init__(self, directory: Path, image: GuestImage) -> None:
        self.directory = directory
        self.image = image
        self._frozen: set[str] = set()
        self._copied: dict[str, asyncio.Event] = {}
        self._runs: dict[str, set[Child]] = {}
        self._building = asyncio.Lock()

    # --- what subclasses say -----------------------------------------------------------------------------------------------

    @abstractmethod
    def inside(self, disk: Path) -> tuple[str, str, str]:
        """As the machine sees them: its clock file, the image's node directory, its pi directory."""

    @abstractmethod
    async def boot(self, vm_id: str) -> None:
        """Start what runs in it from the beginning."""

    @abstractmethod
    async def halt(self, vm_id: str) -> None:
        """End everything that runs in it."""

    @abstractmethod
    def members(self, vm_id: str) -> set[int]:
        """The host's pids of everything that runs in it."""

    @abstractmethod
    def command(self, vm_id: str, argv: Sequence[str], cwd: str, env: dict[str, str]) -> list[str]:
        """What to execute on the host to run argv in it. `env`: what the machine wants its processes to see; whatever would act on
        the host's own programs is taken out of it and put into effect inside."""

    def environment(self, vm_id: str) -> dict[str, str]:
        return dict(BASE_ENV)

    # --- disks ---------------------------------------------------------------------------------------------------------------

    def disk(self, vm_id: str) -> Path:
        return self.directory / "vms" / vm_id

    def _kept(self, commit: str) -> Path:
        return self.directory / "commits" / commit

    async def start(self, vm_id: str, commit: str | None, kit: Kit, clock_offset: float, environment: Mapping[str, str]) -> None:
        disk = self.disk(vm_id)
        source = self._kept(commit) if commit is not None else await self._base()
        if not source.is_dir():
            raise GuestError(f"commit {commit} has no disk")
        await _copy_tree(source, disk)
        try:
            self._personalise(vm_id, disk, commit is None, kit, clock_offset, environment)
        except OSError as exc:
            raise GuestError(f"the disk of {vm_id} can't be written: {exc.strerror}") from exc
        await self.boot(vm_id)

    async def again(self, vm_id: str) -> None:
        """Raises `GuestError` when its disk is gone."""
        if not self.disk(vm_id).is_dir():
            raise GuestError(f"VM {vm_id} has no disk")
        await self.boot(vm_id)

    def _personalise(self, vm_id: str, disk: Path, fresh: bool, kit: Kit, clock_offset: float, environment: Mapping[str, str]) -> None:
        """A commit's disk is the guest's own work: whatever it made of these paths, nothing outside the disk is written."""
        root = disk / "root"
        _put(root, "/etc/hostname", f"{vm_id}\n")
        _put(root, "/etc/hosts", f"127.0.0.1 localhost {vm_id}\n::1 localhost ip6-localhost\n")
        if environment:
            lines = "".join(f"{name}={_quoted(value)}\n" for name, value in sorted(environment.items()))
            _put(root, "/etc/environment", lines)
        if clock_offset:
            _put(root, "/run/clock-offset", f"{int(clock_offset * 1e9)}\n")
        else:
            rooted.remove(root, "/run/clock-offset")
        if fresh and not kit.tools:
            remove_tools(disk)
        if fresh and not kit.names:
            _put(root, "/etc/nsswitch.conf", "hosts: files\n")
        if fresh and kit.disk_kib:
            (disk / ROOM).write_text(str(kit.disk_kib))

    async def _base(self) -> Path:
        base = self.directory / "base"
        async with self._building:
            if not base.is_dir():
                fresh = self.directory / "base.new"
                await asyncio.to_thread(self._build, fresh)
                fresh.rename(base)
        return base

    def _build(self, fresh: Path) -> None:
        if fresh.exists():
            shutil.rmtree(fresh)
        clock, node, pi = self.inside(fresh)
        build_base(fresh, self.image, clock, node, pi)

    async def snapshot(self, vm_id: str, commit: str, frozen: bool) -> None:
        target = self._kept(commit)
        fresh = target.with_name(commit + ".new")
        copied = self._copied[vm_id] = asyncio.Event()
        try:
            await self.freeze(vm_id)
            await _copy_tree(self.disk(vm_id), fresh)
            fresh.rename(target)
        finally:
            if not frozen:
                await self.thaw(vm_id, False)
            del self._copied[vm_id]
            copied.set()

    async def remove(self, vm_id: str) -> None:
        await self.kill(vm_id)
        await _remove_tree(self.disk(vm_id))

    async def forget(self, commit: str) -> None:
        await _remove_tree(self._kept(commit))

    def root(self, vm_id: str) -> Path:
        return self.disk(vm_id) / "root"

    def below(self, vm_id: str, path: str) -> str:
        return path

    def path(self, vm_id: str, path: str) -> Path:
        return resolve_inside(self.disk(vm_id) / "root", path)

    # --- processes -----------------------------------------------------------------------------------------------------------

    async def spawn(self, vm_id: str, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Child:
        if (copied := self._copied.get(vm_id)) is not None:  # a snapshot is short, and nothing that its clients have to know of
            await copied.wait()
        if vm_id in self._frozen:
            raise GuestError(f"VM {vm_id} is suspended")
        runs = self._runs.setdefault(vm_id, set())
        runs.difference_update([p for p in runs if p.returncode is not None])
        if len(runs) >= limits.RUNNING:
            raise GuestError(f"{limits.RUNNING} commands run in VM {vm_id} already", 429)
        pipe = children.PIPE
        everything = {**self.environment(vm_id), **self._declared(vm_id), **env}
        command = self.command(vm_id, argv, cwd, everything)
        try:
            process = await children.start(command, everything, stdin=pipe, stdout=pipe, stderr=pipe, limits=_GUEST)
        except (OSError, ValueError) as exc:
            told = exc.strerror if isinstance(exc, OSError) else str(exc)
            status = 400 if isinstance(exc, ValueError) or exc.errno == errno.E2BIG else 500
            raise GuestError(f"a process could not be started in VM {vm_id}: {told}", status) from exc
        runs.add(process)
        return process

    def _declared(self, vm_id: str) -> dict[str, str]:
        """/etc/environment, as a login reads it."""
        try:
            text = rooted.read(self.disk(vm_id) / "root", "/etc/environment", limits.COMMAND).decode()
        except (OSError, UnicodeDecodeError):
            return {}
        pairs = (line.partition("=") for line in text.splitlines())
        return {name: value.strip('"') for name, separator, value in pairs if separator and name and "\0" not in name + value}

    async def freeze(self, vm_id: str) -> None:
        """Stop everything in it, what forks meanwhile too."""
        self._frozen.add(vm_id)
        stopped: set[int] = set()
        for _ in range(_ROUNDS):
            running = self.members(vm_id) - stopped
            if not running:
                return
            _signal(running, signal.SIGSTOP)
            stopped |= running
            await asyncio.sleep(0)

    async def thaw(self, vm_id: str, restart: bool) -> None:
        self._frozen.discard(vm_id)
        if restart:
            await self.kill(vm_id)
            await self.again(vm_id)
            return
        for pause in (0.0, _SETTLE_S):
            await asyncio.sleep(pause)
            if vm_id in self._frozen:
                return
            _signal(self.members(vm_id), signal.SIGCONT)
            # what waits outside for a process inside stops along with it, perhaps only now that it notices
            _signal([p.pid for p in self._runs.get(vm_id, ()) if p.returncode is None], signal.SIGCONT)

    async def kill(self, vm_id: str) -> None:
        await self.halt(vm_id)
        self._frozen.discard(vm_id)
        for process in self._runs.pop(vm_id, set()):
            if process.returncode is None:
                _signal([process.pid], signal.SIGKILL)

    async def stop(self) -> None:
        vms = self.directory / "vms"
        names = [disk.name for disk in sorted(vms.iterdir())] if vms.is_dir() else []
        await asyncio.gather(*(self.kill(name) for name in names))


def _put(root: Path, path: str, text: str) -> None:
    """Write a file of a disk; what a guest put there instead of a plain file goes away. Raises `OSError`."""
    with rooted.at(root, path, follow=False) as spot:
        plain = spot.fd is None or stat.S_ISREG(spot.status().st_mode)
    if not plain:
        rooted.remove(root, path)
    rooted.write(root, path, text.encode())


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _quoted(value: str) -> str:
    return '"' + value.replace('"', "") + '"' if any(c.isspace() for c in value) else value


async def _copy_tree(source: Path, target: Path) -> None:
    """A copy that shares blocks where the file system can; raises `GuestError`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    await _remove_tree(target)  # what an interrupted start left
    command = ("cp", "-a", "--reflink=auto", "--", str(source), str(target))
    process = await children.start(command, _TOOLS, stderr=children.PIPE)
    assert process.stderr is not None
    errors = b""
    try:
        async with asyncio.timeout(limits.COPY_S):
            while data := await process.stderr.read(65536):
                errors = (errors + data)[-300:]
            await process.wait()
    except TimeoutError:
        raise GuestError(f"a disk could not be copied within {limits.COPY_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode != 0:
        raise GuestError(f"a disk could not be copied: {errors.decode(errors='replace')}")


async def _remove_tree(path: Path) -> None:
    try:
        await asyncio.to_thread(shutil.rmtree, path)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise GuestError(f"a disk could not be removed: {exc.strerror} ({path.name})") from exc
