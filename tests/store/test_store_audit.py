"""The audit is only added to: nothing in the store changes an entry, and only what bounds the audit removes any."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import reconciler.store
from reconciler.core.audit import Actor, Entry
from reconciler.engine.ports import AddAudit
from reconciler.store.sqlstore import SqlStore
from tests.store.samples import key

STORE = Path(reconciler.store.__file__).parent
SOURCES = sorted(path for path in STORE.rglob("*.py") if "migrations" not in path.parts)
CHANGING = re.compile(r"\b(update|delete\s+from|replace\s+into|drop\s+table|truncate)\s+(table\s+)?(or\s+\w+\s+)?[\"']?audit\b", re.I)


def given(tree: ast.AST) -> Iterator[str]:
    """The names of what is called with the table of the audit, as `delete(AUDIT)` or `AUDIT.update()`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        named = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        of = node.func.value if isinstance(node.func, ast.Attribute) else None
        if any(isinstance(one, ast.Name) and one.id == "AUDIT" for one in (*node.args, of)):
            yield named


def test_no_statement_of_the_store_changes_an_entry_and_one_removes_the_oldest() -> None:
    texts = {path.relative_to(STORE).as_posix(): path.read_text("utf-8") for path in SOURCES}
    found = {(name, called) for name, text in texts.items() for called in given(ast.parse(text))}
    assert found == {("commit.py", "_insert"), ("auditing.py", "delete")}
    assert {name: told.group() for name, text in texts.items() if (told := CHANGING.search(text))} == {}


def test_a_statement_that_would_change_an_entry_is_seen() -> None:
    for text in ("update(AUDIT).values(who='x')", "AUDIT.update()", "self._upsert(AUDIT)"):
        assert list(given(ast.parse(text))) != [], text
    for text in ("UPDATE audit SET who = ''", "delete from audit", "REPLACE INTO audit"):
        assert CHANGING.search(text), text


async def test_what_is_beyond_the_bound_goes_and_what_stays_is_as_it_was_written(store: SqlStore) -> None:
    entries = [Entry(Actor("page", "token"), "approved", key(f"t{number}", "Task"), f"uid-{number}", (), 1000.5) for number in range(5)]
    for entry in entries:
        await store.write([AddAudit(entry, 3)])
    kept = await store.audit()
    assert [entry for _, entry in kept] == entries[-3:]
    await store.write([AddAudit(entries[0], 3)])
    assert (await store.audit())[:2] == kept[1:], "numbers and all"
