"""A store for one command that reads it. A SQLite file needs `sqlite3` alone: to import SQLAlchemy takes longer than such a command."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from reconciler import paths
from reconciler.core.audit import Entry
from reconciler.engine.ports import Event, Image, Key, StoredObject
from reconciler.store import queries
from reconciler.store.revision import HEAD, VERSION_TABLE
from reconciler.store.rows import nameless
from reconciler.store.sqlitefile import BUSY_SECONDS, error_of, missing

if TYPE_CHECKING:
    from reconciler.core.governance.memory import MemoryEntry
    from reconciler.store.sqlstore import SqlStore

T = TypeVar("T")


def open_reader(url_or_path: str | Path) -> SqliteReader | SqlStore:
    """Open a store for reading; nothing is created, upgraded or written. Raises what `open_store` raises."""
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        path = Path(url_or_path).absolute()
        if isinstance(paths.look(path), paths.Absent):
            raise missing(path)
        reader = SqliteReader(path)
        if reader.current():
            return reader
        reader.close()
    from reconciler.store.sqlstore import open_store  # PostgreSQL, or a store about which more is to be said

    return open_store(url_or_path, inline=True, read_only=True)


class SqliteReader:
    """A SQLite file that is open for reading, in the thread that opened it. Every method raises what `SqlStore` raises."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        try:
            self._connection = sqlite3.connect(f"file:{quote(self.where)}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        except sqlite3.Error as error:
            raise error_of(error, self.where) from None

    def current(self) -> bool:
        """Whether its tables are those that this code reads."""
        found = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = :name"
        with_table = self._query(lambda run: list(run(found, {"name": VERSION_TABLE})) != [(0,)])
        return with_table and self._query(lambda run: list(run(f"SELECT version_num FROM {VERSION_TABLE}", {})) == [(HEAD,)])

    async def load(self) -> Image:
        return self._query(queries.image)

    async def objects(self, kind: str | None = None, namespace: str | None = None, name: str | None = None) -> list[StoredObject]:
        return self._query(lambda run: queries.objects(run, kind, namespace, name))

    async def events(self, key: Key | None = None, after: int = 0, limit: int = 1000, namespace: str | None = None) -> list[Event]:
        return self._query(lambda run: queries.events(run, key, after, limit, namespace))

    async def session(self, session: str, offset: int = 0, limit: int = 1 << 22) -> bytes:
        return self._query(lambda run: queries.session(run, session, offset, limit))

    async def meta(self, name: str) -> str | None:
        return self._query(lambda run: queries.meta(run, name))

    async def metas(self, beginning: str) -> dict[str, str]:
        return self._query(lambda run: queries.metas(run, beginning))

    async def audit(self, limit: int = 1000, namespace: str | None = None) -> list[tuple[int, Entry]]:
        return self._query(lambda run: queries.audit(run, limit, namespace))

    async def memory(self, namespace: str, owner: str) -> list[MemoryEntry]:
        return self._query(lambda run: queries.memory(run, namespace, owner))

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def _query(self, query: Callable[[queries.Run], T]) -> T:
        try:
            self._connection.execute("BEGIN")
            try:
                return query(self._connection.execute)
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise error_of(error, self.where) from None
        except UnicodeError:
            raise nameless(self.where) from None
