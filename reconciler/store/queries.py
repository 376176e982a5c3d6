"""Reads, each within one transaction: what they return was true at one moment.

Plain SQL that SQLite and PostgreSQL read alike, because a command that reads once does so with `sqlite3` alone (`reader.py`): importing
SQLAlchemy would take longer than everything else it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from reconciler.core.audit import Entry
from reconciler.engine.ports import Event, Image, Key, StoredObject
from reconciler.store.rows import audit_of, event_of, integer, intent_of, memory_of, number, object_of

if TYPE_CHECKING:
    from reconciler.core.governance.memory import MemoryEntry

Run = Callable[[str, Mapping[str, str | int]], Iterable[Sequence[object]]]
"""Executes a statement with named parameters (`:name`) and gives its rows."""

OBJECTS = (
    "kind, namespace, name, uid, generation, version, created_at, deleted_at, labels, annotations, finalizers, spec, status, record,"
    " source, origin, owner, source_id, source_commit"
)
INTENTS = "token, kind, namespace, name, uid, verb, attempt, payload, sent_at, server_time, outcome, node"
EVENTS = "seq, kind, namespace, name, uid, type, reason, message, at, series, count, first_at"
AUDIT = "seq, at, door, who, verb, kind, namespace, name, uid, changes"
MEMORY = "entry, at, text, writer, gone_at, gone_by"
"""The columns of five tables, in the order in which `rows.py` takes them."""


def image(run: Run) -> Image:
    """Everything a starting controller needs."""
    return Image(
        objects=tuple(objects(run)),
        intents=tuple(intent_of(row) for row in run(f"SELECT {INTENTS} FROM intents WHERE outcome = '' ORDER BY sent_at, token", {})),
        first_seen={str(vm_id): number(at, f"VM {vm_id}") for vm_id, at in run("SELECT vm_id, first_seen FROM sightings", {})},
        sessions={str(name): integer(length, f"session {name}") for name, length in run("SELECT session, length FROM sessions", {})},
        meta={str(name): str(value) for name, value in run("SELECT name, value FROM meta", {})},
    )


DEFAULT_NAMESPACE = "default"


def objects(run: Run, kind: str | None = None, namespace: str | None = None, name: str | None = None) -> list[StoredObject]:
    """The objects that fit everything given, by kind, namespace and name."""
    wanted = {column: value for column, value in (("kind", kind), ("namespace", namespace), ("name", name)) if value is not None}
    # Sorted here: databases disagree about the order of text.
    return sorted((object_of(row) for row in run(f"SELECT {OBJECTS} FROM objects{_where(wanted)}", wanted)), key=lambda obj: obj.key)


def events(run: Run, key: Key | None, after: int, limit: int, namespace: str | None = None) -> list[Event]:
    """Oldest first: the first `limit` with `seq` > `after`, or the last `limit` when `after` is 0. `namespace`: only in it; what is
    about something in none counts as in `default`."""
    wanted = {"kind": key.kind, "namespace": key.namespace, "name": key.name} if key is not None else {}
    values: dict[str, str | int] = {**wanted, "limit": max(limit, 0)}
    terms = [f"{column} = :{column}" for column in wanted]
    if namespace is not None:
        terms.append("(namespace = :within OR namespace = '')" if namespace == DEFAULT_NAMESPACE else "namespace = :within")
        values["within"] = namespace
    if after > 0:
        terms.append("seq > :after")
        values["after"] = after
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    order = "seq" if after > 0 else "seq DESC"
    found = [event_of(row) for row in run(f"SELECT {EVENTS} FROM events{where} ORDER BY {order} LIMIT :limit", values)]
    return found if after > 0 else found[::-1]


def audit(run: Run, limit: int, namespace: str | None = None) -> list[tuple[int, Entry]]:
    """The last `limit`, oldest first. `namespace`: only in it, and what concerns the whole fleet."""
    where = " WHERE namespace = :within OR namespace = ''" if namespace is not None else ""
    values: dict[str, str | int] = {"limit": max(limit, 0), **({"within": namespace} if namespace is not None else {})}
    return [audit_of(row) for row in run(f"SELECT {AUDIT} FROM audit{where} ORDER BY seq DESC LIMIT :limit", values)][::-1]


def memory(run: Run, namespace: str, owner: str) -> list[MemoryEntry]:
    """All entries of a memory, also those that were removed, oldest first."""
    where = {"namespace": namespace, "owner": owner}
    return sorted(memory_of(row) for row in run(f"SELECT {MEMORY} FROM memory WHERE namespace = :namespace AND owner = :owner", where))


def session(run: Run, name: str, offset: int, limit: int) -> bytes:
    """At most `limit` bytes of a mirror from `offset`; fewer only at its end."""
    begin, end = max(offset, 0), max(offset, 0) + max(limit, 0)
    first = "SELECT max(start) FROM session_chunks WHERE session = :session AND start <= :begin"
    rows = run(
        f"SELECT start, data FROM session_chunks WHERE session = :session AND start >= ({first}) AND start < :end ORDER BY start",
        {"session": name, "begin": begin, "end": end},
    )
    pieces = [(integer(at, f"session {name}"), bytes(data)) for at, data in rows if isinstance(data, bytes | memoryview)]
    return b"".join(data[max(begin - at, 0) : end - at] for at, data in pieces)


def meta(run: Run, name: str) -> str | None:
    """The value under this name, None when there is none."""
    return next((str(row[0]) for row in run("SELECT value FROM meta WHERE name = :name", {"name": name})), None)


def metas(run: Run, beginning: str) -> dict[str, str]:
    """The values whose names begin with this, by name."""
    found = run(
        "SELECT name, value FROM meta WHERE substr(name, 1, :size) = :beginning ORDER BY name",
        {"size": len(beginning), "beginning": beginning},
    )
    return {str(name): str(value) for name, value in found}


def _where(wanted: Mapping[str, str]) -> str:
    return f" WHERE {' AND '.join(f'{column} = :{column}' for column in wanted)}" if wanted else ""
