"""The store on a SQL database; implements `reconciler.engine.ports.Store`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from reconciler.core.audit import Entry
from reconciler.core.governance.memory import MemoryEntry
from reconciler.engine.ports import Event, Image, Key, StoredObject, Write
from reconciler.errors import Refused
from reconciler.store import queries
from reconciler.store.commit import Committer, Stats
from reconciler.store.database import Database, connect
from reconciler.store.migrate import prepare
from reconciler.store.rows import encode, nameless
from reconciler.store.writer import WriterThread, closed

READERS = 4
MANY = 500
"""A larger batch is encoded by the thread that writes it: the loop of the caller would stand still. Nobody may change it meanwhile."""

T = TypeVar("T")


def open_store(url_or_path: str | Path, *, inline: bool = False, read_only: bool = False) -> SqlStore:
    """Open the store, making and upgrading its tables. Blocks; needs no event loop.

    `url_or_path`: a SQLite file, or a PostgreSQL URL (`postgresql+psycopg://…`). `inline`: everything runs in the calling thread (for tests
    in virtual time and one-shot commands). `read_only`: nothing is created, upgraded or written. Raises `UsageError` for another URL,
    `NotFound` for a missing file to read, `Unreachable`, and `ReconcilerError` for a damaged, foreign or newer store."""
    database = connect(url_or_path, create=not read_only)
    try:
        prepare(database, upgrade=not read_only)
    except BaseException:
        database.writes.dispose()
        raise
    return SqlStore(database, inline=inline, read_only=read_only)


class SqlStore:
    """A store that is open. Every method raises `Unreachable` when the database is away; safe to use from several event loops."""

    def __init__(self, database: Database, *, inline: bool, read_only: bool) -> None:
        self.database = database
        self._committer = Committer(database)
        self._read_only = read_only
        self._closed = False
        self._writer = None if inline or read_only else WriterThread(self._committer.commit)
        self._readers = None if inline else ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")

    @property
    def where(self) -> str:
        """The database, for messages: a path, or a URL without credentials."""
        return self.database.where

    @property
    def stats(self) -> Stats:
        """What was written since opening."""
        return self._committer.stats

    async def write(self, batch: Sequence[Write]) -> None:
        """One transaction; durable when it returns, applied all the same when the caller is cancelled meanwhile.

        Raises `Conflict` (nothing of the batch is applied), `Rejected` for what can't be stored, `Refused` when read-only."""
        if self._closed:
            raise closed()
        if self._read_only:
            raise Refused("the store was opened for reading", self.where, "write through the controller")
        if not batch:
            return
        if self._writer is not None and len(batch) > MANY:
            await self._writer.write(lambda: encode(batch))
            return
        rows = encode(batch)
        if self._writer is not None:
            await self._writer.write(lambda: rows)
            return
        outcome = self._committer.commit([rows])[0]
        if outcome is not None:
            raise outcome

    async def load(self) -> Image:
        """Everything, as of one moment."""
        return await self._read(queries.image)

    async def objects(self, kind: str | None = None, namespace: str | None = None, name: str | None = None) -> list[StoredObject]:
        """The objects that fit everything given, sorted by key."""
        return await self._read(lambda run: queries.objects(run, kind, namespace, name))

    async def events(self, key: Key | None = None, after: int = 0, limit: int = 1000, namespace: str | None = None) -> list[Event]:
        """Oldest first, `seq` > after; without `after`, the last `limit`. `namespace`: only in it."""
        return await self._read(lambda run: queries.events(run, key, after, limit, namespace))

    async def session(self, session: str, offset: int = 0, limit: int = 1 << 22) -> bytes:
        """At most `limit` bytes of a mirror from `offset`; empty at its end and for an unknown session."""
        return await self._read(lambda run: queries.session(run, session, offset, limit))

    async def meta(self, name: str) -> str | None:
        """The value under this name, None when there is none."""
        return await self._read(lambda run: queries.meta(run, name))

    async def metas(self, beginning: str) -> dict[str, str]:
        """The values whose names begin with this."""
        return await self._read(lambda run: queries.metas(run, beginning))

    async def audit(self, limit: int = 1000, namespace: str | None = None) -> list[tuple[int, Entry]]:
        """The last `limit` entries with their numbers, oldest first. `namespace`: only in it, and what concerns the whole fleet."""
        return await self._read(lambda run: queries.audit(run, limit, namespace))

    async def memory(self, namespace: str, owner: str) -> list[MemoryEntry]:
        """All entries of a memory, also those that were removed, oldest first."""
        return await self._read(lambda run: queries.memory(run, namespace, owner))

    async def aclose(self) -> None:
        """Write what was handed in and let go of the database. A second call does nothing."""
        self._closed = True
        if self._writer is not None:
            await asyncio.to_thread(self._writer.close)
        if self._readers is not None:
            self._readers.shutdown(wait=False)
        self.database.writes.dispose()

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Connection]:
        """A transaction of its own, beside `write`: for export and import only. With `write`, holds the write lock to its end."""
        if write and self._read_only:
            raise Refused("the store was opened for reading", self.where, "open it for writing")
        engine = self.database.writes if write else self.database.reads
        try:
            with engine.connect() as connection, connection.begin():
                if write:
                    self.database.lock(connection)
                yield connection
        except SQLAlchemyError as exc:
            raise self.database.error(exc) from None

    async def _read(self, query: Callable[[queries.Run], T]) -> T:
        if self._closed:
            raise closed()
        if self._readers is None:
            return self._query(query)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._query, query)

    def _query(self, query: Callable[[queries.Run], T]) -> T:
        try:
            with self.database.reads.connect() as connection, connection.begin():
                return query(lambda statement, values: connection.execute(text(statement), values))
        except SQLAlchemyError as exc:
            raise self.database.error(exc) from None
        except UnicodeError:
            raise nameless(self.where) from None
