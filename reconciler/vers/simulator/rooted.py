"""Paths of a guest, walked on the host without ever leaving the guest's root: `..` stops there, absolute links start there again,
and nothing that is swapped meanwhile leads elsewhere. Only plain files are opened: a FIFO, a device or a file of the kernel could
hold whoever reads it for ever, or have no end."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.vers.simulator import limits

MAX_LINKS = 40
_KERNEL = frozenset({0x9FA0, 0x62656572, 0x64626720, 0x74726163, 0x27E0EB, 0x63677270, 0x73636673, 0x6165676C, 0x19800202, 0x42494E4D})
"""File systems of the kernel (proc, sysfs, debugfs, tracefs, cgroup, cgroup2, securityfs, pstore, mqueue, binfmt_misc), by statfs(2)."""
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a path leads. `parent`: its directory, open; `name`: its last part, '.' for the root; `fd`: what is there, opened without
    reading (O_PATH), None when nothing is. When links were followed it is none."""

    parent: int
    name: str
    fd: int | None

    def status(self) -> os.stat_result:
        """Raises `FileNotFoundError`."""
        return os.fstat(self.found())

    def found(self) -> int:
        if self.fd is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self.fd


@contextmanager
def at(root: Path, path: str, *, follow: bool = True, make: bool = False) -> Iterator[Spot]:
    """Walk to `path`; only its last part need not exist. `follow`: a link at the end too. `make`: directories
    that are missing on the way. Raises `OSError`."""
    if len(os.fsencode(path)) > limits.PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    if "\0" in path:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    opened = [os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
    try:
        yield _walk(opened, path, follow, make)
    finally:
        for fd in opened:
            os.close(fd)


def _walk(opened: list[int], path: str, follow: bool, make: bool) -> Spot:
    """`opened`: the root, to which each directory on the way is added, and in the end what was found."""
    pending = _parts(path)
    stack = [opened[0]]
    links = 0
    while pending:
        part = pending.pop(0)
        if part == "..":
            stack = stack[:-1] or stack
            continue
        try:
            fd = os.open(part, os.O_PATH | _FLAGS, dir_fd=stack[-1])
        except FileNotFoundError:
            if not pending:
                return Spot(stack[-1], part, None)
            if not make:
                raise
            os.mkdir(part, 0o755, dir_fd=stack[-1])
            fd = os.open(part, os.O_PATH | _FLAGS, dir_fd=stack[-1])
        mode = os.fstat(fd).st_mode
        if stat.S_ISLNK(mode) and (pending or follow):
            try:
                target = os.readlink("", dir_fd=fd)
            except FileNotFoundError:  # /proc/self of a guest: for us, who are not in it, it leads nowhere
                raise OSError(errno.EINVAL, "not a plain file") from None
            finally:
                os.close(fd)
            links += 1
            pending = _parts(target) + pending
            if links > MAX_LINKS or len(pending) > limits.PATH:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            stack = stack[:1] if target.startswith("/") else stack
            continue
        opened.append(fd)
        if not pending:
            return Spot(stack[-1], part, fd)
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        stack.append(fd)
    return Spot(stack[-1], ".", stack[-1])


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def open_plain(spot: Spot, flags: int, mode: int = 0o644) -> int:
    """Open the plain file there, or make it (O_CREAT). Raises `OSError`; EINVAL for everything that is no plain file."""
    if spot.fd is None:
        if not flags & os.O_CREAT:
            spot.found()
        fd = os.open(spot.name, flags | os.O_EXCL | _FLAGS, mode, dir_fd=spot.parent)
        os.fchmod(fd, mode)  # whatever our umask is
        return fd
    if flags & os.O_CREAT and flags & os.O_EXCL:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    kind = os.fstat(spot.fd).st_mode
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(kind) or _of_the_kernel(spot.fd):
        raise OSError(errno.EINVAL, "not a plain file")
    return os.open(f"/proc/self/fd/{spot.fd}", (flags & ~(os.O_CREAT | os.O_EXCL)) | os.O_NONBLOCK | os.O_CLOEXEC)


def _of_the_kernel(fd: int) -> bool:
    told = ctypes.create_string_buffer(512)
    if ctypes.CDLL(None, use_errno=True).fstatfs(fd, told) != 0:
        return True
    return ctypes.c_long.from_buffer(told).value in _KERNEL


def read(root: Path, path: str, most: int = limits.FILE) -> bytes:
    """A plain file's content. Raises `OSError`, EFBIG when it is larger than `most`."""
    with at(root, path) as spot:
        fd = open_plain(spot, os.O_RDONLY)
    with open(fd, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"file is larger than {most} bytes")
    return data


def write(root: Path, path: str, data: bytes, mode: int | None = None, *, make: bool = False) -> None:
    """Make a plain file, or replace what is in it; a mode of None leaves that of a file that is there. Raises `OSError`."""
    with at(root, path, make=make) as spot:
        fd = open_plain(spot, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644 if mode is None else mode)
    with open(fd, "wb") as file:
        file.write(data)
        if mode is not None:
            os.fchmod(file.fileno(), mode)


def remove(root: Path, path: str) -> None:
    """A file that may not be there. Raises `OSError`."""
    with at(root, path, follow=False) as spot:
        if spot.fd is not None:
            os.unlink(spot.name, dir_fd=spot.parent)
