"""Between the engine's values and rows: what a batch looks like on its way to the database, and objects on their way back.

Encoding happens in the caller, before the batch is queued, but for very large ones: a value that can't be stored fails its own write only,
and a mapping that is changed afterwards changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, get_args

import orjson

from reconciler.core.audit import Actor, Change, Door, Entry
from reconciler.engine.ports import (
    AddAudit,
    AddEvent,
    AppendSession,
    DropObject,
    Event,
    Intent,
    Json,
    Key,
    PutIntent,
    PutMemory,
    PutMeta,
    PutObject,
    SawVms,
    SlotKey,
    SlotOwner,
    StoredObject,
    Write,
)
from reconciler.errors import ReconcilerError, Rejected

if TYPE_CHECKING:
    from reconciler.core.governance.memory import MemoryEntry

Value = None | int | float | str | bytes
Values = dict[str, Value]


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """`expect`: the version that must be there now, 0 for none."""

    key: Key
    uid: str
    version: int
    expect: int
    values: Values = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoObject:
    key: Key
    uid: str


@dataclass(frozen=True, slots=True)
class IntentRow:
    token: str
    values: Values = field(repr=False)


@dataclass(frozen=True, slots=True)
class EventRow:
    """`again`: an earlier one of its series may be there, whose place it takes."""

    again: bool
    values: Values = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChunkRow:
    session: str
    start: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SightingRows:
    vm_ids: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class MetaRow:
    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuditRow:
    keep: int
    values: Values = field(repr=False)


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """Of one memory. `dropped`: entries that go first, '' for all."""

    namespace: str
    owner: str
    dropped: tuple[str, ...]
    entries: tuple[Values, ...] = field(repr=False)


RowWrite = AuditRow | MemoryRow | ObjectRow | NoObject | IntentRow | EventRow | ChunkRow | SightingRows | MetaRow
Batch = tuple[RowWrite, ...]


def encode(batch: Sequence[Write]) -> Batch:
    """The rows a batch writes. Raises `Rejected` for what no database can hold: values that are not JSON, a version that does not grow,
    a negative offset."""
    return tuple(_encode(write) for write in batch)


def _encode(write: Write) -> RowWrite:
    match write:
        case PutObject(obj, expect):
            if expect < 0 or obj.version <= expect:
                raise Rejected(f"version {obj.version} does not follow {expect}", str(obj.key), "number versions upwards")
            return ObjectRow(obj.key, obj.uid, obj.version, expect, object_values(obj))
        case DropObject(key, uid):
            return NoObject(key, uid)
        case PutIntent(intent):
            return IntentRow(intent.token, intent_values(intent))
        case AddEvent(event):
            return EventRow(event.count > 1, event_values(event))
        case AppendSession(session, offset, data):
            if offset < 0:
                raise Rejected(f"offset {offset} is negative", f"session {session}", "append at the mirror's length")
            return ChunkRow(session, offset, bytes(data))
        case SawVms(vm_ids, at):
            return SightingRows(tuple(vm_ids), at)
        case AddAudit(entry, keep):
            return AuditRow(keep, audit_values(entry))
        case PutMemory(whose, entries, dropped):
            rows = tuple(memory_values(whose.namespace, whose.owner, entry) for entry in entries)
            return MemoryRow(whose.namespace, whose.owner, dropped, rows)
        case PutMeta(name, value):
            return MetaRow(name, value)


def object_values(obj: StoredObject) -> Values:
    """The row of an object, by column name."""
    where = str(obj.key)
    return {
        "kind": obj.key.kind,
        "namespace": obj.key.namespace,
        "name": obj.key.name,
        "uid": obj.uid,
        "generation": obj.generation,
        "version": obj.version,
        "created_at": obj.created_at,
        "deleted_at": obj.deleted_at,
        "labels": _dump(dict(obj.labels), where) if obj.labels else "{}",
        "annotations": _dump(dict(obj.annotations), where) if obj.annotations else "{}",
        "finalizers": _dump(obj.finalizers, where) if obj.finalizers else "[]",
        "spec": _dump(obj.spec, where),
        "status": _dump(obj.status, where),
        "record": _dump(obj.record, where),
        "source": obj.source,
        "origin": obj.origin,
        "owner": obj.owner,
        "source_id": obj.source_id,
        "source_commit": obj.source_commit,
    }


def object_of(row: Sequence[object]) -> StoredObject:
    """The object of a row whose columns are those of `OBJECTS`, in order. Raises `ReconcilerError` when it is damaged."""
    kind, namespace, name, uid, generation, version, created, deleted, labels, notes, finalizers, spec, status, record, *declared = row
    source, origin, owner, source_id, source_commit = map(str, declared)
    key = Key(str(kind), str(namespace), str(name))
    where = str(key)
    return StoredObject(
        key=key,
        uid=str(uid),
        generation=integer(generation, where),
        version=integer(version, where),
        created_at=number(created, where),
        spec=_mapping(spec, where),
        labels=_strings(labels, where),
        annotations=_strings(notes, where),
        finalizers=_list(finalizers, where),
        deleted_at=None if deleted is None else number(deleted, where),
        status=_mapping(status, where),
        record=_mapping(record, where),
        source=source,
        origin=origin,
        owner=owner,
        source_id=source_id,
        source_commit=source_commit,
    )


def audit_values(entry: Entry) -> Values:
    """The row of an entry of the audit, by column name."""
    changes = [[change.path, change.before, change.after] for change in entry.changes]
    return {
        "at": entry.at,
        "door": entry.actor.door,
        "who": entry.actor.who,
        "verb": entry.verb,
        "kind": entry.key.kind,
        "namespace": entry.key.namespace,
        "name": entry.key.name,
        "uid": entry.uid,
        "changes": _dump(changes, "audit"),
    }


def audit_of(row: Sequence[object]) -> tuple[int, Entry]:
    """The entry of a row whose columns are those of `AUDIT`, in order, with its number. Raises `ReconcilerError` when it is damaged."""
    seq, at, door, who, verb, kind, namespace, name, uid, told = row
    where = f"audit {seq}"
    listed = _load(told, where)
    if not isinstance(listed, list) or not all(isinstance(one, list) and len(one) == 3 for one in listed):
        raise damaged(where)
    found = tuple(Change(str(path), _maybe(before), _maybe(after)) for path, before, after in listed)
    actor = Actor(DOORS.get(str(door), "controller"), str(who))
    key = Key(str(kind), str(namespace), str(name))
    return integer(seq, where), Entry(actor, str(verb), key, str(uid), found, number(at, where))


def memory_values(namespace: str, owner: str, entry: MemoryEntry) -> Values:
    """The row of an entry of a memory, by column name."""
    return {
        "namespace": namespace,
        "owner": owner,
        "entry": entry.id,
        "at": entry.at,
        "text": _storable(entry.text),
        "writer": entry.by,
        "gone_at": entry.gone_at,
        "gone_by": entry.gone_by,
    }


def memory_of(row: Sequence[object]) -> MemoryEntry:
    """The entry of a row whose columns are those of `queries.MEMORY`, in order. Raises `ReconcilerError` when it is damaged."""
    from reconciler.core.governance.memory import MemoryEntry  # most commands that read the store need none

    entry, at, text, writer, gone_at, gone_by = row
    where = f"memory {entry}"
    return MemoryEntry(number(at, where), str(entry), str(text), str(writer), number(gone_at, where), str(gone_by))


DOORS: Mapping[str, Door] = {door: door for door in get_args(Door)}


def _maybe(value: object) -> str | None:
    return None if value is None else str(value)


def intent_values(intent: Intent) -> Values:
    """The row of an intent, by column name."""
    key = intent.owner.object
    return {
        "token": intent.token,
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "uid": intent.owner.uid,
        "verb": intent.verb,
        "attempt": intent.attempt,
        "payload": _dump(intent.payload, intent.token),
        "sent_at": intent.sent_at,
        "server_time": intent.server_time,
        "outcome": intent.outcome,
        "node": intent.owner.node,
    }


def intent_of(row: Sequence[object]) -> Intent:
    """The intent of a row whose columns are those of `INTENTS`, in order. Raises `ReconcilerError` when it is damaged."""
    token, kind, namespace, name, uid, verb, attempt, payload, sent_at, server_time, outcome, node = row
    where = f"intent {token}"
    return Intent(
        token=str(token),
        owner=SlotOwner(SlotKey(Key(str(kind), str(namespace), str(name)), str(node)), str(uid)),
        verb=str(verb),
        attempt=integer(attempt, where),
        payload=_mapping(payload, where),
        sent_at=number(sent_at, where),
        server_time=None if server_time is None else number(server_time, where),
        outcome=str(outcome),
    )


def event_values(event: Event) -> Values:
    """The row of a new event, by column name, without `seq`: the database numbers it."""
    return {
        "kind": event.key.kind,
        "namespace": event.key.namespace,
        "name": event.key.name,
        "uid": event.uid,
        "type": event.type,
        "reason": event.reason,
        "message": _storable(event.message),
        "at": event.at,
        "series": event.series,
        "count": event.count,
        "first_at": event.first,
    }


def event_of(row: Sequence[object]) -> Event:
    """The event of a row whose columns are those of `EVENTS`, in order. Raises `ReconcilerError` when it is damaged."""
    seq, kind, namespace, name, uid, type_, reason, message, at, series, count, first = row
    where = f"event {seq}"
    key = Key(str(kind), str(namespace), str(name))
    told = Event(key, str(uid), str(type_), str(reason), str(message), number(at, where), integer(seq, where))
    return replace(told, series=str(series), count=integer(count, where), first=number(first, where))


def _storable(text: str) -> str:
    """Text may quote anything, also what a text column refuses: NUL and lone surrogates become `?`-like marks."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _dump(value: object, where: str) -> str:
    if not value and isinstance(value, dict):
        return "{}"
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        # Without the encoder's words: they may quote the value.
        raise Rejected("not JSON", where, "store strings, numbers, lists and string-keyed maps only") from None


