"""Group commit, several processes on one store, and a database that goes away."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection

from reconciler.engine.ports import AddEvent, DropObject, PutIntent, PutMeta, PutObject
from reconciler.errors import Conflict, NotFound, ReconcilerError, Refused, Rejected, Unreachable, UsageError
from reconciler.store.commit import Outcome
from reconciler.store.database import connect
from reconciler.store.rows import Batch
from reconciler.store.sqlstore import MANY, SqlStore, open_store
from reconciler.store.writer import FULL, WriterThread
from tests.postgres import PostgresServer
from tests.store.conftest import Open
from tests.store.samples import event, intent, key, put

READ = """
import asyncio, sys
from reconciler.store.sqlstore import open_store
print(len(asyncio.run(open_store(sys.argv[1], inline=True, read_only=True).objects())))
"""


@pytest.fixture
async def sqlite_store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    store = open_store(tmp_path / "store.db")
    yield store
    await store.aclose()


def _hold(path: str) -> sqlite3.Connection:
    """A writer of another kind that sits on the write lock, with something uncommitted."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM objects")
    return other


@pytest.mark.parametrize("where", ["sqlite", "postgres"], indirect=True)
async def test_concurrent_batches_share_commits(store: SqlStore) -> None:
    async def writer(number: int) -> None:
        for turn in range(20):
            await store.write([PutIntent(intent(f"{number}-{turn}"))])

    await asyncio.gather(*(writer(number) for number in range(50)))
    assert len((await store.load()).intents) == 1000
    assert store.stats.batches == 1000
    assert store.stats.commits * 10 <= 1000, store.stats


