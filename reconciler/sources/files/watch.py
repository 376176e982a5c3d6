"""When to scan again: file events as hints, and a round every half minute whatever they say.

A watch on a directory goes blind when that directory itself is replaced, so what stands above it is watched too, and the watches
are made anew whenever the directory is no longer the one they were made on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from watchfiles import Change, awatch

from reconciler.paths import Absent, Present, hops, is_folder, look

log = logging.getLogger(__name__)

RESCAN = 30.0
"""Seconds after which `watch` says dirty without any event."""
_DEBOUNCE_MS, _QUIET_MS = 300, 20
"""Events are gathered until there was none for so long; at most for as long as the first."""
_WITHOUT_EVENTS = 2.0
"""Seconds between rounds while the system gives us no events."""


Hint = Callable[[frozenset[str]], None]


def _nothing(changed: frozenset[str]) -> None:
    """Nobody asks what changed."""


async def watch(paths: Sequence[Path], on_dirty: Callable[[], None], *, rescan: float = RESCAN, hint: Hint = _nothing) -> None:
    """Call `on_dirty` once at the start, soon after anything changes below `paths` (files or directories, existing or not yet),
    and every `rescan` seconds. `hint`: is told before that which paths events were about. Runs until cancelled; raises what a watch fails
    with. Both are called in this task and must not block."""
    while True:
        made_for = _identities(paths)
        dirty, blind = asyncio.Event(), asyncio.Event()
        watchers = [
            asyncio.create_task(_below(paths, dirty, blind, hint)),
            asyncio.create_task(_above(paths, dirty, blind)),
        ]
        for watcher in watchers:
            watcher.add_done_callback(partial(_failed, dirty))
        try:
            while True:
                for watcher in watchers:
                    if watcher.done():
                        watcher.result()  # one that has nothing to watch ends at once; one that failed must not be missed
                on_dirty()
                await _either(dirty, min(rescan, _WITHOUT_EVENTS) if blind.is_set() else rescan)
                dirty.clear()
                if _identities(paths) != made_for:
                    break
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)


def _failed(dirty: asyncio.Event, watcher: asyncio.Task[None]) -> None:
    """Wake the round at once when a watcher ended by an error."""
    if not watcher.cancelled() and watcher.exception() is not None:
        dirty.set()


async def _either(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _below(paths: Sequence[Path], dirty: asyncio.Event, blind: asyncio.Event, hint: Hint) -> None:
    roots = [path for path in paths if is_folder(path)]
    if roots:
        await _notice(roots, True, lambda change, path: True, dirty, blind, hint)


async def _above(paths: Sequence[Path], dirty: asyncio.Event, blind: asyncio.Event) -> None:
    """The nearest directory that exists above each path, for the one name in it that leads there."""
    steps = {step for path in paths for step in _steps(path)}
    folders = sorted({step.parent for step in steps})
    if folders:
        await _notice(folders, False, lambda change, path: Path(path) in steps, dirty, blind)


async def _notice(
    paths: list[Path],
    recursive: bool,
    wanted: Callable[[Change, str], bool],
    dirty: asyncio.Event,
    blind: asyncio.Event,
    hint: Hint = _nothing,
) -> None:
    try:
        async for changes in awatch(*paths, watch_filter=wanted, debounce=_DEBOUNCE_MS, step=_QUIET_MS, recursive=recursive):
            hint(frozenset(path for _, path in changes))
            dirty.set()
    except (OSError, RuntimeError) as error:  # no more watches to be had, or a directory went away: rounds go on without events
        log.warning("no file events for %s (%s); looking every %s s instead", ", ".join(map(str, paths)), error, _WITHOUT_EVENTS)
        blind.set()
        dirty.set()


def _steps(path: Path) -> Iterator[Path]:
    """The names to look at: the path and, where it is a link, what it leads to; of something missing, the first part that is missing or
    can't be looked into."""
    for at in hops(path.absolute()):
        while at != at.parent and not is_folder(at.parent):
            at = at.parent
        yield at


def _identities(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    """What the watches hang on: which directories these are now."""
    found: list[tuple[str, int, int]] = []
    for path in paths:
        for step in (*_steps(path), path.absolute()):
            for one in (step.parent, step):
                match look(one):
                    case Present() as seen:
                        found.append((str(one), seen.identity[0], seen.identity[1] if seen.is_folder else 0))
                    case unseen:
                        found.append((str(one), 0, 0 if unseen == Absent() else 1))
    return found
