"""Writes batches to the database: any number in one transaction, each whole or not at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from sqlalchemy import Connection, Table, bindparam, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from reconciler.engine.ports import Key
from reconciler.errors import Conflict, ReconcilerError, Rejected, Unreachable
from reconciler.store.auditing import forget_audit
from reconciler.store.database import Database
from reconciler.store.group import Group, Head, named
from reconciler.store.rows import Batch
from reconciler.store.schema import AUDIT, CHUNKS, EVENTS, INTENTS, MEMORY, META, OBJECTS, SESSIONS, SIGHTINGS

EVENTS_KEPT = 50_000
INTENTS_KEPT = 10_000
"""Closed intents kept for people to look at; open ones always stay."""

PRUNE_EVERY = 1_000
_KEYS_AT_ONCE = 500

Outcome = ReconcilerError | None
"""What became of one batch: None when it is durable."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stats:
    """Counted since the store was opened. `commits`: transactions that wrote something; `batches`: those made durable by them."""

    batches: int = 0
    commits: int = 0
    conflicts: int = 0
    failures: int = 0


class _Statements:
    """The writes as their database reads them, each compiled once and when it is needed first: SQLAlchemy would go through the values of
    every row again, and a start that changes nothing writes nothing."""

    def __init__(self, database: Database) -> None:
        self._insert, self._dialect = sqlite.insert if database.sqlite else postgresql.insert, database.writes.dialect

    @cached_property
    def objects(self) -> str:
        return self._upsert(OBJECTS)

    @cached_property
    def intents(self) -> str:
        return self._upsert(INTENTS)

    @cached_property
    def sessions(self) -> str:
        return self._upsert(SESSIONS)

    @cached_property
    def chunks(self) -> str:
        return self._compiled(self._insert(CHUNKS))

    @cached_property
    def sightings(self) -> str:
        return self._compiled(self._insert(SIGHTINGS).on_conflict_do_nothing(index_elements=["vm_id"]))

    @cached_property
    def meta(self) -> str:
        return self._upsert(META)

    @cached_property
    def events(self) -> str:
        return self._compiled(self._insert(EVENTS), without="seq")

    @cached_property
    def audit(self) -> str:
        return self._compiled(self._insert(AUDIT), without="seq")

    @cached_property
    def memory(self) -> str:
        return self._upsert(MEMORY)

    def _compiled(self, statement: sqlite.Insert | postgresql.Insert, without: str = "") -> str:
        columns = [column.name for column in statement.table.columns if column.name != without]
        return str(statement.inline().compile(dialect=self._dialect, column_keys=columns))

    def _upsert(self, table: Table) -> str:
        statement = self._insert(table)
        keys = [column.name for column in table.primary_key]
        changed = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
        return self._compiled(statement.on_conflict_do_update(index_elements=keys, set_=changed))


