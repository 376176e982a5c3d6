"""The store as commands see it: reads go straight to it, writes to the running controller or, when none runs, into it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli import kube
from reconciler.config import Config
from reconciler.core.keys import Json, JsonValue
from reconciler.engine.clock import LoopClock
from reconciler.engine.effects import Effects
from reconciler.engine.kinds.stock import STOCK
from reconciler.engine.orphans import ask_for
from reconciler.engine.ports import Event, Image, Key, Store, StoredObject, Write
from reconciler.engine.recorder import Recorder
from reconciler.engine.registry import Registry
from reconciler.engine.state.declarations import Declarations
from reconciler.engine.state.objects import ObjectTable
from reconciler.errors import Forbidden, NotFound, Refused
from reconciler.serve.commands import Commands, raise_error
from reconciler.serve.control import NoController, ask
from reconciler.sources.files.sync import still_in_file

if TYPE_CHECKING:
    from reconciler.store.sqlstore import SqlStore  # a second of imports that commands without a store do not need

PATIENCE = 10.0
"""Seconds a write waits for another command's write, or for a controller that is just starting or stopping."""


@asynccontextmanager
async def reader(config: Config) -> AsyncIterator[Store]:
    """The store, for looking only; beside a running controller or without one. One that was never made is empty until it is. With
    `--kube`: the cluster."""
    if config.kube:
        async with kube.connected(config) as cluster:
            yield kube.KubeStore(cluster, config.namespace)
        return
    fresh = not config.store and not config.state.exists()
    hint = f"{config.state} does not exist yet; nothing was ever declared there"
    store = LateStore(config.store_address)
    try:
        yield store
        if fresh and not config.state.exists():
            print(f"note: {hint}", file=sys.stderr)
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
        print(
            f"note: only the {kind.lower()}s of namespace {config.namespace} are known; you may not list those of others", file=sys.stderr
        )
        return found


async def submit(config: Config, requests: Sequence[Json]) -> list[JsonValue]:
    """Carry out writes, in order: by the running controller, or in the store when none runs. Raises the first that is refused;
    those before it hold. Raises `Refused` when another command keeps the store for too long. With `--kube`: in the cluster."""
    if config.kube:
        return await kube.submit(config, requests)
    from reconciler.store.lock import acquire

    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    done: list[JsonValue] = []
    while len(done) < len(requests):
        try:
            done.append(raise_error(await ask(config.state, requests[len(done)])))
            continue
        except NoController:
            pass
        try:
            lock = acquire(config.state)
        except Refused:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(0.05)
            continue
        with lock:
            return done + await _submit_here(config, requests[len(done) :])
    return done


async def _submit_here(config: Config, requests: Sequence[Json]) -> list[JsonValue]:
    from reconciler.store.sqlstore import open_store

    store = open_store(config.store_address, inline=True)
    try:
        table = ObjectTable(store, Effects(), Registry(STOCK))
        image = await store.load()
        table.fill(image.objects, image.meta)
        clock = LoopClock()
        commands = Commands(Declarations(table, Recorder(clock), clock), still_in_file, lambda vms: ask_for(table, vms))
        return [raise_error(await commands.handle(request)) for request in requests]
    finally:
        await store.aclose()


def runs(config: Config) -> bool:
    """Whether a controller runs on this state directory."""
    from reconciler.store.lock import holder

    return holder(config.state) is not None


class LateStore:
    """A store that is only read, and may not be there yet. It takes writes and forgets them, so that a planner can run over it."""

    def __init__(self, address: str | Path) -> None:
        self._address = address
        self._opened: SqlStore | None = None

    def _base(self) -> SqlStore | None:
        if self._opened is None:
            from reconciler.store.sqlstore import open_store

            with suppress(NotFound):
                self._opened = open_store(self._address, inline=True, read_only=True)
        return self._opened

    async def write(self, batch: Sequence[Write]) -> None:
        return None

    async def load(self) -> Image:
        base = self._base()
        return await base.load() if base else Image((), (), {}, {}, {})

    async def objects(self, kind: str | None = None, namespace: str | None = None, name: str | None = None) -> list[StoredObject]:
        base = self._base()
        return await base.objects(kind, namespace, name) if base else []

    async def events(self, key: Key | None = None, after: int = 0, limit: int = 1000) -> list[Event]:
        base = self._base()
        return await base.events(key, after, limit) if base else []

    async def session(self, session: str, offset: int = 0, limit: int = 1 << 22) -> bytes:
        base = self._base()
        return await base.session(session, offset, limit) if base else b""

    async def meta(self, name: str) -> str | None:
        base = self._base()
        return await base.meta(name) if base else None

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()
