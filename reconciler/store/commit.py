"""Writes batches to the database: any number in one transaction, each whole or not at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from typing import NamedTuple, TypeVar

from sqlalchemy import URL, Connection, Table, bindparam, create_engine, delete, func, literal_column, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import ClauseElement, ColumnElement

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


class Stats(NamedTuple):
    """Counted since the store was opened. `commits`: transactions that wrote something; `batches`: those made durable by them."""

    batches: int = 0
    commits: int = 0
    conflicts: int = 0
    failures: int = 0


class _Statements:
    """What a commit asks and writes, as databases of one kind read it, each compiled once and when it is needed first: SQLAlchemy would
    compile it for every store that is opened, and go through the values of every row again."""

    def __init__(self, driver: str, paramstyle: str) -> None:
        self._insert = sqlite.insert if driver.startswith("sqlite") else postgresql.insert
        self._dialect = create_engine(URL.create(driver), paramstyle=paramstyle).dialect

    @cached_property
    def head(self) -> str:
        return self._text(select(OBJECTS.c.uid, OBJECTS.c.version).where(*_ONE_OBJECT))

    @cached_property
    def length(self) -> str:
        return self._text(select(SESSIONS.c.length).where(SESSIONS.c.session == bindparam("s")))

    @cached_property
    def delete_object(self) -> str:
        return self._text(delete(OBJECTS).where(*_ONE_OBJECT))

    @cached_property
    def delete_counted(self) -> str:
        of = (EVENTS.c.kind == bindparam("k"), EVENTS.c.namespace == bindparam("ns"), EVENTS.c.name == bindparam("n"))
        return self._text(delete(EVENTS).where(*of, EVENTS.c.series == bindparam("s")))

    @cached_property
    def forget(self) -> str:
        of = (MEMORY.c.namespace == bindparam("ns"), MEMORY.c.owner == bindparam("o"))
        return self._text(delete(MEMORY).where(*of, or_(MEMORY.c.entry == bindparam("e"), bindparam("e") == _BLANK)))

    @cached_property
    def prune_events(self) -> str:
        newest = select(func.max(EVENTS.c.seq)).scalar_subquery()
        return self._text(delete(EVENTS).where(EVENTS.c.seq <= newest - bindparam("kept")))

    @cached_property
    def prune_intents(self) -> str:
        newest_first = select(INTENTS.c.sent_at).order_by(INTENTS.c.sent_at.desc())
        oldest = newest_first.limit(literal_column("1")).offset(bindparam("kept")).scalar_subquery()
        return self._text(delete(INTENTS).where(INTENTS.c.outcome != _BLANK, INTENTS.c.sent_at <= oldest))

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

    def _text(self, statement: ClauseElement) -> str:
        """Of one whose values are all named parameters."""
        return str(statement.compile(dialect=self._dialect))

    def _upsert(self, table: Table) -> str:
        statement = self._insert(table)
        keys = [column.name for column in table.primary_key]
        changed = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
        return self._compiled(statement.on_conflict_do_update(index_elements=keys, set_=changed))


@cache
def _statements(driver: str, paramstyle: str) -> _Statements:
    return _Statements(driver, paramstyle)


class Committer:
    """The only writer of a database within this process; not to be called by two threads at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements = _statements(database.writes.url.drivername, database.writes.dialect.paramstyle)
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
            group = Group(self._heads(connection, keys), self._lengths(connection, sessions))
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

    def _heads(self, connection: Connection, keys: set[Key]) -> dict[Key, Head]:
        """A search by the columns of the primary key, one namespace at a time: SQLite reads the whole table to find rows by tuples. Most
        commits name one object of a namespace, and a list of names has to be written into its statement each time."""
        heads: dict[Key, Head] = {}
        by_namespace: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for key in keys:
            by_namespace[key.kind, key.namespace].append(key.name)
        for (kind, namespace), names in by_namespace.items():
            if len(names) == 1:
                found = connection.exec_driver_sql(self._statements.head, {"k": kind, "ns": namespace, "n": names[0]}).first()
                if found is not None:
                    heads[Key(kind, namespace, names[0])] = Head(*found)
                continue
            for some in _slices(names):
                for name, uid, version in connection.execute(_HEADS, {"k": kind, "ns": namespace, "names": some}):
                    heads[Key(kind, namespace, name)] = Head(uid, version)
        return heads

    def _lengths(self, connection: Connection, sessions: set[str]) -> dict[str, int]:
        """Seldom of more than one."""
        lengths: dict[str, int] = {}
        for session in sessions:
            found = connection.exec_driver_sql(self._statements.length, {"s": session}).first()
            if found is not None:
                lengths[session] = found[0]
        return lengths

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
            write(statements.delete_object, gone)
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
            write(statements.delete_counted, group.counted)
        if group.events:
            write(statements.events, group.events)
        if group.audit:
            write(statements.audit, group.audit)
            forget_audit(connection, group.audit_kept)
        if group.forgotten:
            write(statements.forget, group.forgotten)
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
            connection.exec_driver_sql(self._statements.prune_events, {"kept": EVENTS_KEPT})
        if self._intents_since >= PRUNE_EVERY:
            self._intents_since = 0
            connection.exec_driver_sql(self._statements.prune_intents, {"kept": INTENTS_KEPT})

    def _count(self, *, batches: int = 0, commits: int = 0, conflicts: int = 0, failures: int = 0) -> None:
        was = self.stats
        self.stats = Stats(was.batches + batches, was.commits + commits, was.conflicts + conflicts, was.failures + failures)


_BLANK: ColumnElement[str] = literal_column("''")
_ONE_OBJECT = (OBJECTS.c.kind == bindparam("k"), OBJECTS.c.namespace == bindparam("ns"), OBJECTS.c.name == bindparam("n"))

_HEADS = select(OBJECTS.c.name, OBJECTS.c.uid, OBJECTS.c.version).where(
    OBJECTS.c.kind == bindparam("k"), OBJECTS.c.namespace == bindparam("ns"), OBJECTS.c.name.in_(bindparam("names", expanding=True))
)


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Databases limit the parameters of one statement."""
    for start in range(0, len(items), _KEYS_AT_ONCE):
        yield items[start : start + _KEYS_AT_ONCE]
