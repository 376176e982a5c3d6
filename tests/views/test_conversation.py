"""What an agent said, as stores and status have it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.keys import Json, Key
from reconciler.core.records import LieutenantRecord, SessionRecord, TaskRecord
from reconciler.engine.ports import StoredObject
from reconciler.views.conversation import answer_of, answers, before, last_said
from tests.views.doubles import Mirrors, stored


def line(role: str, text: str) -> bytes:
    return json.dumps({"type": "message", "id": text, "message": {"role": role, "content": text}}).encode() + b"\n"


LIEUTENANT = stored("Lieutenant", "api", record=LieutenantRecord(session=SessionRecord(name="new", earlier=("old",))).dump())
OLD = line("user", "[m] tell") + line("assistant", "told") + line("user", "and?") + line("assistant", "that is all")
NEW = line("user", "anew") + line("assistant", " one ") + line("assistant", "")


def ended(name: str, delivered: int, version: int) -> StoredObject:
    times: Json = {"finishedAt": "2026-01-01T00:00:09Z", "deliveredAt": f"2026-01-01T00:00:0{delivered}Z"}
    return replace(stored("Task", name, status={**times, "phase": "Succeeded", "result": {"answer": name}}), version=version)


def test_answers_are_in_the_order_of_the_work() -> None:
    assert answers([ended("a", 3, 9), ended("b", 3, 10), ended("c", 3, 8), ended("d", 1, 20)]) == ["d", "c", "a", "b"]


@pytest.mark.parametrize(
    ("mirrors", "said"), [({"new": NEW}, "one"), ({"new": line("user", "anew")}, "b"), ({}, "b")], ids=["mirror", "no answer", "none"]
)
async def test_what_was_said_last_is_in_the_mirror_or_else_in_status(mirrors: dict[str, bytes], said: str) -> None:
    assert await last_said(Mirrors([], mirrors), LIEUTENANT, [ended("b", 2, 2), ended("a", 1, 1)]) == said


async def test_nothing_was_said_yet() -> None:
    assert await last_said(Mirrors([]), stored("Lieutenant", "api"), []) == ""


async def test_earlier_conversations_are_read_too() -> None:
    assert [message.text for message in await before(Mirrors([], {"old": OLD, "new": NEW}), LIEUTENANT)][1::2] == ["told", "that is all"]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"session": "old", "landed": 0, "span_end": len(line("user", "[m] tell") + line("assistant", "told"))}, "told"),
        ({"session": "old", "landed": 0}, "that is all"),
        ({"session": "lost", "landed": 0}, "the tail"),
        ({}, "the tail"),
    ],
    ids=["span", "open", "no mirror", "never landed"],
)
async def test_an_answer_is_the_last_of_the_turn_of_its_task(record: dict[str, Any], said: str) -> None:
    task = stored("Task", "t", status={"result": {"answer": "the tail"}}, record=TaskRecord(**record).dump())
    store = Mirrors([LIEUTENANT], {"old": OLD})
    assert await answer_of(store, LIEUTENANT.key, task) == said
    assert await answer_of(store, Key("Lieutenant", "team", "gone"), task) == "the tail"
