"""Which news follows from what was written down: tables."""

from __future__ import annotations

import itertools
import json

import pytest

from reconciler.core.fleet.breaker import Breaker
from reconciler.core.keys import Json, Key
from reconciler.core.notices import FLEET, Filter, Notice, cloud_event, fleet_breaker_news, news, provider_breaker_news, stale, standing
from reconciler.core.provider.breaker import ProviderBreaker, kept

TASK, LT, TREE = Key("Task", "team", "t"), Key("Lieutenant", "team", "api"), Key("VMTree", "team", "prod")
SINCE = "2026-11-30T10:00:00Z"


def condition(kind: str, status: str, reason: str, message: str = "", since: str = SINCE) -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}


def stalled(reason: str, since: str = SINCE) -> Json:
    return {"conditions": [condition("Ready", "False", reason, since=since), condition("Stalled", "True", reason, "why", since)]}


WELL: Json = {"conditions": [condition("Ready", "True", "Steady")]}
DONE: Json = {"phase": "Succeeded", "finishedAt": SINCE, "conditions": [condition("Ready", "True", "Completed")]}
BROKE: Json = {"phase": "Failed", "finishedAt": SINCE, **stalled("AcceptanceFailed")}
WITHDRAWN: Json = {"phase": "Cancelled", "finishedAt": SINCE, "conditions": [condition("Ready", "True", "CancelledByUser")]}
ORPHANED: Json = {"phase": "Cancelled", "finishedAt": SINCE, **stalled("LieutenantDeleted")}
MISSING: Json = {
    "conditions": [condition("Ready", "False", "SecretNotFound", "secret key"), condition("Reconciling", "True", "SecretNotFound")]
}


def asks(since: str) -> Json:
    ready = condition("Ready", "False", "AwaitingApproval")
    return {"phase": "AwaitingApproval", "conditions": [ready], "asks": [{"id": "a1", "call": "bash(git push)", "since": since}]}


ASKS = asks("2026-11-30T10:00:00Z")
BUSY: Json = {"conditions": [condition("Ready", "False", "Booting"), condition("Reconciling", "True", "Booting")]}


def told(key: Key, before: Json, after: Json, version: int = 7) -> list[Notice]:
    return news(key, "uid", standing(before, {}), standing(after, {}), version, 5.0)


@pytest.mark.parametrize(
    ("key", "before", "after", "types"),
    [
        (TASK, BUSY, DONE, ["task.finished"]),
        (TASK, DONE, DONE, []),
        (TASK, BUSY, BROKE, ["task.failed"]),
        (TASK, BUSY, WITHDRAWN, ["task.finished"]),
        (TASK, BUSY, ORPHANED, ["task.failed"]),
        (TASK, stalled("DependencyCycle"), BUSY, ["attention.over"]),
        (TASK, stalled("DependencyCycle"), BROKE, ["task.failed", "attention.over"]),
        (LT, {}, BUSY, []),
        (LT, BUSY, stalled("CrashLoop"), ["attention.needed"]),
        (LT, BUSY, MISSING, ["attention.needed"]),
        (LT, stalled("CrashLoop"), stalled("ModelRejected"), ["attention.needed"]),
        (LT, stalled("CrashLoop"), WELL, ["attention.over"]),
        (LT, WELL, {}, []),
        (TASK, BUSY, ASKS, ["attention.needed"]),
        (TASK, ASKS, ASKS, []),
        (TASK, ASKS, asks("2026-11-30T11:00:00Z"), ["attention.needed"]),
        (TASK, ASKS, BUSY, ["attention.over"]),
        (TASK, ASKS, DONE, ["task.finished", "attention.over"]),
    ],
)
def test_what_is_told_when_one_follows_the_other(key: Key, before: Json, after: Json, types: list[str]) -> None:
    assert [notice.type for notice in told(key, before, after)] == types


def test_the_same_news_has_the_same_id_and_other_news_another_one() -> None:
    once, again = told(LT, BUSY, stalled("CrashLoop"), 7), told(LT, {}, stalled("CrashLoop"), 9)
    assert once[0].id == again[0].id, "whatever came before, and in which write"
    ids = {
        one.id
        for found in (
            once,
            told(LT, BUSY, stalled("ModelRejected")),
            told(LT, BUSY, stalled("CrashLoop", "2026-11-30T11:00:00Z")),
            told(LT, stalled("CrashLoop"), WELL),
            news(LT, "other", {}, standing(stalled("CrashLoop"), {}), 7, 5.0),
        )
        for one in found
    }
    assert len(ids) == 5
    assert told(LT, stalled("CrashLoop"), WELL)[0].ends == once[0].id
    assert once[0].passing, "it may be over soon"
    assert not told(LT, stalled("CrashLoop"), stalled("ModelRejected"))[0].passing, "somebody was needed already"


