"""The whole store as one file of JSON lines, for backup and for moving between databases.

The first line says what it is, every further line is one row `{"table": …, column: value, …}` (JSON columns as JSON, session bytes in
base64), the last one counts the rows and carries a digest, so that a cut or altered file is noticed before anything is taken from it.
The file holds what the store holds (never a secret's value); it is made 0600 all the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import orjson
from sqlalchemy import Connection, Table, func, insert, select, text

from reconciler.errors import Refused, Rejected, Unreachable
from reconciler.paths import replacing
from reconciler.store.conversions import STEPS, brought_forward
from reconciler.store.revision import HEAD
from reconciler.store.rows import Value, Values
from reconciler.store.schema import AUDIT, CHUNKS, EVENTS, INTENTS, MEMORY, META, OBJECTS, SESSIONS, SIGHTINGS
from reconciler.store.sqlstore import SqlStore

FORMAT = "reconciler-store"
VERSION = 2
"""Of the file. 1: written at revision 0001 of the tables. Since 2 the first line's `schema` tells the revision, and a release refuses
one that it does not know."""

READABLE = {1: frozenset({"0001"}), VERSION: frozenset({*STEPS, HEAD})}
"""Versions that are read, each with the revisions that it may be of."""

TABLES: tuple[Table, ...] = (OBJECTS, INTENTS, EVENTS, SESSIONS, CHUNKS, SIGHTINGS, META, AUDIT, MEMORY)

_BY_NAME = {table.name: table for table in TABLES}
_JSON_COLUMNS = frozenset({"labels", "annotations", "finalizers", "spec", "status", "record", "payload", "changes"})
_ROWS_AT_ONCE = 200


def export_to(store: SqlStore, path: Path) -> int:
    """Write everything, as of one moment, to `path` (0600, replaced in one step); returns the number of rows. Blocks.

    Works beside a running controller. Raises `Unreachable` when the file can't be written."""
    try:
        with replacing(path) as file:
            rows = export_stream(store, file)
    except OSError as exc:
        raise Unreachable(f"the archive can't be written: {exc.strerror}", str(path), "check the directory and its free space") from exc
    return rows


def export_stream(store: SqlStore, out: IO[bytes]) -> int:
    """`export_to` for any binary stream; returns the number of rows."""
    digest = hashlib.sha256()
    rows = 0
    with store.transaction(write=False) as connection:
        for line in _lines(connection):
            digest.update(line)
            out.write(line)
            rows += 1
    out.write(orjson.dumps({"rows": rows - 1, "sha256": digest.hexdigest()}) + b"\n")
    return rows - 1


def import_from(store: SqlStore, path: Path) -> int:
    """Take everything from an archive into an empty store, all or nothing; returns the number of rows. Blocks.

    Raises `Refused` when the store is not empty, `Rejected` (with the line) when the file is no archive, is cut, altered or of a newer
    version, `Unreachable` when it can't be read."""
    try:
        with path.open("rb") as file:
            revision = _verify(file, str(path))
            file.seek(0)
            with store.transaction(write=True) as connection:
                _require_empty(connection, store.where)
                rows = sum(_insert(connection, table, some) for table, some in _batches(file, str(path), revision))
                if not store.database.sqlite:
                    _renumber(connection)
                return rows
    except OSError as exc:
        raise Unreachable(f"the archive can't be read: {exc.strerror}", str(path), "check its name and mode") from exc


def _lines(connection: Connection) -> Iterator[bytes]:
    yield orjson.dumps({"format": FORMAT, "version": VERSION, "schema": HEAD}) + b"\n"
    for table in TABLES:
        query = select(table).order_by(*table.primary_key).execution_options(yield_per=_ROWS_AT_ONCE)
        names = [str(column.name) for column in table.columns]  # plain str: SQLAlchemy's own kind is no JSON key
        for row in connection.execute(query):
            values = {name: _out(name, value) for name, value in zip(names, row, strict=True)}
            yield orjson.dumps({"table": table.name, **values}) + b"\n"


def _out(column: str, value: object) -> object:
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(value).decode()
    if column in _JSON_COLUMNS and isinstance(value, str):
        return orjson.Fragment(value)
    return value


def _verify(lines: Iterable[bytes], where: str) -> str:
    """The archive is whole, before the first row is taken from it; the revision that its rows are of."""
    digest, number, last, revision = hashlib.sha256(), 0, b"", ""
    for number, line in enumerate(lines, 1):
        if number == 1:
            head = _parse(line, where, 1)
            if head.get("format") != FORMAT:
                raise Rejected("not an export of a Reconciler store", f"{where}:1", "give a file that `reconciler export` wrote")
            version, revision = head.get("version"), str(head.get("schema"))
            if not isinstance(version, int) or revision not in READABLE.get(version, ()):
                raise Rejected("written by a newer Reconciler", f"{where}:1", "install the version that wrote it, or a newer one")
        digest.update(last)
        last = line
    foot = _parse(last, where, number) if number > 1 else {}
    if foot.get("rows") != number - 2 or foot.get("sha256") != digest.hexdigest():
        raise Rejected("the archive is cut or was altered", f"{where}:{max(number, 1)}", "export again, or use another copy")
    return revision


def _batches(file: Iterable[bytes], where: str, revision: str) -> Iterator[tuple[Table, list[Values]]]:
    """Rows to insert together, as they are at the newest revision: of one table each."""
    table, rows = TABLES[0], list[Values]()
    for number, line in enumerate(file, 1):
        found = _parse(line, where, number)
        if "table" not in found:  # the first line and the last
            continue
        name = str(found.pop("table"))
        target, found = _BY_NAME.get(name), brought_forward(revision, name, found)
        if target is None or set(found) != {column.name for column in target.columns}:
            raise Rejected("a row of another kind of store", f"{where}:{number}", "install the version that wrote it")
        if rows and (target is not table or len(rows) >= _ROWS_AT_ONCE):
            yield table, rows
            rows = []
        table = target
        rows.append({name: _in(name, value, f"{where}:{number}") for name, value in found.items()})
    if rows:
        yield table, rows


def _in(column: str, value: object, where: str) -> Value:
    if column in _JSON_COLUMNS:
        return orjson.dumps(value).decode()
    if column == "data":
        try:
            return base64.b64decode(str(value), validate=True)
        except binascii.Error:
            raise Rejected("session bytes that are not base64", where, "use another copy") from None
    if value is None or isinstance(value, int | float | str):
        return value
    raise Rejected(f"column {column} holds no plain value", where, "use another copy")


def _parse(line: bytes, where: str, number: int) -> dict[str, object]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Rejected("not an export of a Reconciler store", f"{where}:{number}", "give a file that `reconciler export` wrote")
    return found


def _insert(connection: Connection, table: Table, rows: list[Values]) -> int:
    connection.execute(insert(table), rows)
    return len(rows)


def _require_empty(connection: Connection, where: str) -> None:
    for table in TABLES:
        if connection.execute(select(func.count()).select_from(table)).scalar_one():
            raise Refused(f"the store is not empty (table {table.name})", where, "import into a new store")


def _renumber(connection: Connection) -> None:
    """Imported events kept their numbers; the next one goes on from there."""
    for table in ("events", "audit"):
        connection.execute(
            text(f"SELECT setval(pg_get_serial_sequence('{table}', 'seq'), COALESCE(MAX(seq), 1), MAX(seq) IS NOT NULL) FROM {table}")
        )