async def test_only_a_few_writers_at_once_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes alone waits for nobody; where several do, the next transaction waits for more; where very many do, it has enough."""
    waits: list[int] = []
    shared: list[int] = []
    monkeypatch.setattr("reconciler.store.writer.sleep", lambda _: waits.append(len(shared)))
    going, entered = threading.Event(), threading.Event()

    def commit(batches: Sequence[Batch]) -> list[Outcome]:
        shared.append(len(batches))
        entered.set()
        going.wait()
        return [None for _ in batches]

    writer = WriterThread(commit)

    async def behind_one(count: int) -> None:
        """One that is on, and so many that were handed in meanwhile."""
        entered.clear()
        going.clear()
        first = asyncio.ensure_future(writer.write(tuple))
        await asyncio.to_thread(entered.wait)
        rest = [asyncio.ensure_future(writer.write(tuple)) for _ in range(count)]
        await asyncio.sleep(0)
        going.set()
        await asyncio.gather(first, *rest)

    try:
        for count in (1, FULL - 1, FULL):
            await behind_one(count)
        await writer.write(tuple)
    finally:
        going.set()
        writer.close()
    assert shared == [1, 1, 1, FULL - 1, 1, FULL, 1]
    assert waits == [4], "before the transaction that followed the one of a few"


async def test_one_conflict_in_a_shared_commit_fails_alone(sqlite_store: SqlStore) -> None:
    await sqlite_store.write([put("a")])
    before = sqlite_store.stats.commits
    other = _hold(sqlite_store.where)  # so that all of these wait for the same commit
    first = asyncio.ensure_future(sqlite_store.write([PutMeta("first", "x")]))
    rest = [asyncio.ensure_future(sqlite_store.write([put("a", version)])) for version in (2, 2, 3)]
    await asyncio.sleep(0)
    other.execute("ROLLBACK")
    other.close()
    outcomes = await asyncio.gather(first, *rest, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), Conflict, type(None)]
    assert [obj.version for obj in await sqlite_store.objects()] == [3]
    assert sqlite_store.stats.commits - before <= 2


async def test_another_process_reads_what_is_committed_while_a_writer_is_busy(sqlite_store: SqlStore) -> None:
    await sqlite_store.write([put("a"), put("b")])
    other = _hold(sqlite_store.where)
    try:
        reader = await asyncio.create_subprocess_exec(sys.executable, "-c", READ, sqlite_store.where, stdout=subprocess.PIPE)
        out, _ = await reader.communicate()
    finally:
        other.close()
    assert out.strip() == b"2"


async def test_a_write_waits_for_another_process_to_finish(sqlite_store: SqlStore) -> None:
    other = _hold(sqlite_store.where)
    writing = asyncio.ensure_future(sqlite_store.write([put("a")]))
    assert await sqlite_store.objects() == []
    assert not writing.done()
    other.execute("COMMIT")
    other.close()
    await writing
    assert [obj.key.name for obj in await sqlite_store.objects()] == ["a"]


@pytest.mark.parametrize("where", ["sqlite", "postgres"], indirect=True)
async def test_two_stores_on_one_database_keep_compare_and_set(opened: Open) -> None:
    one, two = opened(), opened()
    await one.write([put("a", 1)])
    outcomes = await asyncio.gather(*(store.write([put("a", 2), AddEvent(event())]) for store in (one, two) * 5), return_exceptions=True)
    assert outcomes.count(None) == 1
    assert all(isinstance(outcome, Conflict) for outcome in outcomes if outcome is not None)
    assert len(await two.events()) == 1
    await two.write([DropObject(key("a"), "uid-a")])
    assert await one.objects() == []


@pytest.mark.parametrize("where", ["sqlite", "postgres"], indirect=True)
async def test_several_processes_open_a_new_store_at_once(where: str | Path) -> None:
    code = "import sys;from reconciler.store.sqlstore import open_store;open_store(sys.argv[1],inline=True)"
    many = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(where), stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
        )
        for _ in range(3)
    ]
    for one in many:
        _, err = await one.communicate()
        assert one.returncode == 0, err.decode()


@pytest.mark.parametrize("where", ["sqlite", "postgres"], indirect=True)
async def test_several_event_loops_share_a_store(store: SqlStore) -> None:
    failures: list[BaseException] = []

    def elsewhere(name: str) -> None:
        try:
            asyncio.run(store.write([put(name)]))
        except BaseException as exc:
            failures.append(exc)
            raise

    threads = [threading.Thread(target=elsewhere, args=(f"n{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    assert failures == []
    assert len(await store.objects()) == 4


async def test_the_files_are_private(tmp_path: Path) -> None:
    store = open_store(tmp_path / "state" / "store.db")
    await store.write([put("a")])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    await store.aclose()
    (tmp_path / "state" / "store.db").chmod(0o644)
    await open_store(tmp_path / "state" / "store.db").aclose()
    assert stat.S_IMODE((tmp_path / "state" / "store.db").stat().st_mode) == 0o600


async def test_sqlite_syncs_every_commit(sqlite_store: SqlStore) -> None:
    with sqlite_store.transaction(write=True) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2


async def test_a_store_opened_for_reading_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with pytest.raises(NotFound, match="no store"):
        open_store(path, read_only=True)
    assert not path.exists()
    store = open_store(path)
    await store.write([put("a")])
    await store.aclose()
    reader = open_store(path, read_only=True)
    with pytest.raises(Refused):
        await reader.write([put("b")])
    assert len(await reader.objects()) == 1
    await reader.aclose()


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/d", "sqlite://", "nonsense+x://u:hunter2@h/d", "postgresql+asyncpg://u:hunter2@h/d", "://hunter2"]
)
def test_other_databases_are_refused_without_quoting_the_url(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_store(url)
    assert "hunter2" not in repr(caught.value) + str(caught.value)


async def test_a_full_disk_is_told_and_harms_nothing(sqlite_store: SqlStore) -> None:
    await sqlite_store.write([put("a")])
    with sqlite_store.transaction(write=True) as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def small(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    sqlalchemy_event.listen(sqlite_store.database.writes, "checkout", small)
    with pytest.raises(Unreachable, match="no room"):
        await sqlite_store.write([AddEvent(event("x" * 100_000))])
    sqlalchemy_event.remove(sqlite_store.database.writes, "checkout", small)
    sqlite_store.database.writes.dispose()
    await sqlite_store.write([put("b")])
    assert len(await sqlite_store.objects()) == 2


async def test_a_locked_store_is_unreachable_not_broken(sqlite_store: SqlStore) -> None:
    def impatient(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA busy_timeout = 1")

    sqlalchemy_event.listen(sqlite_store.database.writes, "checkout", impatient)
    other = _hold(sqlite_store.where)
    outcomes = await asyncio.gather(*(sqlite_store.write([put(f"n{number}")]) for number in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unreachable] * 5
    assert len({id(outcome) for outcome in outcomes}) == 5
    other.close()
    await sqlite_store.write([put("a")])
    assert sqlite_store.stats.failures == 5


async def test_a_defect_in_the_writer_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: object) -> list[ReconcilerError | None]:
        raise ZeroDivisionError

    writer = WriterThread(broken)
    for _ in range(2):
        with pytest.raises(ReconcilerError, match="ZeroDivisionError"):
            await writer.write(tuple)
    assert "writer failed" in caplog.text
    writer.close()


async def test_a_large_batch_that_can_not_be_stored_fails_alone(sqlite_store: SqlStore) -> None:
    """It is encoded by the thread that writes, in its turn."""
    many = [put(f"n{number}") for number in range(MANY + 1)]
    bad = PutObject(replace(put("bad").obj, version=0), 0)
    outcomes = await asyncio.gather(*(sqlite_store.write(one) for one in (many, [*many, bad], [put("z")])), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), Rejected, type(None)]
    assert len(await sqlite_store.objects()) == len(many) + 1


async def test_a_defect_while_committing_is_counted(sqlite_store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sqlite_store._committer, "_transact", broken)
    with pytest.raises(ReconcilerError, match="ZeroDivisionError"):
        await sqlite_store.write([put("a")])
    assert sqlite_store.stats.failures == 1


async def test_postgres_goes_away_and_comes_back(postgres_server: PostgresServer, postgres_url: str) -> None:
    name = postgres_url.rsplit("/", 1)[1]
    store = open_store(postgres_url)
    try:
        await store.write([put("a")])
        postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        with pytest.raises(Unreachable):
            await store.write([put("b")])
        with pytest.raises(Unreachable):
            await store.load()
        postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await store.write([put("c")])
        assert [obj.key.name for obj in await store.objects()] == ["a", "c"]
    finally:
        await store.aclose()


@pytest.mark.guarantee("G-62")
async def test_a_writer_frozen_in_a_transaction_keeps_the_lock_from_nobody(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a stopped process would: it holds the write lock and says nothing more. What it had begun is undone."""
    store = open_store(postgres_url)
    monkeypatch.setattr("reconciler.store.database.IDLE_SECONDS", 1)
    frozen = connect(postgres_url, create=False)
    frozen.writes.connect().close()
    monkeypatch.undo()
    connection = frozen.writes.connect()
    try:
        frozen.lock(connection)
        connection.exec_driver_sql("INSERT INTO meta (name, value) VALUES ('half', 'done')")
        await store.write([put("a")])
        with pytest.raises(SQLAlchemyError):
            connection.commit()
        assert [obj.key.name for obj in await store.objects()] == ["a"]
        assert await store.meta("half") is None
    finally:
        connection.close()
        frozen.writes.dispose()
        await store.aclose()


async def test_postgres_that_was_never_there(postgres_server: PostgresServer) -> None:
    with pytest.raises(Unreachable):
        open_store(f"postgresql://tester:hunter2@127.0.0.1:{postgres_server.port}/none")
    with pytest.raises(Unreachable) as caught:
        open_store("postgresql://tester:hunter2@127.0.0.1:1/none")
    assert "hunter2" not in f"{caught.value}{caught.value!r}"


@pytest.mark.parametrize("committed", [True, False])
async def test_postgres_lost_during_a_commit_is_asked_afterwards(
    postgres_url: str, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(postgres_url)
    dialect = store.database.writes.dialect
    commit = dialect.do_commit

    def lost(connection: PoolProxiedConnection) -> None:
        monkeypatch.undo()
        if committed:
            commit(connection)
        assert connection.dbapi_connection is not None
        connection.dbapi_connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(dialect, "do_commit", lost)
    try:
        if committed:
            await store.write([put("a")])
        else:
            with pytest.raises(Unreachable):
                await store.write([put("a")])
        assert len(await store.objects()) == int(committed)
        assert store.stats.commits == int(committed)
        await store.write([put("b")])
    finally:
        await store.aclose()
