"""Looking at conversations and answering what is asked about them, from a store without a controller."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.keys import Json
from reconciler.core.records import LieutenantRecord, SessionRecord, TaskRecord
from reconciler.engine.ports import AppendSession, PutObject, StoredObject, Write
from reconciler.store.sqlstore import open_store
from tests.cli.conftest import Run

LT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec: {role: Keep the API, profileRef: {name: lightweight}}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {name: old}
spec: {lieutenantRef: {name: api}, prompt: tell}
"""


def line(role: str, text: str) -> bytes:
    return json.dumps({"type": "message", "id": text, "message": {"role": role, "content": text}}).encode() + b"\n"


def A(number: int) -> str:
    return f"--- answer {number} of 3 ---\n"


FIRST = line("user", "[m] tell") + line("assistant", "told of old")
SECOND = line("user", "anew") + line("assistant", "one") + line("assistant", "two")


def change(state: Path, changed: Callable[[StoredObject], StoredObject], *more: Write) -> None:
    """As a controller would have written it."""

    async def write() -> None:
        store = open_store(state / "state.db", inline=True)
        try:
            found = [(obj, changed(obj)) for obj in await store.objects()]
            await store.write([PutObject(replace(new, version=old.version + 1), old.version) for old, new in found if new != old])
            await store.write(list(more))
        finally:
            await store.aclose()

    asyncio.run(write())


@pytest.fixture
def state(run: Run, tmp_path: Path) -> Path:
    """A lieutenant with two conversations, and a task of the first."""
    assert run("apply", "-f", "-", stdin=LT).code == 0
    state = tmp_path / "state"
    session = SessionRecord(name="s-g2", generation=2, earlier=("s-g1",))

    def changed(obj: StoredObject) -> StoredObject:
        if obj.key.kind == "Lieutenant":
            return replace(obj, record=LieutenantRecord(session=session).dump())
        return replace(obj, record=TaskRecord(phase="Succeeded", session="s-g1", landed=0).dump())

    change(state, changed, AppendSession("s-g1", 0, FIRST), AppendSession("s-g2", 0, SECOND))
    return state


def stalled(reason: str) -> Callable[[StoredObject], StoredObject]:
    status: Json = {"conditions": [{"type": "Stalled", "status": "True", "reason": reason, "message": "m"}]}
    return lambda obj: replace(obj, status=status) if obj.key.kind == "Lieutenant" else obj


@pytest.mark.guarantee("G-32")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "two"),
        (("--history", "1"), "two"),
        (("--history", "2", "--raw"), "one\n\ntwo"),
        (("--history", "2"), "--- answer 1 of 2 ---\none\n\n--- answer 2 of 2 ---\ntwo"),
        (("--history", "3"), f"{A(1)}told of old\n\n{A(2)}one\n\n{A(3)}two"),
        (("--history", "0"), f"{A(1)}told of old\n\n{A(2)}one\n\n{A(3)}two"),
        (("--task", "old"), "told of old"),
    ],
)
def test_earlier_conversations_stay_readable(run: Run, state: Path, words: tuple[str, ...], said: str) -> None:
    assert run("output", "api", *words).out == said + "\n"


@pytest.mark.parametrize(
    ("reason", "end", "code"),
    [
        ("SessionDiverged", "vm", 0),
        ("SessionDiverged", "local", 0),
        ("SessionLost", "local", 0),
        ("SessionLost", "vm", 4),
        ("BootFailed", "local", 4),
    ],
)
def test_an_answer_is_taken_where_it_was_asked_for(run: Run, state: Path, reason: str, end: str, code: int) -> None:
    change(state, stalled(reason))
    result = run("resolve", "lieutenant", "api", "--session", end)
    assert result.code == code, result
    annotations = run("get", "lt/api", "-o", "json").json["metadata"].get("annotations", {})
    assert annotations.get("fleet.vers.sh/resolve", "").startswith(f"session={end}:") == (code == 0)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("lt", "api"), 64),
        (("task", "old", "--session", "vm"), 64),
        (("lt", "none", "--session", "vm"), 1),
        (("lt/api", "--session", "x"), 64),
    ],
)
def test_what_answers_nothing_is_wrong_usage(run: Run, state: Path, words: tuple[str, ...], code: int) -> None:
    assert run("resolve", *words).code == code