class Committer:
    """The only writer of a database within this process; not to be called by two threads at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements = _Statements(database)
        self._events_since = self._intents_since = PRUNE_EVERY  # the first write after opening looks
        self.stats = Stats()

    def commit(self, batches: Sequence[Batch]) -> list[Outcome]:
        """One outcome a batch, in order. Batches before it count for the `expect` and `offset` of the next one.

        `Conflict`: something expected does not hold. `Rejected`: a value that the database can't hold. `Unreachable`: the database is away;
        should that happen while a commit was under way and nobody can tell its outcome, the message says so, and the batch may yet be found
        applied. Other `ReconcilerError`: a damaged or misused database."""
        error: ReconcilerError
        try:
            outcomes = self._transact(batches)
        except SQLAlchemyError as exc:
            error = self._database.error(exc)
        except Unreachable as exc:
            error = exc
        except (UnicodeError, OverflowError):
            error = Rejected("text that is not Unicode, or a number over 64 bits", self._database.where, "store text and numbers in range")
        except BaseException:
            self._count(failures=len(batches))
            raise
        else:
            conflicts = sum(isinstance(outcome, Conflict) for outcome in outcomes)
            self._count(batches=len(outcomes) - conflicts, conflicts=conflicts)
            return outcomes
        if len(batches) > 1 and not isinstance(error, Unreachable):
            # One batch spoils the transaction; alone, only that one fails.
            return [outcome for batch in batches for outcome in self.commit([batch])]
        self._count(failures=len(batches))
        return [type(error)(error.what, error.where, error.remedy) for _ in batches]

    def _transact(self, batches: Sequence[Batch]) -> list[Outcome]:
        with self._database.writes.connect() as connection, connection.begin() as transaction:
            xid = self._database.lock(connection)
            keys, sessions = named(batches)
            group = Group(_heads(connection, keys), _lengths(connection, sessions))
            outcomes: list[Outcome] = [group.admit(batch) for batch in batches]
            if all(outcomes):
                transaction.rollback()
                return outcomes
            self._write(connection, group)
            try:
                transaction.commit()
            except SQLAlchemyError as exc:
                if not self._landed(xid, exc):
                    raise
        self._count(commits=1)
        return outcomes

    def _landed(self, xid: str | None, lost: SQLAlchemyError) -> bool:
        """A commit without an answer: the server is asked what became of it."""
        try:
            return self._database.landed(xid)
        except SQLAlchemyError:
            error = self._database.error(lost)
            what = f"{error.what}; whether the last write was applied is not known"
            raise Unreachable(what, error.where, "read before writing again") from None

    def _write(self, connection: Connection, group: Group) -> None:
        statements, write = self._statements, connection.exec_driver_sql
        gone = [{"k": key.kind, "ns": key.namespace, "n": key.name} for key, row in group.objects.items() if row is None]
        if gone:
            connection.execute(_DELETE_OBJECT, gone)
        rows = [row for row in group.objects.values() if row is not None]
        if rows:
            write(statements.objects, rows)
        if group.intents:
            write(statements.intents, list(group.intents.values()))
        if group.chunks:
            write(statements.chunks, group.chunks)
        if group.sessions:
            write(statements.sessions, [{"session": name, "length": length} for name, length in group.sessions.items()])
        if group.sightings:
            write(statements.sightings, [{"vm_id": vm_id, "first_seen": at} for vm_id, at in group.sightings.items()])
        if group.meta:
            write(statements.meta, [{"name": name, "value": value} for name, value in group.meta.items()])
        if group.counted:
            connection.execute(_DELETE_COUNTED, group.counted)
        if group.events:
            write(statements.events, group.events)
        if group.audit:
            write(statements.audit, group.audit)
            forget_audit(connection, group.audit_kept)
        if group.forgotten:
            connection.execute(_FORGET, group.forgotten)
        if group.memory:
            write(statements.memory, list(group.memory.values()))
        self._prune(connection, len(group.events), len(group.intents))

    def _prune(self, connection: Connection, events: int, intents: int) -> None:
        """Old events and closed intents go, a thousand at a time, so that no single write pays for many."""
        if events:
            self._events_since += events
        if intents:
            self._intents_since += intents
        if self._events_since >= PRUNE_EVERY:
            self._events_since = 0
            newest = select(func.max(EVENTS.c.seq)).scalar_subquery()
            connection.execute(delete(EVENTS).where(EVENTS.c.seq <= newest - EVENTS_KEPT))
        if self._intents_since >= PRUNE_EVERY:
            self._intents_since = 0
            oldest = select(INTENTS.c.sent_at).order_by(INTENTS.c.sent_at.desc()).limit(1).offset(INTENTS_KEPT).scalar_subquery()
            connection.execute(delete(INTENTS).where(INTENTS.c.outcome != "", INTENTS.c.sent_at <= oldest))

    def _count(self, *, batches: int = 0, commits: int = 0, conflicts: int = 0, failures: int = 0) -> None:
        was = self.stats
        self.stats = replace(
            was,
            batches=was.batches + batches,
            commits=was.commits + commits,
            conflicts=was.conflicts + conflicts,
            failures=was.failures + failures,
        )


_DELETE_OBJECT = delete(OBJECTS).where(
    OBJECTS.c.kind == bindparam("k"), OBJECTS.c.namespace == bindparam("ns"), OBJECTS.c.name == bindparam("n")
)

_FORGET = delete(MEMORY).where(
    MEMORY.c.namespace == bindparam("ns"), MEMORY.c.owner == bindparam("o"), or_(MEMORY.c.entry == bindparam("e"), bindparam("e") == "")
)

_DELETE_COUNTED = delete(EVENTS).where(
    EVENTS.c.kind == bindparam("k"),
    EVENTS.c.namespace == bindparam("ns"),
    EVENTS.c.name == bindparam("n"),
    EVENTS.c.series == bindparam("s"),
)


_HEADS = select(OBJECTS.c.name, OBJECTS.c.uid, OBJECTS.c.version).where(
    OBJECTS.c.kind == bindparam("k"), OBJECTS.c.namespace == bindparam("ns"), OBJECTS.c.name.in_(bindparam("names", expanding=True))
)


def _heads(connection: Connection, keys: set[Key]) -> dict[Key, Head]:
    """A search by the columns of the primary key, one namespace at a time: SQLite reads the whole table to find rows by tuples."""
    heads: dict[Key, Head] = {}
    by_namespace: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for key in keys:
        by_namespace[key.kind, key.namespace].append(key.name)
    for (kind, namespace), names in by_namespace.items():
        for some in _slices(names):
            for name, uid, version in connection.execute(_HEADS, {"k": kind, "ns": namespace, "names": some}):
                heads[Key(kind, namespace, name)] = Head(uid, version)
    return heads


def _lengths(connection: Connection, sessions: set[str]) -> dict[str, int]:
    lengths: dict[str, int] = {}
    for some in _slices(sorted(sessions)):
        query = select(SESSIONS.c.session, SESSIONS.c.length).where(SESSIONS.c.session.in_(some))
        for session, length in connection.execute(query):
            lengths[session] = length
    return lengths


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Databases limit the parameters of one statement."""
    for start in range(0, len(items), _KEYS_AT_ONCE):
        yield items[start : start + _KEYS_AT_ONCE]
