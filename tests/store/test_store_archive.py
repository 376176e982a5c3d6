"""Export and import: what goes out comes back, and a damaged archive is noticed before anything is taken from it."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from reconciler.core.audit import Actor, Change, Entry
from reconciler.engine.ports import AddAudit, AddEvent, AppendSession, DropObject, PutIntent, PutMeta, PutObject, SawVms
from reconciler.errors import Refused, Rejected, Unreachable
from reconciler.store.archive import export_stream, export_to, import_from
from reconciler.store.sqlstore import SqlStore, open_store
from tests.store.conftest import Open
from tests.store.samples import event, full, intent, key, put

ROWS = 3 + 2 + 3 + 2 + 3 + 2 + 1 + 2
APPROVED = Entry(Actor("page", "token"), "approved", key("t", "Task"), "uid-t", (Change("approvals[0].id", None, "a1"),), 1000.5)
DENIED = Entry(Actor("api", "token"), "denied", key("t", "Task"), "uid-t", (), 1001.5)


async def _fill(store: SqlStore) -> None:
    await store.write([AddEvent(event("gone")), put("gone"), PutObject(full(), 0), put("a"), put("b")])
    await store.write([DropObject(key("gone"), "uid-gone"), AddEvent(event("two")), AddEvent(event("three \u2028"))])
    await store.write([PutIntent(intent("open")), PutIntent(intent("shut", "created")), SawVms(("v1", "v2"), 0.1), PutMeta("m", "{}")])
    await store.write([AddAudit(APPROVED, 10), AddAudit(DENIED, 10)])
    await store.write([AppendSession("s", 0, b"\x00\xff{}\n"), AppendSession("s", 5, bytes(range(256))), AppendSession("t", 0, b"t")])


@pytest.mark.guarantee("G-63")
async def test_export_and_import_round_trip(opened: Open, tmp_path: Path) -> None:
    store = opened()
    await _fill(store)
    archive = tmp_path / "backup.jsonl"
    assert export_to(store, archive) == ROWS
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    for other in (tmp_path / "other.db", tmp_path / "another.db"):
        copy = open_store(other)
        try:
            assert import_from(copy, archive) == ROWS
            assert await copy.load() == await store.load()
            assert await copy.events() == await store.events()
            assert await copy.audit() == await store.audit() == [(1, APPROVED), (2, DENIED)]
            assert await copy.session("s") == await store.session("s")
            again = tmp_path / "again.jsonl"
            export_to(copy, again)
            assert again.read_bytes() == archive.read_bytes()
            await copy.write([AddEvent(event("next"))])
            assert (await copy.events())[-1].seq == 4
        finally:
            await copy.aclose()
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.guarantee("G-63")
async def test_an_archive_moves_into_any_kind_of_store(store: SqlStore, tmp_path: Path) -> None:
    source = open_store(tmp_path / "source.db", inline=True)
    await _fill(source)
    export_to(source, tmp_path / "a")
    assert import_from(store, tmp_path / "a") == ROWS
    assert await store.load() == await source.load()
    assert await store.events() == await source.events()
    await store.write([AddEvent(event("next")), AppendSession("t", 1, b"u"), put("a", 2)])
    assert (await store.events())[-1].seq == 4
    await source.aclose()


async def test_an_empty_store_round_trips_and_numbers_start_at_one(opened: Open, store: SqlStore, tmp_path: Path) -> None:
    assert export_to(store, tmp_path / "a") == 0
    assert import_from(store, tmp_path / "a") == 0
    await store.write([AddEvent(event())])
    assert [one.seq for one in await store.events()] == [1]


async def test_only_an_empty_store_takes_an_archive(store: SqlStore, tmp_path: Path) -> None:
    await _fill(store)
    export_to(store, tmp_path / "a")
    before = await store.load()
    with pytest.raises(Refused, match="not empty"):
        import_from(store, tmp_path / "a")
    assert await store.load() == before


def _resealed(lines: list[bytes]) -> bytes:
    """A changed archive that is consistent in itself."""
    body = b"".join(lines)
    return body + orjson.dumps({"rows": len(lines) - 1, "sha256": sha256(body).hexdigest()}) + b"\n"


_NOT_BASE64 = b'{"table":"session_chunks","session":"x","start":0,"data":"%"}\n'

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"hello\n",
    "json": lambda _: b"[]\n{}\n",
    "binary": lambda _: b"\xff\x00\n\xff",
    "cut line": lambda data: data[:-3],
    "no foot": lambda data: b"".join(data.splitlines(keepends=True)[:-1]),
    "a row less": lambda data: b"".join(data.splitlines(keepends=True)[:3] + data.splitlines(keepends=True)[4:]),
    "altered": lambda data: data.replace(b"uid-a", b"uid-b", 1),
    "newer": lambda data: data.replace(b'"version":2', b'"version":3', 1),
    "other table": lambda data: _resealed([*data.splitlines(keepends=True)[:-1], b'{"table":"users","name":"x"}\n']),
    "other columns": lambda data: _resealed([*data.splitlines(keepends=True)[:-1], b'{"table":"meta","name":"x","value":"y","more":1}\n']),
    "not base64": lambda data: _resealed([*data.splitlines(keepends=True)[:-1], _NOT_BASE64]),
    "nested": lambda data: _resealed([*data.splitlines(keepends=True)[:-1], b'{"table":"meta","name":"x","value":["y"]}\n']),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_archive_changes_nothing(damage: str, tmp_path: Path) -> None:
    source, target = open_store(tmp_path / "source.db", inline=True), open_store(tmp_path / "target.db", inline=True)
    await _fill(source)
    out = io.BytesIO()
    export_stream(source, out)
    archive = tmp_path / "archive"
    archive.write_bytes(DAMAGES[damage](out.getvalue()))
    with pytest.raises(Rejected) as caught:
        import_from(target, archive)
    assert str(archive) in caught.value.where
    assert (await target.load()).objects == ()
    await source.aclose()
    await target.aclose()


async def test_an_archive_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db", inline=True)
    with pytest.raises(Unreachable):
        import_from(store, tmp_path / "none")
    with pytest.raises(Unreachable):
        export_to(store, tmp_path / "none" / "archive")
    await store.aclose()


async def test_an_export_beside_a_writer_is_of_one_moment(store: SqlStore, tmp_path: Path) -> None:
    await store.write([replace(put("a"), expect=0)])
    with store.transaction(write=False) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM objects").scalar_one() == 1
        await store.write([put("b")])
        assert connection.exec_driver_sql("SELECT count(*) FROM objects").scalar_one() == 1
