"""What waits for a person: the list, the page and the figures are made of one reading of the same status (G-37)."""

from __future__ import annotations

import pytest

from reconciler.core.attention import attention_of
from reconciler.core.keys import Json
from reconciler.views.board import Standing, row_of, standing_of
from reconciler.views.waiting import approvals, attention
from tests.views.doubles import stored

EARLY, LATE = "2026-11-30T10:00:00Z", "2026-11-30T11:00:00Z"


def status(ready: str, reason: str, since: str = EARLY, stalled: bool = False, **more: object) -> Json:
    conditions = [{"type": "Ready", "status": ready, "reason": reason, "message": f"it is {reason}", "lastTransitionTime": since}]
    conditions += [{**conditions[0], "type": "Stalled", "status": "True"}] if stalled else []
    return {"conditions": conditions, **more}  # type: ignore[dict-item]


def ask(name: str, since: str) -> Json:
    return {"id": name, "call": f"bash(git push {name})", "rule": "bash(git push*)", "level": "Lieutenant", "part": "x", "since": since}


ASKS = status("False", "AwaitingApproval", phase="AwaitingApproval", asks=[ask("one", LATE), ask("two", EARLY)])
FLEET = {
    "well": status("True", "Steady"),
    "busy": status("False", "Booting"),
    "stuck": status("False", "CrashLoop", LATE, stalled=True),
    "missing": status("False", "SecretNotFound"),
    "asks": ASKS,
    "failed": status("False", "TaskTimeout", LATE, stalled=True, phase="TimedOut", finishedAt=LATE),
    "done": status("True", "Completed", phase="Succeeded", finishedAt=LATE),
    "dropped": status("True", "CancelledByUser", phase="Cancelled", finishedAt=LATE),
    "new": {},
}
WAITING = {
    "asks": ("Question", "AwaitingApproval", Standing.NEEDS_YOU),
    "stuck": ("Block", "CrashLoop", Standing.NEEDS_YOU),
    "missing": ("Block", "SecretNotFound", Standing.NEEDS_YOU),
    "failed": ("Failure", "TaskTimeout", Standing.FAILED),
}


@pytest.mark.guarantee("G-37")
def test_list_and_page_say_the_same() -> None:
    objects = [stored("Task", name, status=told) for name, told in FLEET.items()]
    listed = {name.removeprefix("task/"): doc["status"] for name, doc in attention(objects)}
    assert {name: (told["sort"], told["reason"]) for name, told in listed.items()} == {name: two[:2] for name, two in WAITING.items()}  # type: ignore[call-overload, index]
    standings = {obj.key.name: standing_of(obj) for obj in objects}
    assert {name: one for name, one in standings.items() if one in (Standing.NEEDS_YOU, Standing.FAILED)} == {
        name: three[2] for name, three in WAITING.items()
    }


def test_the_oldest_comes_first_and_each_has_its_age() -> None:
    found = list(attention([stored("Task", name, status=told) for name, told in FLEET.items()]))
    assert [name for name, _ in found] == ["task/asks", "task/missing", "task/failed", "task/stuck"]
    assert [doc["metadata"]["creationTimestamp"] for _, doc in found] == [EARLY, EARLY, LATE, LATE]  # type: ignore[index, call-overload]
    needed = attention_of(ASKS)
    assert needed is not None
    assert needed.age(1_796_032_800.0 + 90) == 90.0
    assert needed.message == "bash(git push one); bash(git push two)"


def test_each_call_that_waits_has_a_row() -> None:
    found = list(
        approvals([stored("Task", "asks", {"lieutenantRef": {"name": "api"}}, ASKS), stored("Task", "well", status=FLEET["well"])])
    )
    assert [name for name, _ in found] == ["asks/two", "asks/one"]
    assert found[0][1]["status"]["lieutenant"] == "api"  # type: ignore[index, call-overload]


@pytest.mark.parametrize("odd", [{"asks": "x"}, {"conditions": [7]}, {"finishedAt": 7}, {"phase": ["x"]}, {"asks": [{"since": None}]}])
def test_a_status_of_any_shape_is_read(odd: Json) -> None:
    list(attention([stored("Task", "t", status=odd)]))


@pytest.mark.guarantee("G-37", "G-42", "G-43")
@pytest.mark.parametrize("reason", ["DeclarationInvalid", "PruneBlocked"])
def test_what_is_wrong_where_it_is_declared_waits_for_a_person_whatever_the_object_does(reason: str) -> None:
    """Also of work that ended well; what an object is blocked by itself comes first."""
    wrong = {"type": reason, "status": "True", "reason": reason, "message": "a.yaml:3:1: no such field", "lastTransitionTime": LATE}
    for of in ("well", "busy", "done"):
        told: Json = {**FLEET[of], "conditions": [*FLEET[of]["conditions"], wrong]}  # type: ignore[list-item, misc, dict-item]
        ((_, doc),) = attention([stored("Task", of, status=told)])
        status_ = doc["status"]
        assert isinstance(status_, dict)
        assert (status_["sort"], status_["reason"], status_["message"]) == ("Block", reason, "a.yaml:3:1: no such field")
        assert status_["remedy"]
        obj = stored("Task", of, status=told)
        assert standing_of(obj) is Standing.NEEDS_YOU
        assert row_of(obj).message == "a.yaml:3:1: no such field"
    stuck: Json = {"conditions": [*FLEET["stuck"]["conditions"], wrong]}  # type: ignore[list-item, misc]
    needed = attention_of(stuck)
    assert needed is not None
    assert needed.reason == "CrashLoop"
