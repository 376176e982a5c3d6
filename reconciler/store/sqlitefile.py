"""The file of a SQLite store, and what SQLite's errors mean to the caller."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from reconciler.errors import NotFound, ReconcilerError, Rejected, Unreachable
from reconciler.store.rows import damaged

BUSY_SECONDS = 10.0
"""How long a write waits for another process that is writing."""


def missing(path: Path) -> NotFound:
    """The error for a store that is to be read and was never made."""
    return NotFound("no store", str(path), "start a controller, or name another --state directory")


def private(path: Path, create: bool) -> None:
    """The file exists and nobody else reads it. SQLite gives its side files the same mode.

    An existing file is never opened here: closing it would drop the locks that this process's connections hold on it."""
    try:
        if not path.exists():
            if not create:
                raise missing(path)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
            except FileExistsError:
                return  # another process was faster
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        elif create and path.is_file() and path.stat().st_mode & 0o077 and path.stat().st_uid == os.geteuid():
            path.chmod(0o600)
    except OSError as exc:
        raise Unreachable(f"the store can't be made: {exc.strerror}", str(path), "check owner and mode of the directory") from exc


def error_of(error: sqlite3.Error, where: str) -> ReconcilerError:
    """What a failure of SQLite means to the caller. Quotes no statement and no value."""
    name = str(getattr(error, "sqlite_errorname", None) or type(error).__name__)
    match name.removeprefix("SQLITE_").split("_")[0]:
        case "NOTADB" | "CORRUPT":
            return damaged(where)
        case "BUSY" | "LOCKED":
            return Unreachable("another process is writing to the store", where, "try again")
        case "FULL":
            return Unreachable("no room left for the store", where, "free some disk space")
        case "CANTOPEN" | "READONLY" | "PERM" | "AUTH":
            return Unreachable(f"the store can't be opened for this ({name})", where, "check owner and mode of file and directory")
        case "IOERR":
            return Unreachable(f"the disk failed the store ({name})", where, "check the disk")
        case "TOOBIG":
            return Rejected("too big for one row", where, "write less at once")
        case _:
            return ReconcilerError(f"the store failed ({name})", where, "report this as a defect")
