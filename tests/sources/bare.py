"""Declarations without an engine: a table in memory whose writes go nowhere, for properties that need many of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.engine.kinds.stock import STOCK
from reconciler.engine.ports import Event, Image, StoredObject, Write
from reconciler.engine.ports import Key as StoreKey
from reconciler.engine.recorder import Recorder
from reconciler.engine.registry import Registry
from reconciler.engine.state.declarations import Declarations
from reconciler.engine.state.objects import ObjectTable
from reconciler.sources.files.sync import FileSync


class Nowhere:
    """A store that takes every write and has nothing."""

    async def write(self, batch: Sequence[Write]) -> None:
        return None

    async def load(self) -> Image:
        return Image((), (), {}, {}, {})

    async def objects(self, kind: str | None = None, namespace: str | None = None, name: str | None = None) -> list[StoredObject]:
        return []

    async def events(self, key: StoreKey | None = None, after: int = 0, limit: int = 1000, namespace: str | None = None) -> list[Event]:
        return []

    async def session(self, session: str, offset: int = 0, limit: int = 1 << 22) -> bytes:
        return b""

    async def meta(self, name: str) -> str | None:
        return None

    async def metas(self, beginning: str) -> Mapping[str, str]:
        return {}

    async def aclose(self) -> None:
        return None


class StoppedClock:
    """`ports.Clock` that stands at 0."""

    def now(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        return None


@dataclass
class Bare:
    """`now`: seconds, for absences. `deleted`: called with every object that goes."""

    deleted: Callable[[StoredObject], None] = lambda _: None
    now: float = 0.0
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = ObjectTable(Nowhere(), Registry(STOCK))
        self.declarations = Declarations(self.table, Recorder(StoppedClock()), StoppedClock())
        self.sync = FileSync(self.table, self.declarations, self.told.append, lambda: self.now)

        def changed(key: StoreKey, before: StoredObject | None, after: StoredObject | None) -> None:
            if before is not None and before.deleted_at is None and (after is None or after.deleted_at is not None):
                self.deleted(before)

        self.table.on_change.append(changed)

    def known(self) -> dict[str, StoredObject]:
        return {item.key.name: item.obj for item in self.table.of_kind("BootProfile") if not item.deleting}