def test_a_budget_is_told_when_it_is_warned_of_exceeded_and_kept_again() -> None:
    steps = ["Within", "Warned", "Exceeded", "Exceeded", "Within"]
    found: list[str] = []
    for number, (before, after) in enumerate(itertools.pairwise(steps)):
        was, now = standing(WELL, {"budget": before}), standing(WELL, {"budget": after})
        found += [f"{one.type} {one.reason}" for one in news(TREE, "uid", was, now, number, 0.0)]
    assert found == ["budget.warned BudgetWarned", "budget.exceeded BudgetExceeded", "budget.within BudgetExceeded"]


def test_breakers_are_told_when_they_open_and_close_and_not_when_they_are_tried() -> None:
    closed, opened = Breaker(), Breaker().failed("no room", 3.0)
    tried = opened.probe(40.0)
    (up,) = fleet_breaker_news(closed.dump(), opened.dump(), 3.0)
    assert (up.type, up.key, up.message) == ("breaker.opened", FLEET, "no room")
    assert fleet_breaker_news(opened.dump(), tried.dump(), 40.0) == []
    (down,) = fleet_breaker_news(tried.dump(), closed.dump(), 50.0)
    assert (down.type, down.ends) == ("breaker.closed", up.id)
    limited = {"scope-of-a-key-and-its-provider": ProviderBreaker("ProviderLimited", "429", 3.0)}
    (up,) = provider_breaker_news("", kept(limited), 3.0)
    (down,) = provider_breaker_news(kept(limited), "", 9.0)
    assert [(one.type, one.reason) for one in (up, down)] == [("breaker.opened", "ProviderLimited"), ("breaker.closed", "ProviderLimited")]
    assert down.ends == up.id


def test_what_ended_long_before_a_store_heard_of_it_is_no_news() -> None:
    (finished,) = told(TASK, {}, DONE)
    at = 1796032800.0
    assert not stale(finished, standing(DONE, {}), at + 60)
    assert stale(finished, standing(DONE, {}), at + 3700)
    (needed,) = told(LT, {}, stalled("CrashLoop"))
    assert not stale(needed, standing(stalled("CrashLoop"), {}), at + 1e6)


@pytest.mark.parametrize(
    ("wanted", "yes"),
    [
        (Filter(), True),
        (Filter(events=("attention",)), True),
        (Filter(events=("finished", "failed")), False),
        (Filter(kinds=("Lieutenant",)), True),
        (Filter(kinds=("Task",)), False),
        (Filter(namespaces=("team",)), True),
        (Filter(namespaces=("default",)), False),
        (Filter(reasons=("CrashLoop",)), True),
        (Filter(reasons=("DiskFull",)), False),
    ],
)
def test_filters(wanted: Filter, yes: bool) -> None:
    (needed,) = told(LT, BUSY, stalled("CrashLoop"))
    assert wanted.wants(needed) is yes


def test_what_concerns_the_fleet_is_told_whatever_the_namespace() -> None:
    (up,) = fleet_breaker_news("", Breaker().failed("no room", 3.0).dump(), 3.0)
    assert Filter(namespaces=("team",), kinds=("Task",)).wants(up)
    assert not Filter(events=("failed",)).wants(up)


def test_a_notice_is_read_as_it_was_written_and_nothing_else_is_one() -> None:
    (needed,) = told(LT, BUSY, stalled("CrashLoop"))
    assert Notice.load(needed.dump()) == needed
    for other in ("", "{}", "[]", "null", '{"key": 1}', needed.dump().replace("attention", "attentio"), needed.dump()[:-3]):
        assert Notice.load(other) is None


def test_a_notice_is_a_cloud_event() -> None:
    (over,) = told(LT, stalled("CrashLoop"), WELL)
    event = cloud_event(over, "inst", "prod")
    assert set(event) == {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"}
    assert event["specversion"] == "1.0"
    assert (event["type"], event["source"]) == ("sh.vers.fleet.attention.over", "/reconciler/prod/inst")
    assert event["subject"] == "team/lieutenant/api"
    assert event["data"]["ends"] == over.ends  # type: ignore[index,call-overload]
    json.dumps(event)
