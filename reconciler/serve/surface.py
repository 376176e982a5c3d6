"""What is shown and changed over HTTP, and by which parts: the same for the API and for the page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Self

from reconciler.api.registry import BY_NAME
from reconciler.core.audit import Actor
from reconciler.core.keys import Json, JsonValue, Key
from reconciler.engine.ports import Store, StoredObject
from reconciler.engine.view import EngineView
from reconciler.errors import NotFound, Refused, TimedOut
from reconciler.serve.commands import raise_error
from reconciler.serve.hiding import Hiding
from reconciler.serve.stream import Hub
from reconciler.views.board import Board, Row, row_of
from reconciler.views.conversation import is_for, session_of
from reconciler.views.forecast import Forecast
from reconciler.views.talk import Talk, size_of, talk

Handle = Callable[[Json, Actor], Awaitable[Json]]
"""Carries a request of `reconciler.serve.commands` out, for somebody."""
NOBODY = Actor("api")
"""Over HTTP, and nothing is known of who asks."""
PLAN_SECONDS = 15.0
"""For so long a plan is shown again."""
PLAN_PATIENCE = 60.0
EVENTS = 1000


class Foresight:
    """The plan, made at most once in a while, however many ask."""

    def __init__(self, foresee: Callable[[], Awaitable[Forecast]]) -> None:
        self._foresee = foresee
        self._made: asyncio.Task[Forecast] | None = None
        self._until = 0.0

    async def __call__(self) -> Forecast:
        """Raises what the platform says when it can't be read, `TimedOut` when it takes too long."""
        loop = asyncio.get_running_loop()
        made = self._made
        if made is None or (made.done() and (loop.time() > self._until or made.cancelled() or made.exception() is not None)):
            self._made = asyncio.ensure_future(self._foresee())
            self._until = loop.time() + PLAN_SECONDS
        try:
            async with asyncio.timeout(PLAN_PATIENCE):
                assert self._made is not None
                return await asyncio.shield(self._made)
        except TimeoutError:
            raise TimedOut("the plan takes too long", "plan", "use `reconciler plan`") from None


@dataclass(frozen=True, slots=True)
class Surface:
    """An engine and what is around it. `handle`: carries out declarations; None where they live in a cluster. `remembers`: carries out
    changes of what agents remember, which lives here in any case. `foresight`: the plan, None where there is none. `max_vms`: as the
    controller was told, None: no limit. `actor`: for whom it changes something."""

    engine: EngineView
    store: Store
    hub: Hub
    hiding: Hiding
    handle: Handle | None = None
    foresight: Foresight | None = None
    max_vms: int | None = None
    remembers: Handle | None = None
    actor: Actor = NOBODY
    _sizes: dict[str, int] = field(default_factory=dict)

    @property
    def board(self) -> Board:
        return self.hub.board

    def acting(self, actor: Actor) -> Self:
        """The same, for somebody: what is changed by it is theirs in the audit."""
        return replace(self, actor=actor)

    def objects(self, kind: str, namespace: str = "") -> list[StoredObject]:
        """In order of namespace and name."""
        found = (item.obj for item in self.engine.table.of_kind(kind))
        return sorted((obj for obj in found if not namespace or obj.key.namespace == namespace), key=lambda obj: obj.key)

    def object(self, key: Key) -> StoredObject:
        """Raises `NotFound`."""
        item = self.engine.table.get(key) if key.kind in BY_NAME else None
        if item is None:
            raise NotFound(f"{key.kind.lower()}/{key.name} does not exist", f"namespace {key.namespace}", "look at the list of its kind")
        return item.obj

    def row(self, obj: StoredObject) -> Row:
        """What is told of it in short; the board learns of a new object a moment after the table has it."""
        return self.board.rows.get(obj.key) or row_of(obj)

    def tasks_of(self, lieutenant: Key) -> list[StoredObject]:
        """Newest first."""
        found = [task for task in self.objects("Task", lieutenant.namespace) if is_for(task, lieutenant)]
        return sorted(found, key=lambda task: (task.created_at, task.key), reverse=True)

    async def talk(self, lieutenant: StoredObject, before: int | None = None, limit: int = 50, after: int | None = None) -> Talk:
        """A piece of its conversation, from the end or from before an offset."""
        session = session_of(lieutenant)
        size = await size_of(self.store, session, self._sizes.get(session, 0))
        if len(self._sizes) > 4096:
            self._sizes.clear()
        self._sizes[session] = size
        return await talk(self.store, session, size, before, limit, after)

    async def declare(self, request: Json) -> JsonValue:
        """Carry a request of `reconciler.serve.commands` out. Raises what is wrong with it, `Refused` where nothing is declared here."""
        if self.handle is None:
            remedy = "use kubectl, or `reconciler … --kube`"
            raise Refused("what is declared in a cluster is changed there", "", remedy)
        return raise_error(await self.handle(request, self.actor))

    async def remember(self, request: Json) -> JsonValue:
        """Carry a request about a memory out. Raises what is wrong with it."""
        if self.remembers is None:
            raise Refused("nothing that agents remember is changed here", "", "use `reconciler memory`")
        return raise_error(await self.remembers(request, self.actor))


@contextmanager
def surface_of(
    engine: EngineView,
    store: Store,
    hiding: Hiding,
    handle: Handle | None,
    foresee: Callable[[], Awaitable[Forecast]] | None,
    max_vms: int | None = None,
    remembers: Handle | None = None,
) -> Iterator[Surface]:
    """For as long as this engine acts. `remembers`: `handle` where nothing else is said."""
    hub = Hub(engine, Board())
    try:
        foresight = Foresight(foresee) if foresee is not None else None
        yield Surface(engine, store, hub, hiding, handle, foresight, max_vms, remembers or handle)
    finally:
        hub.close()
