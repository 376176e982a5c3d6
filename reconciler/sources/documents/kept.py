"""What documents were found to say, kept beside the store: after a start only those are parsed and validated whose text is another.

It is a memory aid and nothing else. Whatever is wrong with the file, all documents are read anew; it counts only for the very code that
wrote it, because another one may judge otherwise."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import orjson

from reconciler.core.keys import Json
from reconciler.paths import replacing

log = logging.getLogger(__name__)

MOST_BYTES = 64 << 20
"""Of the file; what needs more is not kept."""
_ROOT = Path(__file__).resolve().parents[2]
_JUDGES = ("api", "core/governance", "sources/documents")
"""Where it is decided what a document says and whether it is valid."""

Row = tuple[int, int, Json]
"""Line and column in which a valid document begins, and what it says."""


class Kept:
    """`file`: where. What is in it is read when it is first asked for: one line for each document, which is parsed when that one is asked
    for, so that nothing takes long at a stretch. Blocking."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines: dict[bytes, bytes] | None = None

    def get(self, digest: str) -> Row | None:
        """What the valid document with this text says; None where that is not known."""
        if self._lines is None:
            self._lines = self._load()
        line = self._lines.get(digest.encode())
        try:
            row = orjson.loads(line) if line is not None else None
        except ValueError:
            return None
        match row:
            case [int(first), int(column), dict(raw)]:
                return first, column, raw
            case _:
                return None

    def put(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Keep these instead of all that is kept. A file that can't be written is told, and harms nothing."""
        self._lines = {}
        data = b"\n".join([_judges(), *(b"%s %s" % (digest.encode(), orjson.dumps(row)) for digest, row in rows)])
        if len(data) > MOST_BYTES:
            data = b""
        try:
            with replacing(self._file) as fresh:
                fresh.write(data)
        except OSError as error:
            log.warning("%s can't be written (%s): the next start reads all documents anew", self._file, error.strerror)

    def _load(self) -> dict[bytes, bytes]:
        try:
            data = self._file.read_bytes() if self._file.stat().st_size <= MOST_BYTES else b""
        except OSError:
            return {}
        by, *lines = data.split(b"\n")
        if by != _judges():
            return {}
        parts = (line.partition(b" ") for line in lines)
        return {digest: row for digest, _, row in parts}


@cache
def _judges() -> bytes:
    """Names the code that reads and validates: every file of it, in the state that it is in."""
    told = hashlib.sha256()
    for file in sorted(_files()):
        told.update(file.read_bytes())
    return told.hexdigest().encode()


def _files() -> Iterable[Path]:
    for folder in _JUDGES:
        yield from (_ROOT / folder).rglob("*.py")
