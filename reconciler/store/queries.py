"""Reads, each on one connection within one transaction: what they return was true at one moment."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from reconciler.engine.ports import Event, Image, Key, StoredObject
from reconciler.store.rows import event_of, intent_of, object_of
from reconciler.store.schema import CHUNKS, EVENTS, INTENTS, META, OBJECTS, SESSIONS, SIGHTINGS


def image(connection: Connection) -> Image:
    """Everything a starting controller needs."""
    open_intents = select(INTENTS).where(INTENTS.c.outcome == "").order_by(INTENTS.c.sent_at, INTENTS.c.token)
    return Image(
        objects=tuple(objects(connection)),
        intents=tuple(intent_of(row) for row in connection.execute(open_intents)),
        first_seen={str(vm_id): float(at) for vm_id, at in connection.execute(select(SIGHTINGS.c.vm_id, SIGHTINGS.c.first_seen))},
        sessions={str(name): int(length) for name, length in connection.execute(select(SESSIONS.c.session, SESSIONS.c.length))},
        meta={str(name): str(value) for name, value in connection.execute(select(META.c.name, META.c.value))},
    )


def objects(connection: Connection, kind: str | None = None, namespace: str | None = None, name: str | None = None) -> list[StoredObject]:
    """The objects that fit everything given, by kind, namespace and name."""
    query = select(OBJECTS)
    for column, value in ((OBJECTS.c.kind, kind), (OBJECTS.c.namespace, namespace), (OBJECTS.c.name, name)):
        if value is not None:
            query = query.where(column == value)
    # Sorted here: databases disagree about the order of text.
    return sorted((object_of(row) for row in connection.execute(query)), key=lambda obj: obj.key)


def events(connection: Connection, key: Key | None, after: int, limit: int) -> list[Event]:
    """Oldest first: the first `limit` with `seq` > `after`, or the last `limit` when `after` is 0."""
    query = select(EVENTS)
    if key is not None:
        query = query.where(EVENTS.c.kind == key.kind, EVENTS.c.namespace == key.namespace, EVENTS.c.name == key.name)
    if after > 0:
        query = query.where(EVENTS.c.seq > after).order_by(EVENTS.c.seq).limit(max(limit, 0))
        return [event_of(row) for row in connection.execute(query)]
    query = query.order_by(EVENTS.c.seq.desc()).limit(max(limit, 0))
    return [event_of(row) for row in connection.execute(query)][::-1]


def session(connection: Connection, name: str, offset: int, limit: int) -> bytes:
    """At most `limit` bytes of a mirror from `offset`; fewer only at its end."""
    start, end = max(offset, 0), max(offset, 0) + max(limit, 0)
    mine = CHUNKS.c.session == name
    first = select(func.max(CHUNKS.c.start)).where(mine, CHUNKS.c.start <= start).scalar_subquery()
    query = select(CHUNKS.c.start, CHUNKS.c.data).where(mine, CHUNKS.c.start >= first, CHUNKS.c.start < end).order_by(CHUNKS.c.start)
    pieces = [bytes(data)[max(start - at, 0) : end - at] for at, data in connection.execute(query)]
    return b"".join(pieces)


def meta(connection: Connection, name: str) -> str | None:
    """The value under this name, None when there is none."""
    value = connection.execute(select(META.c.value).where(META.c.name == name)).scalar_one_or_none()
    return None if value is None else str(value)
