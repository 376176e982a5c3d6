"""Brings a database to the revision of this code, forward only, in one transaction: an interrupted upgrade leaves the old revision."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from reconciler.errors import NotFound, ReconcilerError
from reconciler.store.database import Database
from reconciler.store.revision import HEAD, VERSION_TABLE
from reconciler.store.schema import METADATA

MIGRATIONS = Path(__file__).parent / "migrations"


def prepare(database: Database, *, upgrade: bool) -> None:
    """Make the tables what this code expects. Without `upgrade` nothing is changed, an older store is an error.

    Raises `ReconcilerError` for a file that is damaged or not ours, for a store written by a newer Reconciler, and for one that needs an
    upgrade; `NotFound` for one that has no tables yet and may not be given any; `Unreachable` when the database is away."""
    try:
        with database.reads.connect() as connection, connection.begin():
            found = revision(connection)
            empty = found is None and not inspect(connection).get_table_names()
        if found == HEAD:
            return
        if not upgrade:
            if empty:  # a controller is just making it
                raise NotFound("the store has not been made yet", database.where, "start the controller once")
            _judge(database, found)
            raise ReconcilerError(
                f"the store is at revision {found}, {HEAD} is needed", database.where, "start the controller once: it upgrades"
            )
        with database.writes.connect() as connection, connection.begin():
            database.lock(connection)
            found = revision(connection)  # another process may have been faster
            if found is None and database.sqlite and inspect(connection).get_table_names():
                raise ReconcilerError("this is a database of another program", database.where, "name another file")
            if found != HEAD:
                _judge(database, found)
                _upgrade(connection)
    except SQLAlchemyError as exc:
        raise database.error(exc) from None


def revision(connection: Connection) -> str | None:
    """The revision of the tables; None when there are none yet."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    value = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()
    return None if value is None else str(value)


def _judge(database: Database, found: str | None) -> None:
    from alembic.script import ScriptDirectory  # half a second to import, needed once per upgrade

    if found is not None and found not in {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}:
        what = f"the store is at revision {found}, which this version does not know"
        raise ReconcilerError(what, database.where, "install the Reconciler that wrote it, or a newer one")


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "metadata": METADATA, "version_table": VERSION_TABLE})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")
