"""Objects without a past, and a store that has what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.core.keys import Json, Key
from reconciler.engine.ports import Event, Image, StoredObject, Write


def stored(kind: str, name: str, spec: Json | None = None, status: Json | None = None, record: Json | None = None) -> StoredObject:
    return StoredObject(Key(kind, "team", name), f"uid-{name}", 1, 1, 0.0, spec or {}, status=status or {}, record=record or {})


class Mirrors:
    """A store for reading: `objects`, `mirrors` of sessions by name, `events` oldest first."""

    def __init__(self, objects: Sequence[StoredObject], mirrors: Mapping[str, bytes] | None = None, events: Sequence[Event] = ()) -> None:
        self._objects, self._mirrors, self._events = objects, mirrors or {}, events

    async def write(self, batch: Sequence[Write]) -> None:
        raise AssertionError("a view writes nothing")

    async def load(self) -> Image:
        return Image(tuple(self._objects), (), {}, {}, {})

    async def objects(self, kind: str | None = None, namespace: str | None = None, name: str | None = None) -> list[StoredObject]:
        wanted = (kind, namespace, name)
        have = [(obj, (obj.key.kind, obj.key.namespace, obj.key.name)) for obj in self._objects]
        return [obj for obj, key in have if all(want in (None, part) for want, part in zip(wanted, key, strict=True))]

    async def events(self, key: Key | None = None, after: int = 0, limit: int = 1000, namespace: str | None = None) -> list[Event]:
        return [event for event in self._events if key in (None, event.key) and event.seq > after][-limit:]

    async def session(self, session: str, offset: int = 0, limit: int = 1 << 22) -> bytes:
        return self._mirrors.get(session, b"")[offset : offset + limit]

    async def meta(self, name: str) -> str | None:
        return None

    async def metas(self, beginning: str) -> Mapping[str, str]:
        return {}

    async def aclose(self) -> None:
        return None
