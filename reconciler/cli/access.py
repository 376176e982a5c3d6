"""The store as commands read it: straight, beside a running controller or without one. Writes: `submit.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.output import say
from reconciler.config import Config
from reconciler.core.audit import Entry
from reconciler.engine.ports import HALTED, Event, Image, Key, Store, StoredObject, Write
from reconciler.errors import Forbidden, NotFound
from reconciler.store.reader import open_reader

if TYPE_CHECKING:
    from reconciler.core.governance.memory import MemoryEntry
    from reconciler.store.reader import SqliteReader
    from reconciler.store.sqlstore import SqlStore


@asynccontextmanager
async def reader(config: Config) -> AsyncIterator[Store]:
    """The store, for looking only; beside a running controller or without one. One that was never made is empty until it is. With
    `--kube`: the cluster."""
    if config.kube:
        from reconciler.cli import kube

        async with kube.connected(config) as cluster:
            yield kube.KubeStore(cluster)
        return
    fresh = not config.store and not config.state.exists()
    hint = f"{config.state} does not exist yet; nothing was ever declared there"
    store = LateStore(config.store_address)
    try:
        yield store
        if fresh and not config.state.exists():
            say(f"note: {hint}")
    except NotFound as error:
        if fresh:
            raise NotFound(error.what, error.where, f"{hint}; check --state") from None
        raise
    finally:
        await store.aclose()


async def visible(config: Config, store: Store, kind: str) -> list[StoredObject]:
    """Objects of one kind in every namespace; in a cluster where somebody may look at their own alone, those, which is said."""
    try:
        return await store.objects(kind)
    except Forbidden:
        found = await store.objects(kind, config.namespace)
        say(f"note: only the {kind.lower()}s of namespace {config.namespace} are known; you may not list those of others")
        return found


class LateStore:
    """A store that is only read, and may not be there yet. It takes writes and forgets them, so that a planner can run over it."""

    def __init__(self, address: str | Path) -> None:
        self._address = address
        self._opened: SqliteReader | SqlStore | None = None

    def _base(self) -> SqliteReader | SqlStore | None:
        if self._opened is None:
            with suppress(NotFound):
                self._opened = open_reader(self._address)
        return self._opened

    async def write(self, batch: Sequence[Write]) -> None:
        return None

    async def load(self) -> Image:
        base = self._base()
        return await base.load() if base else Image((), (), {}, {}, {})

    async def objects(self, kind: str | None = None, namespace: str | None = None, name: str | None = None) -> list[StoredObject]:
        base = self._base()
        return await base.objects(kind, namespace, name) if base else []

    async def events(self, key: Key | None = None, after: int = 0, limit: int = 1000, namespace: str | None = None) -> list[Event]:
        base = self._base()
        return await base.events(key, after, limit, namespace) if base else []

    async def session(self, session: str, offset: int = 0, limit: int = 1 << 22) -> bytes:
        base = self._base()
        return await base.session(session, offset, limit) if base else b""

    async def meta(self, name: str) -> str | None:
        base = self._base()
        return await base.meta(name) if base else None

    async def metas(self, beginning: str) -> Mapping[str, str]:
        base = self._base()
        return await base.metas(beginning) if base else {}

    async def audit(self, limit: int = 1000, namespace: str | None = None) -> list[tuple[int, Entry]]:
        base = self._base()
        return await base.audit(limit, namespace) if base else []

    async def memory(self, namespace: str, owner: str) -> list[MemoryEntry]:
        base = self._base()
        return await base.memory(namespace, owner) if base else []

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()


LET_GO_ON = "`reconciler resume --halted` lets it go on"


async def halted_since(store: Store) -> str:
    """Since when (RFC 3339) nothing is created or delivered, '' when the fleet is not halted."""
    return await store.meta(HALTED) or ""


async def say_when_halted(store: Store) -> None:
    """One line beside a table."""
    if at := await halted_since(store):
        say(f"note: the fleet is halted since {at}: nothing is created and nothing is delivered; {LET_GO_ON}")
