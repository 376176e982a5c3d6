"""Old stores are brought forward whole; damaged, foreign and newer ones are told apart and left alone."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.sql.schema import SchemaItem

from reconciler.engine.ports import AddEvent, AppendSession, Image
from reconciler.errors import ReconcilerError, Refused
from reconciler.store import migrate
from reconciler.store.migrate import MIGRATIONS
from reconciler.store.revision import HEAD, VERSION_TABLE
from reconciler.store.schema import METADATA
from reconciler.store.sqlstore import SqlStore, open_store
from tests.store.samples import event, full, intent, put, thing

FIXTURES = Path(__file__).parent / "fixtures"
NEW = {"0001": ("owner", "source_id", "source_commit")}
"""By revision: the columns of objects that it did not have."""
REVISIONS = sorted(script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


def _fixture(revision: str, path: Path) -> Path:
    """A SQLite store as the release with this revision left it."""
    with sqlite3.connect(path) as connection:
        connection.executescript((FIXTURES / f"{revision}.sql").read_text())
    connection.close()
    return path


def test_the_head_that_code_expects_is_the_last_migration() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [HEAD]


async def test_migrations_reach_the_tables_that_code_uses(store: SqlStore) -> None:
    def ours(item: SchemaItem, name: str | None, kind: str, reflected: bool, other: SchemaItem | None) -> bool:
        return not (kind == "table" and name == VERSION_TABLE)

    with store.transaction(write=False) as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        assert compare_metadata(context, METADATA) == []


@pytest.mark.guarantee("G-63")
@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_store_of_every_release_opens_with_all_it_held(revision: str, tmp_path: Path) -> None:
    store = open_store(_fixture(revision, tmp_path / "old.db"))
    image = await store.load()
    whole = replace(full(), **{name: "" for name in NEW.get(revision, ())})
    assert image == Image((thing("a"), whole), (intent("open"),), {"v1": 0.5}, {"s": 7}, {"epoch": "4"})
    assert [one.message for one in await store.events()] == ["first", "second"]
    assert await store.session("s") == b"\x00\xff{}\n\r\n"
    assert [entry.id for entry in await store.memory("default", "a")] == (["e1", "e2"] if revision >= "0006" else [])
    await store.write([put("a", 2), AddEvent(event("third")), AppendSession("s", 7, b"x")])
    assert [one.seq for one in await store.events()] == [1, 2, 3]
    await store.aclose()


@pytest.mark.guarantee("G-63")
async def test_an_upgrade_that_fails_leaves_the_store_as_it_was(where: str | Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, broken, ignore=shutil.ignore_patterns("__pycache__"))
    (broken / "versions" / "r9999_broken.py").write_text(
        f"from alembic import op\nrevision = '9999'\ndown_revision = {HEAD!r}\n"
        "def upgrade():\n    op.execute('CREATE TABLE half (x INTEGER)')\n    raise ZeroDivisionError\n"
    )
    monkeypatch.setattr(migrate, "MIGRATIONS", broken)
    with pytest.raises(ZeroDivisionError):
        open_store(where)
    monkeypatch.undo()
    store = open_store(where)
    await store.write([put("a")])
    with store.transaction(write=False) as connection:
        assert migrate.revision(connection) == HEAD
    await store.aclose()


@pytest.mark.parametrize("read_only", [True, False])
async def test_a_newer_store_is_left_alone(where: str | Path, read_only: bool) -> None:
    store = open_store(where)
    await store.write([put("a")])
    with store.transaction(write=True) as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '7777'")
    await store.aclose()
    with pytest.raises(ReconcilerError, match=r"7777.*does not know.*newer"):
        open_store(where, read_only=read_only)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for content in (b"kind: Lieutenant\n" * 200, b"SQLite format 3\x00" + b"\x13" * 5000):
        path.write_bytes(content)
        with pytest.raises(ReconcilerError, match=r"damaged.*import"):
            open_store(path)
        assert path.read_bytes() == content


async def test_damaged_pages_are_told_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_store(path, inline=True)
    await store.write([put(f"n{number}") for number in range(500)])
    await store.aclose()
    whole = path.read_bytes()
    path.write_bytes(whole[: 4096 * 3] + b"\xaa" * (len(whole) - 4096 * 6) + whole[-4096 * 3 :])
    with pytest.raises(ReconcilerError, match=r"damaged.*import"):
        await open_store(path, inline=True).load()


async def test_a_row_that_is_not_json_is_told(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
    await store.write([put("a")])
    with store.transaction(write=True) as connection:
        connection.exec_driver_sql("UPDATE objects SET spec = '{'")
    with pytest.raises(ReconcilerError, match=r"damaged \(Lieutenant/default/a\)"):
        await store.load()
    await store.aclose()


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(ReconcilerError, match="another program"):
        open_store(path)
    with pytest.raises(ReconcilerError):
        open_store(path, read_only=True)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    connection.close()


async def test_reading_needs_no_write_access(tmp_path: Path) -> None:
    path = _fixture(HEAD, tmp_path / "old.db")
    reader = open_store(path, read_only=True)
    assert len(await reader.objects()) == 2
    with pytest.raises(Refused), reader.transaction(write=True):
        pass
    await reader.aclose()
