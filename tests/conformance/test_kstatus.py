"""The checker itself: it accepts what is right and names what is wrong."""

from __future__ import annotations

import pytest

from tests.conformance.kstatus import Loose, problems, summary

AT = "2026-11-21T08:00:00Z"


def condition(kind: str, status: str = "True", reason: str = "Because", message: str = "", at: str = AT) -> dict[str, object]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


def status(*conditions: dict[str, object], observed: int = 1) -> dict[str, object]:
    return {"observedGeneration": observed, "phase": "Idle", "conditions": list(conditions)}


GOOD = status(condition("Available", "False"), condition("Ready"))

WRONG: dict[str, tuple[Loose, str]] = {
    "no Ready": (status(condition("Available")), "no Ready"),
    "ahead": (status(condition("Ready"), observed=2), "runs ahead"),
    "unsorted": (status(condition("Ready"), condition("Available")), "not sorted"),
    "twice": (status(condition("Ready"), condition("Ready")), "twice"),
    "abnormal false": (status(condition("Ready"), condition("Stalled", "False")), "only while True"),
    "both": (status(condition("Ready", "False"), condition("Reconciling"), condition("Stalled")), "at once"),
    "ready and moving": (status(condition("Ready"), condition("Reconciling")), "beside"),
    "no way out": (status(condition("Ready", "False")), "which way out"),
    "words": (status(condition("Ready", reason="not ready yet")), "CamelCase"),
    "a clock": (status(condition("Ready", message="since 2026-11-21 08:00")), "holds a time"),
    "an act": (status(condition("Ready", message="RunVerify on VM 1")), "internal name"),
}


def test_a_good_status_has_no_problem() -> None:
    assert problems(GOOD, 1) == []


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_one_is_named(name: str) -> None:
    found, word = WRONG[name]
    assert any(word in problem for problem in problems(found, 1))


def test_a_transition_time_moves_only_with_the_status() -> None:
    later = status(condition("Available", "False"), condition("Ready", at="2026-11-21T09:00:00Z"))
    assert problems(later, 1, GOOD) == ["Ready: lastTransitionTime moved although the status did not"]
    assert problems(status(condition("Ready", "False", at="2026-11-21T09:00:00Z"), condition("Reconciling")), 1, GOOD) == []


def test_what_kstatus_concludes() -> None:
    assert summary(GOOD, 1) == "Current"
    assert summary(GOOD, 2) == "InProgress"
    assert summary(GOOD, 1, deleting=True) == "Terminating"
    assert summary(status(condition("Ready", "False"), condition("Stalled")), 1) == "Failed"
    assert summary(status(condition("Ready", "Unknown"), condition("Reconciling")), 1) == "InProgress"
