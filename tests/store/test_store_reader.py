"""A command that reads once sees what everybody else sees, and is told the same when it can't."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.engine.ports import AddEvent, AppendSession, PutIntent, PutMeta, PutObject, SawVms
from reconciler.errors import ReconcilerError
from reconciler.store import queries
from reconciler.store.reader import SqliteReader, open_reader
from reconciler.store.revision import VERSION_TABLE
from reconciler.store.schema import EVENTS, INTENTS, OBJECTS
from reconciler.store.sqlstore import SqlStore, open_store
from tests.store.samples import event, full, intent, key, put, thing


@pytest.fixture
async def filled(store: SqlStore) -> SqlStore:
    await store.write(
        [
            PutObject(full(), 0),
            *(PutObject(thing(name, kind=kind), 0) for kind in ("Task", "Lieutenant") for name in ("b", "a-1", "B")),
            PutIntent(intent("open")),
            PutIntent(intent("shut", "created")),
            AppendSession("s/1", 0, b"\x00\xff\n"),
            AppendSession("s/1", 3, bytes(range(200))),
            SawVms(("vm-1", "vm-2"), 5.5),
            PutMeta("epoch", "4"),
            *(AddEvent(event()) for _ in range(5)),
        ]
    )
    return store


async def test_a_reader_sees_what_the_store_sees(filled: SqlStore, where: str | Path) -> None:
    reader = open_reader(where)
    assert isinstance(reader, SqliteReader) is isinstance(where, Path)
    assert await reader.load() == await filled.load()
    for wanted in ((), ("Task",), ("Lieutenant", "default"), ("Lieutenant", "default", "b"), (None, None, "B"), ("Task", "other")):
        assert await reader.objects(*wanted) == await filled.objects(*wanted)
    for of, after, limit in ((None, 0, 1000), (None, 2, 2), (None, 0, 2), (event().key, 1, 3), (key("nobody"), 0, 5)):
        for within in (None, "default", "team"):
            assert await reader.events(of, after, limit, within) == await filled.events(of, after, limit, within)
    for offset, limit in ((0, 1 << 22), (2, 4), (3, 1), (100, 500), (203, 1), (500, 5), (0, 0)):
        assert await reader.session("s/1", offset, limit) == await filled.session("s/1", offset, limit)
    assert await reader.session("s/2") == b""
    assert (await reader.meta("epoch"), await reader.meta("none")) == ("4", None)
    assert (await reader.metas("ep"), await reader.metas("none")) == ({"epoch": "4"}, {})
    await reader.aclose()


async def test_a_reader_follows_what_is_written_meanwhile(filled: SqlStore, where: str | Path) -> None:
    reader = open_reader(where)
    before = len(await reader.objects())
    await filled.write([put("later")])
    assert len(await reader.objects()) == before + 1
    await reader.aclose()


async def test_a_name_that_no_database_holds_is_told_alike(filled: SqlStore, where: str | Path) -> None:
    reader = open_reader(where)
    for one in (reader, filled):
        with pytest.raises(ReconcilerError, match="not Unicode"):
            await one.objects(name="\ud800")
    await reader.aclose()


def _missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def _no_database(path: Path) -> None:
    path.write_bytes(b"kind: Lieutenant\n" * 200)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _others(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def _newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '7777'")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("spoil", [_missing, _no_database, _empty, _others, _newer])
async def test_what_can_not_be_read_is_told_as_the_store_tells_it(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "store.db"
    store = open_store(path, inline=True)
    await store.write([put("a")])
    await store.aclose()
    spoil(path)
    told = []
    for opening in (open_reader, lambda path: open_store(path, inline=True, read_only=True)):
        with pytest.raises(ReconcilerError) as refused:
            opening(path)
        told.append((type(refused.value), str(refused.value)))
    assert told[0] == told[1]


async def test_damaged_pages_are_told_by_a_reader_too(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_store(path, inline=True)
    await store.write([put(f"n{number}") for number in range(500)])
    await store.aclose()
    whole = path.read_bytes()
    path.write_bytes(whole[: 4096 * 3] + b"\xaa" * (len(whole) - 4096 * 6) + whole[-4096 * 3 :])
    with pytest.raises(ReconcilerError, match=r"damaged.*import"):
        await open_reader(path).load()


def test_a_reader_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ReconcilerError, match="no store"):
        open_reader(tmp_path / "none.db")
    with pytest.raises(ReconcilerError, match="can't be opened"):
        SqliteReader(tmp_path / "none.db")
    assert not list(tmp_path.iterdir())


def test_queries_name_the_columns_of_the_tables() -> None:
    for table, columns in ((OBJECTS, queries.OBJECTS), (INTENTS, queries.INTENTS), (EVENTS, queries.EVENTS)):
        assert [column.name for column in table.columns] == columns.split(", ")


async def test_odd_names_of_files_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "a?b=c#d %41" / "store.db"
    store = open_store(path, inline=True)
    await store.write([put("a")])
    await store.aclose()
    reader = open_reader(path)
    assert isinstance(reader, SqliteReader)
    assert len(await reader.objects()) == 1
    await reader.aclose()
    assert os.listdir(tmp_path) == [path.parent.name]
