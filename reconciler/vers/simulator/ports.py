"""The ports a platform listens at: after a restart on the same data the same ones, so that clients that are up find it again."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

WAIT_S = 3.0
"""For a kept port that is in use: the simulator that ended may still hold it, and so may a client whose attempt to connect to a port
where nobody listens was given that very port as its own."""
_PAUSE_S = 0.1
_TAKEN = (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL)


@dataclass(frozen=True, slots=True)
class Ports:
    """Of the API and of the front of all VMs; 0: none is known, or any will do."""

    api: int = 0
    gateway: int = 0


async def listen(start: Callable[[int], Awaitable[int]], asked: int, kept: int, what: str) -> int:
    """`start` listens at a port (0: a free one) and returns which. It is the one asked for, else the kept one, else a free one; then
    a warning says so, and what to do about it. Raises `OSError` as `start` does."""
    if asked or not kept:
        return await start(asked)
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while True:
        try:
            return await start(kept)
        except OSError as exc:
            if exc.errno not in _TAKEN:
                raise
            if asyncio.get_running_loop().time() >= deadline:
                break
        await asyncio.sleep(_PAUSE_S)
    port = await start(0)
    log.warning(
        "warning: the port of %s was %d in this data directory and is in use; now it is %d. A controller that runs does not find it: "
        "start it again with the new lines of --env-file",
        what,
        kept,
        port,
    )
    return port
