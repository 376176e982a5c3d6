"""What agents remember, in the store: entry by entry, in the transaction of whatever else is written, on every database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reconciler.core.governance.memory import MemoryEntry, Whose
from reconciler.engine.ports import PutMemory, PutMeta
from reconciler.store.archive import export_to, import_from
from reconciler.store.sqlstore import SqlStore, open_store

OWN, SHARED = Whose("default", "api"), Whose("default")
ONE, TWO, THREE = (MemoryEntry(float(n), f"e{n}", f"fact {n}\nof two lines", "lieutenant/api") for n in (1, 2, 3))


async def test_entries_are_written_changed_and_dropped_each_in_its_memory(store: SqlStore) -> None:
    await store.write([PutMemory(OWN, (TWO, ONE)), PutMemory(SHARED, (ONE,)), PutMeta("beside", "1")])
    assert await store.memory("default", "api") == [ONE, TWO]
    gone = replace(ONE, gone_at=9.0, gone_by="ada")
    await store.write([PutMemory(OWN, (gone, THREE), ("e2",))])
    assert await store.memory("default", "api") == [gone, THREE]
    assert await store.memory("default", "") == [ONE]
    assert await store.memory("other", "api") == []


async def test_what_is_dropped_as_a_whole_and_written_again_in_one_batch_is_as_written_last(store: SqlStore) -> None:
    await store.write([PutMemory(OWN, (ONE, TWO))])
    await store.write([PutMemory(OWN, (THREE,)), PutMemory(OWN, (), ("",)), PutMemory(OWN, (TWO,))])
    assert await store.memory("default", "api") == [TWO]
    await store.write([PutMemory(OWN, (), ("",))])
    assert await store.memory("default", "api") == []


async def test_an_export_has_what_is_remembered(store: SqlStore, tmp_path: Path) -> None:
    await store.write([PutMemory(OWN, (ONE, replace(TWO, gone_at=4.0, gone_by="ada")))])
    export_to(store, tmp_path / "all.jsonl")
    copy = open_store(tmp_path / "copy.db", inline=True)
    import_from(copy, tmp_path / "all.jsonl")
    assert await copy.memory("default", "api") == await store.memory("default", "api")
    await copy.aclose()
