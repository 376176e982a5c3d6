"""What `run` shows and changes over HTTP: a declaration is changed where it lives, as commands change it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from reconciler.cli.edit import edit
from reconciler.cli.runner import Runner
from reconciler.core.audit import Actor
from reconciler.core.keys import Json
from reconciler.engine.ports import StoredObject
from reconciler.engine.view import EngineView
from reconciler.errors import ReconcilerError
from reconciler.serve.commands import changes_of, error_answer, key_of
from reconciler.sources.files.scan import SOURCE as FILE_SOURCE
from reconciler.views.forecast import Forecast

if TYPE_CHECKING:  # heavy parts, loaded when something listens
    from reconciler.app import Controller
    from reconciler.serve.surface import Handle, Surface


@asynccontextmanager
async def surfaced(runner: Runner, opened: Controller, foresee: Callable[[], Awaitable[Forecast]]) -> AsyncIterator[Surface | None]:
    """For as long as this controller acts; None where nothing listens. `foresee`: makes a plan."""
    if not runner.listens:
        yield None
        return
    from reconciler.serve.hiding import Hiding
    from reconciler.serve.surface import surface_of

    config = runner.config
    hiding = Hiding(opened.secrets.known, [config.environ.get("VERS_API_KEY", "")])
    handle = declaring(opened.engine, opened.commands.handle)
    with surface_of(opened.engine, opened.store, hiding, handle, foresee, config.max_vms) as surface:
        yield surface


def declaring(engine: EngineView, handle: Handle) -> Handle:
    """As `handle`; but a change of what a file declares is made in that file, comments and order kept."""

    async def carried_out(request: Json, actor: Actor) -> Json:
        obj = _in_file(engine, request)
        if obj is None:
            return await handle(request, actor)
        try:
            return {"ok": f"in {await asyncio.to_thread(edit, obj, changes_of(request, str(obj.key)))}"}
        except ReconcilerError as error:
            return error_answer(error)

    return carried_out


def _in_file(engine: EngineView, request: Json) -> StoredObject | None:
    """The object that a request changes, where a file declares it."""
    item = engine.table.get(key_of(request)) if request.get("op") == "patch" else None
    return item.obj if item is not None and item.obj.source == FILE_SOURCE else None
