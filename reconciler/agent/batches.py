"""Files as requests of bounded size."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence

from reconciler.core.keys import Json
from reconciler.core.snapshot.machine import GuestFile

PART = 3 << 20
"""Bytes of files in one request."""


def batches(files: Sequence[GuestFile], upload_name: Callable[[], str]) -> Iterator[list[Json]]:
    """Requests of at most a few megabytes; small files travel together, large ones in pieces. `upload_name`: a new one for each file."""
    batch: list[Json] = []
    room = PART
    for file in files:
        upload = upload_name()
        offset = 0
        while True:
            piece = file.content[offset : offset + room]
            done = offset + len(piece) == len(file.content)
            data = base64.b64encode(piece).decode()
            batch.append({"path": file.path, "mode": file.mode, "data": data, "upload": upload, "offset": offset, "done": done})
            offset += len(piece)
            room -= len(piece)
            if room <= 0:
                yield batch
                batch, room = [], PART
            if done:
                break
    if batch:
        yield batch
