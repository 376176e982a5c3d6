"""Files and directories, and what is declared beside them elsewhere, as one source that can be followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from reconciler.core.keys import Key
from reconciler.engine.ports import StoredObject
from reconciler.engine.view import EngineView
from reconciler.sources.documents.kept import Kept
from reconciler.sources.files.planned import Entering, Objection, Unfit
from reconciler.sources.files.scan import Look, Scan, Scanner
from reconciler.sources.files.sync import FileSync
from reconciler.sources.files.watch import watch

MARGIN = 0.05
"""Seconds after which a look comes late, so that it does not come early."""
FEW = 20
"""Changed files that are looked at by themselves; more are found soon enough by the look at everything."""

LATER = 0.2
"""Seconds until the look at everything, which keeps a processor busy, when a change was put in force before it and is to be acted on."""


class Elsewhere(Protocol):
    """Declarations that are no files here, such as a repository's."""

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` when there may be something new. Runs until cancelled or fails."""
        ...

    async def choose(self, sync: FileSync) -> None:
        """Before a look: decide what of it is to be in force."""
        ...

    def feed(self, look: Look) -> None:
        """Add what is declared."""
        ...

    def entering(self) -> Entering | None:
        """The commit that comes in force with what is fed, None when it is in force already."""
        ...

    def unfit(self, objections: Sequence[Objection]) -> None:
        """What was fed did not come in force: something of a commit is refused by now."""
        ...

    async def settled(self) -> None:
        """What was fed is in force."""
        ...


class FileSource:
    """`sources.follower.Source` over paths. `namespace`: for documents that name none; `engine`: tells when an object is gone;
    `elsewhere`: declared beside the files; `kept`: what an earlier life of the process read."""

    def __init__(
        self,
        paths: Sequence[Path],
        namespace: str,
        sync: FileSync,
        engine: EngineView,
        elsewhere: Sequence[Elsewhere] = (),
        kept: Kept | None = None,
    ) -> None:
        self._paths, self._sync, self._engine, self._scanner = paths, sync, engine, Scanner(namespace, kept)
        self._elsewhere = elsewhere
        self._hints: set[str] = set()
        self._last: Scan | None = None
        self._changed: Callable[[], None] = lambda: None
        self._timer: asyncio.TimerHandle | None = None

    async def watch(self, changed: Callable[[], None]) -> None:
        self._changed = changed

        def written(key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
            """What waited for an object of its name to be gone is declared at once."""
            if after is None and key in self._sync.waiting:
                changed()

        ends = [self._engine.subscribe(changes=written), self._engine.declarations.prunes.subscribe(changed)]
        watches = [
            asyncio.ensure_future(watch(self._paths, changed, hint=self._hints.update)),
            *(asyncio.ensure_future(one.watch(changed)) for one in self._elsewhere),
        ]
        try:
            await asyncio.gather(*watches)
        finally:
            for one in watches:
                one.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            for end in ends:
                end()
            self._looks_again()

    async def scan(self) -> Scan:
        """Everything that is declared. What events name as changed is looked at, and put in force, before."""
        hints = sorted(self._hints)
        self._hints.clear()
        if self._last is not None and len(hints) <= FEW:
            ahead = [await self._sync.ahead(await asyncio.to_thread(self._scanner.again, path, self._last), self._last) for path in hints]
            if any(ahead):
                await asyncio.sleep(LATER)
        for one in self._elsewhere:
            await one.choose(self._sync)

        def more(look: Look) -> None:
            for one in self._elsewhere:
                one.feed(look)

        return await asyncio.to_thread(self._scanner.scan, self._paths, more)

    async def apply(self, found: Scan) -> None:
        try:
            await self._sync.round(found, entering=[one for each in self._elsewhere if (one := each.entering()) is not None])
        except Unfit as error:  # a look that leaves that commit out follows
            for each in self._elsewhere:
                each.unfit(error.objections)
            self._changed()
            return
        self._last = found
        self._engine.caught_up()
        for each in self._elsewhere:
            await each.settled()
        self._looks_again(self._sync.look_again)

    def _looks_again(self, seconds: float | None = None) -> None:
        """Scan once more after so long, whatever the watch says: what is absent then has been so for long enough."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds + MARGIN, self._changed)
