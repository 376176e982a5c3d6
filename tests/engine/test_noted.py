"""What is only noted of an object is in force at once, and in the store with the next write of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler.core.keys import Json, Key, lieutenant
from reconciler.core.records import LieutenantRecord, LoadedRecord
from reconciler.core.values import replaced
from reconciler.engine.kinds.stock import STOCK
from reconciler.engine.ports import PutObject, StoredObject, Write
from reconciler.engine.registry import Registry
from reconciler.engine.state.changes import ObjectChange
from reconciler.engine.state.items import parse
from reconciler.engine.state.objects import ObjectTable
from reconciler.errors import Conflict, Unreachable
from reconciler.store.sqlstore import SqlStore, open_store

KEY = lieutenant("default", "ada")
LOADED = LieutenantRecord(loaded=LoadedRecord(process="one"))


class Away:
    """A store whose writes can be lost."""

    def __init__(self, store: SqlStore) -> None:
        self.store, self.away = store, False
        self.objects = store.objects

    async def write(self, batch: Sequence[Write]) -> None:
        if self.away:
            raise Unreachable("the database is away", "here")
        await self.store.write(batch)


class Told:
    """A table of one lieutenant, and what its listeners hear."""

    def __init__(self, path: Path) -> None:
        self.store = Away(open_store(path / "state.db", inline=True))
        self.table = ObjectTable(self.store, Registry(STOCK))  # type: ignore[arg-type]
        self.heard: list[tuple[Json | None, Json | None]] = []

    async def begin(self) -> None:
        obj = StoredObject(KEY, "uid", 1, 1, 0.0, {"role": "x", "profileRef": {"name": "lightweight"}})
        await self.table.put_in_force([ObjectChange(KEY, None, parse(obj, LieutenantRecord))])
        self.table.on_change.append(self._hear)

    def _hear(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
        self.heard.append((before.record if before is not None else None, after.record if after is not None else None))

    def known(self) -> str:
        item = self.table.lieutenant(KEY)
        assert item is not None
        return item.record.loaded.process

    async def stored(self) -> str:
        [obj] = await self.store.objects("Lieutenant", KEY.namespace, KEY.name)
        return LieutenantRecord.load(obj.record).loaded.process


@pytest.fixture
async def told(tmp_path: Path) -> Told:
    made = Told(tmp_path)
    await made.begin()
    return made


async def test_it_is_written_with_the_next_write_of_the_object_even_when_that_changes_nothing_else(told: Told) -> None:
    told.table.note(KEY, LOADED)
    assert (told.known(), await told.stored(), told.heard) == ("one", "", [])
    assert told.table.unwritten(KEY)
    await told.table.update([(KEY, lambda obj: obj)])
    assert await told.stored() == "one"
    assert not told.table.unwritten(KEY)
    await told.table.update([(KEY, lambda obj: obj)])
    assert told.heard == [({}, LOADED.dump())], "listeners hear of it once, when it is durable, beside what was durable before"


async def test_a_write_that_is_lost_leaves_it_to_the_next_one(told: Told) -> None:
    told.table.note(KEY, LOADED)
    told.store.away = True
    with pytest.raises(Unreachable):
        await told.table.update([(KEY, lambda obj: replaced(obj, status={"phase": "Idle"}))])
    assert (told.known(), told.table.unwritten(KEY)) == ("one", True)
    told.store.away = False
    await told.table.update([(KEY, lambda obj: obj)])
    assert await told.stored() == "one"
    assert told.heard == [({}, LOADED.dump())]


async def test_what_another_one_wrote_is_right_and_what_was_noted_is_forgotten(told: Told) -> None:
    [obj] = await told.store.objects("Lieutenant", KEY.namespace, KEY.name)
    theirs = replaced(obj, version=obj.version + 1, record=LieutenantRecord(loaded=LoadedRecord(process="theirs")).dump())
    await told.store.write([PutObject(theirs, obj.version)])
    told.table.note(KEY, LOADED)
    with pytest.raises(Conflict):
        await told.table.update([(KEY, lambda one: one)])
    assert (told.known(), told.table.unwritten(KEY)) == ("theirs", False)


async def test_nothing_is_kept_about_what_is_gone(told: Told) -> None:
    told.table.note(KEY, LOADED)
    told.table.note(KEY, LOADED)
    await told.table.drop(KEY)
    assert not told.table.unwritten(KEY)
    told.table.note(KEY, LOADED)
    assert not told.table.unwritten(KEY)


async def test_what_is_declared_meanwhile_leaves_it_to_the_next_write(told: Told) -> None:
    told.table.note(KEY, LOADED)
    before = told.table.lieutenant(KEY)
    assert before is not None
    declared = parse(replaced(before.obj, spec={**before.obj.spec, "role": "y"}, version=2), LieutenantRecord, before)  # type: ignore[arg-type]
    await told.table.put_in_force([ObjectChange(KEY, before, declared)])  # type: ignore[arg-type]
    assert (told.known(), await told.stored(), told.table.unwritten(KEY)) == ("one", "", True)
    await told.table.update([(KEY, lambda obj: obj)])
    assert (await told.stored(), told.table.unwritten(KEY)) == ("one", False)
