"""Statuses that wait for a write of their objects that comes at once."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.keys import Json, Key
from reconciler.core.values import replaced
from reconciler.engine.ports import AddEvent, StoredObject, Write


class HeldStatuses:
    """Statuses that need no transaction of their own, since their objects are about to be written: they go with that. One is not in force
    before, so that whoever makes a status anew meanwhile finds that it differs from what is told, and writes it."""

    def __init__(self) -> None:
        self._held: dict[Key, tuple[Json, Sequence[AddEvent]]] = {}

    def hold(self, key: Key, status: Json, events: Sequence[AddEvent]) -> None:
        """`events`: what people are told with it."""
        self._held[key] = status, events

    def join(self, obj: StoredObject, writes: list[Write]) -> StoredObject:
        """`obj` with what is held of it, whose events are added to the writes of the same transaction."""
        held = self._held.pop(obj.key, None)
        if held is None:
            return obj
        writes.extend(held[1])
        return replaced(obj, status=held[0])

    def drop(self, key: Key) -> Sequence[AddEvent]:
        """Another status takes its place, or its object is gone. Returns its events, which were heard already."""
        held = self._held.pop(key, None)
        return held[1] if held is not None else ()
