"""Stores as earlier releases left them, on every database; and, as a program, an upgrade of one that is killed at each step.

`fixtures/NNNN.sql`: a dump of a small store at each revision. `fixtures/fleet-0001.sql` with `fleet-0001.json`: a whole fleet at work
and the world around it, at one moment of virtual time (`tests/engine/test_fleet_of_an_earlier_release.py` says how they were made).
`fixtures/archive-1.jsonl`: an export in the first format.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from itertools import count
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, MetaData, Table, event, inspect, select, text

from reconciler.store.database import connect
from reconciler.store.migrate import MIGRATIONS, revision
from reconciler.store.revision import VERSION_TABLE
from reconciler.store.schema import METADATA
from reconciler.store.sqlstore import open_store

FIXTURES = Path(__file__).parent / "fixtures"
ENOUGH = 200
"""More steps than an upgrade has."""


def store_of(fixture: str, where: str | Path) -> str | Path:
    """The store of `fixtures/FIXTURE.sql` in an empty place; returns the place."""
    if isinstance(where, Path):
        where.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(where) as connection:
            connection.executescript((FIXTURES / f"{fixture}.sql").read_text())
        connection.close()
        return where
    with sqlite3.connect(":memory:") as source:
        source.executescript((FIXTURES / f"{fixture}.sql").read_text())
        source.row_factory = sqlite3.Row
        _copy(source, where)
    source.close()
    return where


def _copy(source: sqlite3.Connection, where: str) -> None:
    (at,) = source.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
    database = connect(where, create=True)
    with database.writes.connect() as connection, connection.begin():
        config = Config(attributes={"connection": connection, "metadata": METADATA, "version_table": VERSION_TABLE})
        config.set_main_option("script_location", str(MIGRATIONS))
        command.upgrade(config, at)
        known = set(inspect(connection).get_table_names())
        for name in METADATA.tables.keys() & known:
            table = Table(name, MetaData(), autoload_with=connection)
            rows = [dict(row) for row in source.execute(f"SELECT * FROM {name}")]
            if rows:
                connection.execute(table.insert(), rows)
        connection.execute(text("SELECT setval(pg_get_serial_sequence('events', 'seq'), COALESCE(MAX(seq), 1)) FROM events"))
    database.writes.dispose()


def state_of(where: str | Path) -> dict[str, object]:
    """Everything an upgrade touches, without upgrading."""
    database = connect(where, create=False)
    try:
        with database.reads.connect() as connection:
            tables = {name: Table(name, MetaData(), autoload_with=connection) for name in inspect(connection).get_table_names()}
            rows = {name: [list(row) for row in connection.execute(select(tables[name]))] for name in ("objects", "intents")}
            columns = {name: [column.name for column in tables[name].columns] for name in rows}
            return {"revision": revision(connection), "columns": columns, "rows": {name: sorted(map(repr, rows[name])) for name in rows}}
    finally:
        database.writes.dispose()


def _upgrade(where: str, die_at: int) -> None:
    """Open the store, which upgrades it, and die at this step: before one of its statements, or before its commit."""
    steps = count(1)

    def step(*_: object) -> None:
        if next(steps) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", step)
    event.listen(Engine, "commit", step)
    open_store(where if "://" in where else Path(where), inline=True)


def main(where: str) -> None:
    """Prints, a line each, what is there after every death, and last what the upgrade that was left alone made of it."""
    for die_at in range(1, ENOUGH):
        child = os.fork()
        if child == 0:
            try:
                _upgrade(where, die_at)
            finally:
                os._exit(0 if sys.exc_info()[0] is None else 1)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise SystemExit(f"the upgrade failed at step {die_at}")
        print(json.dumps(state_of(where if "://" in where else Path(where))), flush=True)
        if os.WIFEXITED(status):
            return


if __name__ == "__main__":
    main(sys.argv[1])
