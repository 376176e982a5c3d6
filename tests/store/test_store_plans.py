"""What a write costs does not grow with what the store holds: nothing in it reads a whole table."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import event as sqlalchemy_event

from reconciler.engine.ports import AddEvent, AppendSession, DropObject, PutIntent, PutMeta, SawVms
from reconciler.store.sqlstore import open_store
from tests.store.samples import event, intent, key, put


async def test_no_write_reads_a_whole_table(tmp_path: Path) -> None:
    path, asked = tmp_path / "state.db", dict[str, object]()
    store = open_store(path, inline=True)

    def heard(connection: object, cursor: object, statement: str, parameters: object, context: object, many: bool) -> None:
        asked[statement] = parameters[0] if many else parameters  # type: ignore[index]

    sqlalchemy_event.listen(store.database.writes, "before_cursor_execute", heard)
    elsewhere = key("c", namespace="team")
    try:
        await store.write([put("a"), put("b"), AppendSession("s", 0, b"x"), SawVms(("vm",), 1.0)])
        await store.write([put("a", 2), put("b", 2), DropObject(elsewhere, "uid"), AppendSession("s", 1, b"x"), SawVms(("vm", "w"), 1.0)])
        await store.write(
            [PutIntent(intent("t")), PutIntent(intent("t", "created")), PutMeta("m", "1"), PutMeta("m", "2"), AddEvent(event())]
        )
    finally:
        await store.aclose()
    with sqlite3.connect(path) as connection:
        plans = {
            statement: [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]  # type: ignore[arg-type]
            for statement, parameters in asked.items()
            if statement.split()[0] in ("SELECT", "INSERT")  # what is old is deleted with one write in a thousand
        }
    assert any(statement.startswith("SELECT objects") for statement in plans)
    assert {statement: plan for statement, plan in plans.items() if any(step.startswith("SCAN ") for step in plan)} == {}
