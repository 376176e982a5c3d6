"""One database, SQLite file or PostgreSQL: connections as the store needs them, and their errors in our words.

Both databases give the same three things: writers take turns (SQLite by BEGIN IMMEDIATE, PostgreSQL by an advisory lock), a commit is on
disk when it returns, and readers see one committed state and wait for nobody.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from reconciler.errors import ReconcilerError, Rejected, Unreachable, UsageError
from reconciler.store.rows import damaged
from reconciler.store.sqlitefile import BUSY_SECONDS, error_of, private

if TYPE_CHECKING:
    import psycopg  # only where a database is PostgreSQL

STATEMENT_SECONDS = 60
IDLE_SECONDS = 15
CONNECT_SECONDS = 10
_WRITES = "reconciler_writes"
_ADVISORY_LOCK = 0x7265636F6E63696C  # "reconcil": one writer a database
_KEEPALIVE = {"keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "20000"}


@dataclass(frozen=True, slots=True)
class Database:
    """`reads` and `writes` share one pool; a transaction begun on `writes` holds the write lock once `lock` returned.
    `where` names the database in messages, without credentials."""

    where: str
    reads: Engine = field(repr=False)
    writes: Engine = field(repr=False)

    @property
    def sqlite(self) -> bool:
        return self.writes.dialect.name == "sqlite"

    def lock(self, connection: Connection) -> str | None:
        """Wait for our turn to write. Returns the transaction's number when the server can later tell its outcome by it."""
        if self.sqlite:
            return None  # BEGIN IMMEDIATE took the lock
        xid = connection.execute(
            text("SELECT pg_current_xact_id()::text, pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK}
        ).scalar_one()
        return str(xid)

    def landed(self, xid: str | None) -> bool:
        """Whether a transaction whose commit was never answered did commit. Raises SQLAlchemyError when nobody answers."""
        if xid is None:
            return False
        with self.reads.connect() as connection:
            # Waits for the transaction, should the server still be busy with it: it holds the lock to its end.
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
            status = connection.execute(text("SELECT pg_xact_status(CAST(:xid AS xid8))"), {"xid": xid}).scalar_one_or_none()
        return status == "committed"

    def error(self, exc: SQLAlchemyError) -> ReconcilerError:
        """What a failure of the database means to the caller. Quotes no statement and no value."""
        if isinstance(exc, PoolTimeout):
            return Unreachable("no connection to the store became free", self.where, "try again")
        orig = exc.orig if isinstance(exc, DBAPIError) else None
        if isinstance(orig, sqlite3.Error):
            return error_of(orig, self.where)
        if not self.sqlite:
            import psycopg

            if isinstance(orig, psycopg.Error):
                return self._postgres_error(orig, exc)
        return ReconcilerError(f"the store failed ({type(orig or exc).__name__})", self.where, "report this as a defect")

    def _postgres_error(self, error: psycopg.Error, wrapper: SQLAlchemyError) -> ReconcilerError:
        import psycopg

        state = error.sqlstate or ""
        lost = isinstance(wrapper, DBAPIError) and wrapper.connection_invalidated
        if not state and isinstance(error, psycopg.OperationalError):
            # Only failures to connect or stay connected have no state; they name host, port and user.
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return Unreachable(f"the store's database does not answer: {said}", self.where, "check that it runs and is reachable")
        if lost or isinstance(error, psycopg.OperationalError) or state[:2] in ("08", "40", "53", "55", "57", "58"):
            return Unreachable(f"the store's database is not available (SQLSTATE {state})", self.where, "try again")
        if state[:2] == "22":
            return Rejected(f"the database can't hold a value (SQLSTATE {state})", self.where, "store text without NUL characters")
        if state[:2] == "XX":
            return damaged(self.where)
        return ReconcilerError(f"the store's database refused (SQLSTATE {state})", self.where, "check the rights of its user")


def connect(url_or_path: str | Path, *, create: bool) -> Database:
    """Open a SQLite file (a path, or `sqlite:///PATH`) or a PostgreSQL database (`postgresql://…`, `postgresql+psycopg://…`).

    No connection is made yet. With `create`, a missing file is made (0600, in a directory of 0700). Raises `UsageError` for another kind of
    URL, `NotFound` for a missing file without `create`, `Unreachable` when the file can't be made."""
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return _sqlite(Path(url_or_path), create)
    try:
        url = make_url(url_or_path)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        # Not quoted: it may hold a password.
        raise UsageError("not a database URL", "--store", "give postgresql+psycopg://USER@HOST/DATABASE or a file") from None
    if backend == "sqlite" and url.database and url.database != ":memory:":
        return _sqlite(Path(url.database), create)
    if backend != "postgresql" or url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise UsageError(f"no store on {url.drivername}", "--store", "give postgresql+psycopg://USER@HOST/DATABASE or a file")
    url = url.set(drivername="postgresql+psycopg")
    given = {**_KEEPALIVE, "connect_timeout": str(CONNECT_SECONDS), "application_name": "reconciler"}
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_timeout=CONNECT_SECONDS,
        connect_args={name: value for name, value in given.items() if name not in url.query},
    )
    event.listen(engine, "connect", _postgres_session)
    where = f"postgresql://{url.host or 'local'}{f':{url.port}' if url.port else ''}/{url.database or ''}"
    return Database(where, reads=engine.execution_options(isolation_level="REPEATABLE READ"), writes=engine)


def _postgres_session(connection: psycopg.Connection[tuple[object, ...]], _: ConnectionPoolEntry) -> None:
    autocommit, connection.autocommit = connection.autocommit, True
    connection.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
    # A process frozen in the middle of a write must not keep its locks from the one that takes over.
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
    # A server may be set up to lose the last commits; ours must be on disk. Stronger settings stay.
    connection.execute("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
    connection.autocommit = autocommit


def _sqlite(path: Path, create: bool) -> Database:
    path = path.absolute()
    private(path, create)
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        paramstyle="named",
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS},
        pool_timeout=CONNECT_SECONDS,
    )
    event.listen(engine, "connect", _sqlite_session)
    event.listen(engine, "begin", _sqlite_begin)
    return Database(str(path), reads=engine, writes=engine.execution_options(**{_WRITES: True}))


def _sqlite_session(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin where we say so
    # Switching to WAL needs the file for itself, and SQLite does not always wait for it: so only when it is not WAL yet.
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode = WAL").close()
    connection.execute("PRAGMA synchronous = FULL").close()
    connection.execute(f"PRAGMA journal_size_limit = {64 << 20}").close()


def _sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITES) else "BEGIN")
