"""Files and directories as a source that can be followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from reconciler.sources.files.scan import Scan, Scanner
from reconciler.sources.files.sync import FileSync
from reconciler.sources.files.watch import watch


class FileSource:
    """`sources.follower.Source` over paths. `namespace`: for documents that name none."""

    def __init__(self, paths: Sequence[Path], namespace: str, sync: FileSync) -> None:
        self._paths, self._sync, self._scanner = paths, sync, Scanner(namespace)

    async def watch(self, changed: Callable[[], None]) -> None:
        await watch(self._paths, changed)

    async def scan(self) -> Scan:
        return await asyncio.to_thread(self._scanner.scan, self._paths)

    async def apply(self, found: Scan) -> None:
        await self._sync.round(found)
