"""The fleet by who has to do something about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.keys import Json, Key
from reconciler.core.records import FINISHED
from reconciler.engine.ports import StoredObject
from reconciler.views.board import Board, Standing, ordered, row_of, standing_of
from tests.views.doubles import stored


def status(phase: str, ready: str = "True", stalled: bool = False, **more: object) -> Json:
    conditions: list[Json] = [{"type": "Ready", "status": ready, "reason": "Steady", "message": "m"}]
    if stalled:
        conditions.append({"type": "Stalled", "status": "True", "reason": "SessionDiverged"})
    return {"phase": phase, "conditions": conditions, **more}  # type: ignore[dict-item]


def of(name: str, phase: str, **more: object) -> StoredObject:
    ended = {"finishedAt": "2026-01-01T00:00:00Z"} if phase in FINISHED else {}
    return stored("Task", name, {"lieutenantRef": {"name": "api"}}, status(phase, **{**ended, **more}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("obj", "standing"),
    [
        (stored("Lieutenant", "api", status={}), Standing.WORKING),
        (stored("Lieutenant", "api", status=status("Idle")), Standing.READY),
        (stored("Lieutenant", "api", status=status("Working")), Standing.WORKING),
        (stored("Lieutenant", "api", status=status("Provisioning", "False")), Standing.WORKING),
        (stored("Lieutenant", "api", status=status("Unknown", "Unknown")), Standing.WORKING),
        (stored("Lieutenant", "api", status=status("Suspended")), Standing.ASLEEP),
        (stored("Lieutenant", "api", status=status("Suspending", "False")), Standing.ASLEEP),
        (stored("Lieutenant", "api", status=status("Stalled", "False", True)), Standing.NEEDS_YOU),
        (stored("Lieutenant", "api", status=status("Suspending", "False", True)), Standing.NEEDS_YOU),
        (stored("VMTree", "prod", status=status("Running", mode="Suspended")), Standing.ASLEEP),
        (of("t", "Pending", ready="False"), Standing.WORKING),
        (of("t", "AwaitingApproval", ready="False"), Standing.NEEDS_YOU),
        (of("t", "Succeeded"), Standing.READY),
        (of("t", "Cancelled"), Standing.READY),
        (of("t", "TimedOut", ready="False", stalled=True), Standing.FAILED),
    ],
)
def test_how_things_stand(obj: StoredObject, standing: Standing) -> None:
    assert standing_of(obj) == standing


def test_a_lieutenant_fails_by_its_last_task_until_another_one_ends() -> None:
    board = Board()
    host = stored("Lieutenant", "api", status=status("Idle"))
    board.change(host.key, host)
    failed = of("one", "Failed", ready="False", finishedAt="2026-01-01T00:00:00Z")
    changed = board.change(failed.key, failed)
    assert [(row.key.name, row.standing) for row in changed] == [("one", Standing.FAILED), ("api", Standing.FAILED)]
    assert board.rows[host.key].message.startswith("one: ")
    done = of("two", "Succeeded", finishedAt="2026-01-02T00:00:00Z")
    assert [row.standing for row in board.change(done.key, done)] == [Standing.READY, Standing.READY]
    assert board.change(done.key, done) == (), "what is the same is told once"
    assert [row.standing for row in board.change(done.key, None)] == [Standing.FAILED], "a task that is gone counts no more"
    assert done.key not in board.rows


def test_an_approval_of_a_task_needs_you_at_its_lieutenant() -> None:
    board = Board()
    host = stored("Lieutenant", "api", status=status("Working"))
    waiting = of("one", "AwaitingApproval", ready="False")
    board.change(waiting.key, waiting)
    assert [row.standing for row in board.change(host.key, host)] == [Standing.NEEDS_YOU]


def test_rows_are_in_order_of_need_and_then_of_names() -> None:
    phases = {"z": status("Stalled", "False", True), "b": status("Idle"), "a": status("Suspended"), "c": status("Idle")}
    rows = [row_of(stored("Lieutenant", name, status=told)) for name, told in phases.items()]
    assert [row.key.name for row in ordered(rows)] == ["z", "b", "c", "a"]


def test_a_row_is_one_bounded_line_whatever_its_object_says() -> None:
    evil: Json = {"phase": 7, "conditions": [{"type": "Ready", "status": "True", "reason": None, "message": "a\nb\x1b" + "c" * 9999}]}
    row = row_of(replace(stored("Lieutenant", "api", status={**evil, "vm": [], "queue": "x"}), key=Key("Lieutenant", "team", "api")))
    assert row.message.startswith("a b\\x1bc")
    assert len(row.message) == 240
    assert (row.vm, row.pending) == ("", 0)
