"""From the first release's tables to today's: names within records, new columns, archives; whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.core.records import LieutenantRecord, TaskRecord
from reconciler.engine.ports import Key, StoredObject
from reconciler.errors import ReconcilerError, Rejected
from reconciler.store.archive import export_to, import_from
from reconciler.store.conversions import record_from_0001
from reconciler.store.sqlstore import open_store
from tests.store.conftest import Open
from tests.store.earlier import FIXTURES, state_of, store_of


def record_of(objects: list[StoredObject], kind: str, name: str) -> dict[str, object]:
    return dict(next(obj.record for obj in objects if obj.key == Key(kind, "default", name)))


@pytest.mark.guarantee("G-63")
@pytest.mark.parametrize("where", ["sqlite", "postgres"], indirect=True)
async def test_a_fleet_of_the_first_release_keeps_all_it_knew(where: str | Path, opened: Open) -> None:
    store_of("fleet-0001", where)
    with pytest.raises(ReconcilerError, match=r"revision 0001, 0006 is needed.*start the controller once"):
        open_store(where, read_only=True)
    before = state_of(where)
    store = opened()
    objects = await store.objects()
    rows = before["rows"]
    assert isinstance(rows, dict)
    assert len(objects) == len(rows["objects"]) == 30
    assert {(obj.owner, obj.source_id, obj.source_commit) for obj in objects} == {("", "", "")}
    assert {one.owner.node for one in (await store.load()).intents} == {""}

    doomed = LieutenantRecord.load(record_of(objects, "Lieutenant", "doomed")).slot
    assert doomed.marked_for_deletion
    assert doomed.marked_at == pytest.approx(1_800_000_276.61)
    assert doomed.cause == "Deleted"
    assert LieutenantRecord.load(record_of(objects, "Lieutenant", "freed")).detached
    steps = TaskRecord.load(record_of(objects, "Task", "stuck")).escalation_steps
    assert [(one.action, one.continues, one.hard) for one in steps] == [("Steer", 0, False), ("Abort", 0, False)]
    assert all("100 s" in one.why and one.at > 1_800_000_000 for one in steps)
    old = {name for names in ("condemned", "condemned_at", "let_go", "ladder") for name in [f'"{names}"']}
    assert not [obj.key for obj in objects for name in old if name in json.dumps(obj.record)]


@pytest.mark.guarantee("G-63")
@pytest.mark.parametrize("where", ["sqlite", "postgres"], indirect=True)
def test_an_upgrade_killed_at_any_step_leaves_the_old_store_or_the_new_one(where: str | Path, tmp_path: Path) -> None:
    store_of("fleet-0001", where)
    before = state_of(where)
    argv = [sys.executable, "-m", "tests.store.earlier", str(where)]
    told = subprocess.run(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], timeout=120, check=True).stdout
    states = [json.loads(line) for line in told.splitlines()]
    after = states[-1]
    assert before["revision"] == "0001"
    assert after["revision"] == "0006"
    assert after != before
    assert [state for state in states if state not in (before, after)] == []
    assert len(states) > 8, "it was struck at each of its statements"
    assert states[-2] == before, "the last one that was struck died before its commit"


@pytest.mark.guarantee("G-63")
async def test_an_archive_of_the_first_release_is_brought_forward(opened: Open, tmp_path: Path) -> None:
    store = opened()
    assert import_from(store, FIXTURES / "archive-1.jsonl") == 19
    objects = await store.objects()
    assert LieutenantRecord.load(record_of(objects, "Lieutenant", "doomed")).slot.marked_for_deletion
    assert LieutenantRecord.load(record_of(objects, "Lieutenant", "freed")).detached
    assert len(TaskRecord.load(record_of(objects, "Task", "stuck")).escalation_steps) == 2
    assert {obj.source_id for obj in objects} == {""}
    (open_one,) = (await store.load()).intents
    assert str(open_one.owner.key) == "Lieutenant/default/branch-a"
    again = open_store(tmp_path / "again.db", inline=True)
    export_to(store, tmp_path / "today")
    assert import_from(again, tmp_path / "today") == 19
    assert await again.load() == await store.load()
    await again.aclose()


@pytest.mark.parametrize(("version", "schema"), [(1, "0002"), (2, "9999"), (3, "0001"), ("2", "0002"), (2, None)])
def test_an_archive_of_another_release_is_refused_in_words(version: object, schema: object, tmp_path: Path) -> None:
    lines = (FIXTURES / "archive-1.jsonl").read_bytes().splitlines(keepends=True)
    head = json.dumps({"format": "reconciler-store", "version": version, "schema": schema}).encode() + b"\n"
    (tmp_path / "archive").write_bytes(b"".join([head, *lines[1:]]))
    store = open_store(tmp_path / "store.db", inline=True)
    with pytest.raises(Rejected, match=r"newer Reconciler.*install the version that wrote it"):
        import_from(store, tmp_path / "archive")


def test_only_the_fields_that_were_renamed_are_and_their_order_stays() -> None:
    slot = {"vm_id": "v", "condemned": True, "cause": "Dead", "condemned_at": 2.0, "snapshot": {"condemned": 1}}
    record = {"let_go": True, "slot": slot, "handled": {"let_go": "t"}}
    renamed = record_from_0001("Lieutenant", record)
    assert list(renamed) == ["detached", "slot", "handled"]
    assert renamed["slot"] == {"vm_id": "v", "marked_for_deletion": True, "cause": "Dead", "marked_at": 2.0, "snapshot": {"condemned": 1}}
    assert renamed["handled"] == {"let_go": "t"}
    assert record_from_0001("Task", {"phase": "Running", "ladder": [{"action": "Steer"}]}) == {
        "phase": "Running",
        "escalation_steps": [{"action": "Steer"}],
    }
    assert record_from_0001("Swarm", {"ladder": 1, "let_go": 2}) == {"ladder": 1, "let_go": 2}
    assert record_from_0001("Lieutenant", {"slot": "not a record"}) == {"slot": "not a record"}
