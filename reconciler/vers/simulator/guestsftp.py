"""SFTP of one guest: what `vers copy`, `scp` and `sftp` speak. Every path is walked below the guest's own root."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import FileIO

import asyncssh

from reconciler.vers.simulator import limits, rooted
from reconciler.vers.simulator.guests import GuestError, Guests

_HOME = b"/root"
_MOST_ENTRIES = 100_000
_MOST_READ = 256 * limits.KIB


class GuestFiles(asyncssh.SFTPServer):
    """One SFTP session. What is no plain file can be listed, renamed and removed, not opened."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], guests: Guests, vm_id: str) -> None:
        super().__init__(channel)
        self._guests = guests
        self._vm_id = vm_id

    @contextmanager
    def _at(self, path: bytes, *, follow: bool = True) -> Iterator[rooted.Spot]:
        """Raises `SFTPError` and `OSError`, which the client is told."""
        try:
            text = os.fsdecode(path if path.startswith(b"/") else _HOME + b"/" + path)
            with rooted.at(self._guests.root(self._vm_id), self._guests.below(self._vm_id, text), follow=follow) as spot:
                yield spot
        except GuestError as exc:
            raise asyncssh.SFTPFailure(str(exc)) from exc

    # --- files ---------------------------------------------------------------------------------------------------------------

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> FileIO:
        writing, reading = pflags & asyncssh.FXF_WRITE, pflags & asyncssh.FXF_READ
        flags = (os.O_RDWR if reading else os.O_WRONLY) if writing else os.O_RDONLY
        for asked, flag in (
            (asyncssh.FXF_APPEND, os.O_APPEND),
            (asyncssh.FXF_CREAT, os.O_CREAT),
            (asyncssh.FXF_TRUNC, os.O_TRUNC),
            (asyncssh.FXF_EXCL, os.O_EXCL),
        ):
            flags |= flag if pflags & asked else 0
        mode = 0o644 if attrs.permissions is None else attrs.permissions & 0o7777
        with self._at(path) as spot:
            descriptor = rooted.open_plain(spot, flags, mode)
        return FileIO(descriptor, ("r+" if reading else "w") if writing else "r")

    def open56(self, path: bytes, desired_access: int, flags: int, attrs: asyncssh.SFTPAttrs) -> FileIO:
        raise asyncssh.SFTPOpUnsupported("SFTP version 3 is spoken here")

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        """A client gets less than it asked for when it asks for much."""
        assert isinstance(file_obj, FileIO)
        file_obj.seek(offset)
        return file_obj.read(min(size, _MOST_READ))

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        assert isinstance(file_obj, FileIO)
        _check_size(offset + len(data))
        file_obj.seek(offset)
        return file_obj.write(data)

    # --- what a path names ---------------------------------------------------------------------------------------------------

    def stat(self, path: bytes) -> os.stat_result:
        with self._at(path) as spot:
            return spot.status()

    def lstat(self, path: bytes) -> os.stat_result:
        with self._at(path, follow=False) as spot:
            return spot.status()

    def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        with self._at(path) as spot:
            self._set(f"/proc/self/fd/{spot.found()}", spot, attrs)

    def lsetstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        with self._at(path, follow=False) as spot:
            if stat.S_ISLNK(spot.status().st_mode):
                raise asyncssh.SFTPOpUnsupported("attributes of a link")
            self._set(f"/proc/self/fd/{spot.found()}", spot, attrs)

    def _set(self, name: str, spot: rooted.Spot, attrs: asyncssh.SFTPAttrs) -> None:
        if attrs.size is not None:
            _check_size(attrs.size)
            descriptor = rooted.open_plain(spot, os.O_WRONLY)
            try:
                os.ftruncate(descriptor, attrs.size)
            finally:
                os.close(descriptor)
        if attrs.permissions is not None:
            os.chmod(name, attrs.permissions & 0o7777)
        if attrs.atime is not None and attrs.mtime is not None:
            os.utime(name, (attrs.atime, attrs.mtime))

    def realpath(self, path: bytes) -> bytes:
        """Without looking: links stay what they are, as long as a client only asks where it is."""
        parts: list[bytes] = []
        for part in (path if path.startswith(b"/") else _HOME + b"/" + path).split(b"/"):
            if part == b"..":
                parts = parts[:-1]
            elif part not in (b"", b"."):
                parts.append(part)
        return b"/" + b"/".join(parts)

    def readlink(self, path: bytes) -> bytes:
        with self._at(path, follow=False) as spot:
            return os.fsencode(os.readlink("", dir_fd=spot.found()))

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        with self._at(path) as spot:
            descriptor = os.open(f"/proc/self/fd/{spot.found()}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in (".", "..", *os.listdir(descriptor)[:_MOST_ENTRIES]):
                try:
                    found = os.stat(name if name != ".." else ".", dir_fd=descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield asyncssh.SFTPName(os.fsencode(name), attrs=asyncssh.SFTPAttrs.from_local(found))
        finally:
            os.close(descriptor)

    # --- changes -------------------------------------------------------------------------------------------------------------

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        with self._at(path, follow=False) as spot:
            os.mkdir(spot.name, 0o755 if attrs.permissions is None else attrs.permissions & 0o7777, dir_fd=spot.parent)

    def rmdir(self, path: bytes) -> None:
        with self._at(path, follow=False) as spot:
            os.rmdir(spot.name, dir_fd=spot.parent)

    def remove(self, path: bytes) -> None:
        with self._at(path, follow=False) as spot:
            os.unlink(spot.name, dir_fd=spot.parent)

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        with self._at(newpath, follow=False) as new:
            if new.fd is not None:
                raise asyncssh.SFTPFileAlreadyExists(os.strerror(errno.EEXIST))
        self.posix_rename(oldpath, newpath)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        with self._at(oldpath, follow=False) as old, self._at(newpath, follow=False) as new:
            os.rename(old.name, new.name, src_dir_fd=old.parent, dst_dir_fd=new.parent)

    def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        with self._at(newpath, follow=False) as new:
            os.symlink(oldpath, os.fsencode(new.name), dir_fd=new.parent)

    def link(self, oldpath: bytes, newpath: bytes) -> None:
        with self._at(oldpath, follow=False) as old, self._at(newpath, follow=False) as new:
            os.link(old.name, new.name, src_dir_fd=old.parent, dst_dir_fd=new.parent, follow_symlinks=False)

    def statvfs(self, path: bytes) -> os.statvfs_result:
        with self._at(path) as spot:
            return os.fstatvfs(spot.found())

    def map_path(self, path: bytes) -> bytes:
        """For whatever has no answer of its own here: nothing of the host is named."""
        raise asyncssh.SFTPOpUnsupported("not served")


def _check_size(size: int) -> None:
    """As for what the guest's own processes write."""
    if size > limits.GUEST_FILE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
