"""The description of one object."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

from reconciler.cli.describe import lines
from reconciler.core.records import LieutenantRecord, SessionRecord
from reconciler.core.spending.books import Books
from reconciler.core.spending.ledger import DAY, Entry, Page, Run
from reconciler.core.spending.prices import Prices, Tokens
from reconciler.engine.ports import Event
from reconciler.views.describe import LAST_OUTPUT, Section, describe
from reconciler.views.documents import Table
from tests.views.doubles import Mirrors, stored

SINCE = "1970-01-01T00:00:30Z"
ADA = replace(
    stored(
        "Lieutenant",
        "ada",
        {"role": "Keep it"},
        {
            "phase": "Idle",
            "observedGeneration": 1,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "all is\nwell", "lastTransitionTime": SINCE}],
            "vm": {"id": "x"},
        },
        LieutenantRecord(session=SessionRecord(name="s")).dump(),
    ),
    labels={"a": "b", "c": "d"},
    source="file",
    origin="ada.yaml:1",
)
MINE = stored(
    "Task", "mine", {"lieutenantRef": {"name": "ada"}}, {"conditions": [{"type": "Ready", "status": "False", "reason": "Queued"}]}
)
OTHER = stored("Task", "other", {"lieutenantRef": {"name": "bob"}})
SAID = json.dumps({"type": "message", "id": "1", "message": {"role": "assistant", "content": "x" * 2500}}).encode() + b"\n"
EVENTS = [Event(ADA.key, ADA.uid, "Normal", f"R{n}", "one\x1b\ntwo", float(n), n) for n in range(1, 30)]


async def test_a_lieutenant_with_its_work_its_words_and_its_events() -> None:
    found = await describe(Mirrors([ADA, MINE, OTHER], {"s": SAID}, EVENTS), ADA, 90.0)
    assert dict(found.fields) == {
        "Name": "ada",
        "Namespace": "team",
        "Kind": "Lieutenant",
        "UID": "uid-ada",
        "Declared by": "file ada.yaml:1",
        "Generation": "1",
        "Created": "1970-01-01T00:00:00Z (90s ago)",
        "Labels": "a=b, c=d",
        "Phase": "Idle",
    }
    sections = {section.title: section.body for section in found.sections}
    assert list(sections) == ["Spec", "Conditions", "Status", "Tasks", "Last output", "Events"]
    assert sections["Spec"] == {"role": "Keep it"}
    assert sections["Conditions"] == Table(
        ("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), (("Ready", "True", "Ready", SINCE, "all is well"),)
    )
    assert sections["Status"] == {"vm": {"id": "x"}}
    assert sections["Tasks"] == Table(("NAME", "PHASE", "REASON"), (("mine", "Pending", "Queued"),))
    assert sections["Last output"] == "x" * LAST_OUTPUT
    events = sections["Events"]
    assert isinstance(events, Table)
    assert [row[2] for row in events.rows] == [f"R{n}" for n in range(10, 30)]
    assert events.rows[0] == ("1970-01-01T00:00:10Z", "Normal", "R10", "1", "one\\x1b two")


async def test_a_lieutenant_with_what_it_spent_and_how_far_its_budget_is_used() -> None:
    ada = replace(ADA, spec={"role": "Keep it", "profileRef": {"name": "lightweight"}, "budget": {"maxCost": "1"}})
    today, before = 20_000, 19_990
    pages = tuple(
        (
            ("team", name),
            Page(day, "", (Entry(day * DAY, "m", "", Decimal(cost), Tokens(10, 5), answers=1),), (Run(day * DAY, day * DAY + 1800),)),
        )
        for name, day, cost in (("ada", today, "0.25"), ("ada", before, "0.5"), ("bob", today, "7"))
    )
    found = await describe(Mirrors([ada]), ada, 90.0, Books(pages, Prices(), today * DAY + 3600))
    sections = {section.title: section.body for section in found.sections}
    assert list(sections)[-3:] == ["Usage", "Budget", "Events"]
    header, rows = (
        ("IN", "US DOLLARS", "TOKENS", "MACHINE HOURS"),
        (("today", "0.250000", "15", "0.50"), ("40 days", "0.750000", "30", "1.00")),
    )
    assert sections["Usage"] == Table(header, rows)
    assert sections["Budget"] == "used in its window: 0.2500 of 1 US dollars"


async def test_an_object_that_nobody_reconciled_yet() -> None:
    found = await describe(Mirrors([]), stored("Task", "t", {"prompt": "x"}), 0.0)
    assert found.sections == (
        Section("Spec", {"prompt": "x"}),
        Section("Conditions", "none yet: no controller has looked at it"),
        Section("Events", "none"),
    )
    assert list(lines(found))[-5:] == ["  prompt: x", "Conditions:", "  none yet: no controller has looked at it", "Events:", "  none"]