def _load(text: object, where: str) -> object:
    try:
        return orjson.loads(text if isinstance(text, str | bytes) else b"")
    except orjson.JSONDecodeError:
        raise damaged(where) from None


def _mapping(text: object, where: str) -> Json:
    value = _load(text, where)
    if not isinstance(value, dict):
        raise damaged(where)
    return value


def _strings(text: object, where: str) -> dict[str, str]:
    return {name: str(value) for name, value in _mapping(text, where).items()}


def _list(text: object, where: str) -> tuple[str, ...]:
    value = _load(text, where)
    if not isinstance(value, list):
        raise damaged(where)
    return tuple(str(item) for item in value)


def integer(value: object, where: str) -> int:
    if not isinstance(value, int):
        raise damaged(where)
    return value


def number(value: object, where: str) -> float:
    if not isinstance(value, int | float):
        raise damaged(where)
    return float(value)


def damaged(where: str) -> ReconcilerError:
    """The error for rows or files that are not what this program ever wrote."""
    return ReconcilerError(
        "the store is damaged", where, "stop the controller, move the store away and `reconciler import` the last `reconciler export`"
    )


def nameless(where: str) -> ReconcilerError:
    """The error for a search by what no database can hold."""
    return ReconcilerError("a name that is not Unicode", where, "there is no such object")
