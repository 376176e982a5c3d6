"""Questions to the file system, with typed answers: what is there, that nothing is there, or that it can't be told.

`pathlib` answers some failures with an exception and others with False. Here a failure is an answer of its own, and never absence: what
can't be read is unknown (G-03, G-04)."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_ABSENT = (errno.ENOENT, errno.ENOTDIR)
"""The system's proof that nothing of that name is there; everything else says nothing about it."""
_LINKS = 40
"""Links in a row that are followed, as the system itself does."""


@dataclass(frozen=True, slots=True)
class Present:
    """Something is there. `identity`: which one, whatever its name: device and inode."""

    mode: int
    identity: tuple[int, int]
    modified_ns: int
    size: int

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing of that name is there."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """It can't be told what is there. `why`: in words."""

    why: str


Seen = Present | Absent | Unreadable


def look(path: Path) -> Seen:
    """What is there, links followed."""
    return _look(path, follow=True)


def look_at_name(path: Path) -> Seen:
    """What is there under this very name, be it a link."""
    return _look(path, follow=False)


def _look(path: Path, *, follow: bool) -> Seen:
    try:
        found = os.stat(path, follow_symlinks=follow)
    except OSError as error:
        return Absent() if error.errno in _ABSENT else Unreadable(why(error))
    except ValueError:  # a name that no file can have
        return Unreadable("it is no file name")
    return Present(found.st_mode, (found.st_dev, found.st_ino), found.st_mtime_ns, found.st_size)


def is_folder(path: Path) -> bool:
    """It is known to be one. False says nothing about what it is instead."""
    seen = look(path)
    return isinstance(seen, Present) and seen.is_folder


def is_file(path: Path) -> bool:
    """It is known to be a regular one. False says nothing about what it is instead."""
    seen = look(path)
    return isinstance(seen, Present) and seen.is_file


def real(path: Path) -> Path | Absent | Unreadable:
    """The path without any link in it, of what is there."""
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links
        return Absent() if isinstance(error, OSError) and error.errno in _ABSENT else Unreadable(why(error))


def hops(path: Path) -> list[Path]:
    """The path and, while what has that name is a link, what the link leads to. As far as can be told; a loop has an end here."""
    found = [path]
    while len(found) <= _LINKS:
        try:
            to = os.readlink(found[-1])
        except (OSError, ValueError):  # no link, nothing, or not to be told: then nothing leads on from here
            break
        found.append(found[-1].parent / to)
    return found


def why(error: OSError | RuntimeError | ValueError) -> str:
    """In words, without the name of the file."""
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return "a loop of links" if isinstance(error, RuntimeError) else "it is no file name"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside `path` (0600) to write to, which takes its place in one step once all of it is on the disk. After an exception there is
    nothing of it, and `path` is as it was. Raises `OSError`."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as fresh:
        try:
            yield fresh.file
            fresh.flush()
            os.fsync(fresh.fileno())
            os.replace(fresh.name, path)
        except BaseException:
            os.unlink(fresh.name)
            raise
