"""Writes of commands: to the running controller or, when none runs, into the store."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Sequence

from reconciler.config import Config
from reconciler.core.keys import Json, JsonValue
from reconciler.engine.clock import LoopClock
from reconciler.engine.kinds.stock import STOCK
from reconciler.engine.orphans import ask_for
from reconciler.engine.recorder import Recorder
from reconciler.engine.registry import Registry
from reconciler.engine.state.declarations import AUDIT_KEPT, Declarations
from reconciler.engine.state.memories import Memories, MemoryDesk
from reconciler.engine.state.objects import ObjectTable
from reconciler.errors import Refused
from reconciler.serve.commands import Commands, raise_error
from reconciler.serve.control import NoController, ask
from reconciler.serve.refused import RefusedCommands
from reconciler.sources.files.sync import spec_in_file, still_in_file
from reconciler.store.lock import acquire, holder

PATIENCE = 10.0
"""Seconds a write waits for another command's write, or for a controller that is just starting or stopping."""


async def submit(config: Config, requests: Sequence[Json]) -> list[JsonValue]:
    """Carry out writes, in order: by the running controller, or in the store when none runs. Raises the first that is refused;
    those before it hold. Raises `Refused` when another command keeps the store for too long. With `--kube`: in the cluster."""
    if config.kube:
        from reconciler.cli import kube

        return await kube.submit(config, requests)
    requests = [{**request, "by": whoami()} for request in requests]
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
            lock = acquire(config.state, command=True)
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
        table = ObjectTable(store, Registry(STOCK))
        image = await store.load()
        table.fill(image.objects, image.meta)
        clock = LoopClock()
        keep = config.governing.audit_keep if config.governing is not None else AUDIT_KEPT
        declarations = Declarations(table, Recorder(clock), clock, audit_keep=keep)
        desk = MemoryDesk(Memories(store), table, Recorder(clock), clock, keep)
        refused = RefusedCommands(table, clock, keep)
        commands = Commands(declarations, still_in_file, lambda vms: ask_for(table, vms), desk.edit, refused.note, spec_in_file)
        return [raise_error(await commands.handle(request)) for request in requests]
    finally:
        await store.aclose()


def whoami() -> str:
    """The user who runs this command, for the audit; its number where it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def runs(config: Config) -> bool:
    """Whether a controller runs on this state directory."""
    return holder(config.state) is not None
