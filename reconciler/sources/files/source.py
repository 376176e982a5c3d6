"""Files and directories as a source that can be followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from reconciler.core.keys import Key
from reconciler.engine.ports import StoredObject
from reconciler.engine.view import EngineView
from reconciler.sources.files.scan import Scan, Scanner
from reconciler.sources.files.sync import FileSync
from reconciler.sources.files.watch import watch

MARGIN = 0.05
"""Seconds after which a look comes late, so that it does not come early."""


class FileSource:
    """`sources.follower.Source` over paths. `namespace`: for documents that name none; `engine`: tells when an object is gone."""

    def __init__(self, paths: Sequence[Path], namespace: str, sync: FileSync, engine: EngineView) -> None:
        self._paths, self._sync, self._engine, self._scanner = paths, sync, engine, Scanner(namespace)
        self._changed: Callable[[], None] = lambda: None
        self._timer: asyncio.TimerHandle | None = None

    async def watch(self, changed: Callable[[], None]) -> None:
        self._changed = changed

        def written(key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
            """What waited for an object of its name to be gone is declared at once."""
            if after is None and key in self._sync.waiting:
                changed()

        ends = [self._engine.subscribe(changes=written), self._engine.declarations.prunes.subscribe(changed)]
        try:
            await watch(self._paths, changed)
        finally:
            for end in ends:
                end()
            self._looks_again()

    async def scan(self) -> Scan:
        return await asyncio.to_thread(self._scanner.scan, self._paths)

    async def apply(self, found: Scan) -> None:
        await self._sync.round(found)
        self._looks_again(self._sync.look_again)

    def _looks_again(self, seconds: float | None = None) -> None:
        """Scan once more after so long, whatever the watch says: what is absent then has been so for long enough."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds + MARGIN, self._changed)
