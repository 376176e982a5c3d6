"""What the batches of one transaction come to.

Many batches share a transaction because durability costs one fsync each time. Under the write lock nothing else changes rows, so a batch is
judged against the rows as read plus what earlier batches of the group made of them; one that conflicts is left out whole before anything
was written for it. Hence no savepoint is needed, and each row is written once, in bulk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.engine.ports import Key
from reconciler.errors import Conflict
from reconciler.store.rows import (
    AuditRow,
    Batch,
    ChunkRow,
    EventRow,
    IntentRow,
    MemoryRow,
    MetaRow,
    NoObject,
    ObjectRow,
    RowWrite,
    SightingRows,
    Values,
)


@dataclass(frozen=True, slots=True)
class Head:
    """What a compare-and-set compares: the row that is there now."""

    uid: str
    version: int


def named(batches: Iterable[Batch]) -> tuple[set[Key], set[str]]:
    """The objects and the sessions whose rows must be read before these batches can be judged."""
    keys: set[Key] = set()
    sessions: set[str] = set()
    for batch in batches:
        for write in batch:
            if isinstance(write, ObjectRow | NoObject):
                keys.add(write.key)
            elif isinstance(write, ChunkRow):
                sessions.add(write.session)
    return keys, sessions


class Group:
    """Collects the rows of admitted batches. `objects`: the row to have, None to have none."""

    def __init__(self, heads: Mapping[Key, Head], lengths: Mapping[str, int]) -> None:
        self._heads: dict[Key, Head | None] = dict(heads)
        self._lengths = dict(lengths)
        self.objects: dict[Key, Values | None] = {}
        self.intents: dict[str, Values] = {}
        self.events: list[Values] = []
        self.counted: list[Values] = []
        self.chunks: list[Values] = []
        self.sessions: dict[str, int] = {}
        self.sightings: dict[str, float] = {}
        self.meta: dict[str, str] = {}
        self.audit: list[Values] = []
        self.audit_kept = 0
        self.memory: dict[tuple[str, str, str], Values] = {}
        self.forgotten: list[Values] = []

    def admit(self, batch: Batch) -> Conflict | None:
        """Take the whole batch in, or say why not and take nothing."""
        heads: dict[Key, Head | None] = {}
        objects: dict[Key, Values | None] = {}
        lengths: dict[str, int] = {}
        for write in batch:
            if isinstance(write, ObjectRow):
                head = heads[write.key] if write.key in heads else self._heads.get(write.key)
                conflict = _compare(write, head)
                if conflict:
                    return conflict
                heads[write.key] = Head(write.uid, write.version)
                objects[write.key] = write.values
            elif isinstance(write, NoObject):
                head = heads[write.key] if write.key in heads else self._heads.get(write.key)
                if head is not None and head.uid == write.uid:  # one of the same name with another uid is a different object
                    heads[write.key] = None
                    objects[write.key] = None
            elif isinstance(write, ChunkRow):
                length = lengths.get(write.session, self._lengths.get(write.session, 0))
                if write.start != length:
                    what = f"the mirror has {length} bytes, the append is for offset {write.start}"
                    return Conflict(what, f"session {write.session}", "read the mirror's length again")
                lengths[write.session] = length + len(write.data)
        self._heads.update(heads)
        self._lengths.update(lengths)
        self.objects.update(objects)
        self.sessions.update(lengths)
        for write in batch:
            self._take(write)
        return None

    def _take_event(self, write: EventRow) -> None:
        """Of a series the last one, here and in the store."""
        if write.again:
            series = write.values["series"]
            self.events = [event for event in self.events if event["series"] != series]
            self.counted.append({"k": write.values["kind"], "ns": write.values["namespace"], "n": write.values["name"], "s": series})
        self.events.append(write.values)

    def _take(self, write: RowWrite) -> None:
        """What needs no judging."""
        if isinstance(write, IntentRow):
            self.intents[write.token] = write.values
        elif isinstance(write, EventRow):
            self._take_event(write)
        elif isinstance(write, ChunkRow):
            if write.data:
                self.chunks.append({"session": write.session, "start": write.start, "data": write.data})
        elif isinstance(write, SightingRows):
            for vm_id in write.vm_ids:
                self.sightings.setdefault(vm_id, write.at)
        elif isinstance(write, AuditRow):
            self.audit.append(write.values)
            self.audit_kept = write.keep
        elif isinstance(write, MemoryRow):
            self._take_memory(write)
        elif isinstance(write, MetaRow):
            self.meta[write.name] = write.value

    def _take_memory(self, write: MemoryRow) -> None:
        """What is forgotten is written no more; what is written after that is new."""
        for entry in write.dropped:
            self.forgotten.append({"ns": write.namespace, "o": write.owner, "e": entry})
            gone = [at for at in self.memory if at[:2] == (write.namespace, write.owner) and entry in ("", at[2])]
            for at in gone:
                del self.memory[at]
        for values in write.entries:
            self.memory[write.namespace, write.owner, str(values["entry"])] = values


def _compare(write: ObjectRow, head: Head | None) -> Conflict | None:
    where = str(write.key)
    if head is None:
        if write.expect == 0:
            return None
        return Conflict(f"version {write.expect} expected, the object is gone", where, "read it again")
    if write.expect == 0:
        return Conflict(f"it exists already, at version {head.version}", where, "read it and write on top of it")
    if head.version != write.expect:
        return Conflict(f"version {write.expect} expected, {head.version} found", where, "read it again")
    if head.uid != write.uid:
        return Conflict(f"uid {write.uid} expected, {head.uid} found", where, "it was deleted and made anew: read it again")
    return None
