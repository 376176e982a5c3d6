"""A file replaced by one with other text: in one step, and never over somebody else's change."""

from __future__ import annotations

import os
from pathlib import Path

from reconciler.errors import Refused, Unreachable
from reconciler.paths import replacing

PRIVATE = 0o600


def replace_file(path: Path, before: bytes, after: bytes) -> None:
    """Give the file, whose bytes were `before` when they were read, the bytes `after`; b'' for one that was not there. Its mode stays.
    Raises `Refused` when it was changed meanwhile, and `Unreachable` when it can't be written; then it is as it was."""
    try:
        with replacing(path) as fresh:
            fresh.write(after)
            fresh.flush()
            os.fsync(fresh.fileno())  # before the look, so that little time is left for a change
            now, mode = _found(path)
            if now != before:
                raise Refused("the file was changed meanwhile; nothing was written", str(path), "look at it, and try again")
            os.fchmod(fresh.fileno(), mode)
    except OSError as error:
        raise Unreachable(f"the file can't be written: {error.strerror}", str(path), "check its directory's permissions") from error


def _found(path: Path) -> tuple[bytes, int]:
    """What it says now, and its mode."""
    try:
        with path.open("rb") as file:
            return file.read(), os.fstat(file.fileno()).st_mode & 0o7777
    except FileNotFoundError:
        return b"", PRIVATE
