"""What is in the books, and how windows begin and end."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.budget import Budget
from reconciler.core.lieutenant import budget as lieutenants
from reconciler.core.messages import Message, Usage
from reconciler.core.records import SpendingRecord
from reconciler.core.spending.ledger import (
    Entry,
    Page,
    Run,
    Spent,
    dump,
    entries_of,
    load,
    not_counted,
    since_then,
    spent_in,
    with_entries,
    with_run,
)
from reconciler.core.spending.pool import Pool, state_of
from reconciler.core.spending.prices import DEFAULT_PRICES, Prices, Tokens
from reconciler.core.spending.window import begins, ends
from reconciler.engine.state.ledgers import FLEET, Ledgers

MARK = "[task default/one attempt 1 abcd]"


def answer(offset: int, cost: str = "0.25", model: str = "acme/large") -> Message:
    return Message(f"m{offset}", offset, "assistant", "said", usage=Usage(10, 5, 2, 1, Decimal(cost)), model=model)


def asked(offset: int, text: str) -> Message:
    return Message(f"m{offset}", offset, "user", text)


def test_money_is_added_up_exactly() -> None:
    assert spent_in([answer(n, "0.1") for n in range(30)], Prices()).cost == Decimal(3)


def test_answers_are_told_apart_by_task_and_model() -> None:
    messages = [
        answer(1),
        asked(2, f"{MARK}\n\ndo"),
        answer(3),
        answer(4, model="acme/small"),
        asked(5, "[task x/y attempt 1 z] hm"),
        answer(6),
    ]
    entries, about = entries_of(messages, 1000.0, "before", {MARK: "one"})
    assert [(e.model, e.task, e.answers) for e in entries] == [
        ("acme/large", "before", 1), ("acme/large", "one", 2), ("acme/small", "one", 1),
    ]  # fmt: skip
    assert about == "one", "a marker that nobody knows, such as a steer's, changes nothing"
    assert {e.at for e in entries} == {900.0}


def test_what_another_conversation_had_is_not_counted_again() -> None:
    first, second = answer(10), answer(20)
    record = SpendingRecord(session="s", upto=10)
    assert not_counted(record, "s", [first, second], frozenset()) == [second]
    assert not_counted(record, "other", [first, second], frozenset({"m10"})) == [second]


def test_less_than_nothing_is_nothing() -> None:
    """An agent can write to its own conversation."""
    forged = Message("m", 1, "assistant", "", usage=Usage(-1000, -5, 0, 0, Decimal(-9)))
    assert spent_in([forged], Prices()) == Spent()


def test_a_model_without_a_cost_has_the_price_of_the_table_or_none() -> None:
    usage = Usage(1_000_000, 100_000, 0, 0, Decimal(0))
    known = Message("m", 1, "assistant", "", usage=usage, model="anthropic/claude-sonnet-4-5")
    assert spent_in([known], DEFAULT_PRICES).cost == Decimal("4.5")
    unknown = Message("m", 1, "assistant", "", usage=usage, model="acme/large")
    assert spent_in([unknown], DEFAULT_PRICES).unpriced == 1_100_000


pages = st.builds(
    Page,
    st.integers(0, 30000),
    st.sampled_from(["", "default/prod"]),
    st.lists(
        st.builds(
            Entry,
            st.integers(0, 50).map(lambda n: n * 300.0),
            st.text(max_size=5),
            st.text(max_size=5),
            st.decimals(0, 1000, allow_nan=False, places=6),
            st.builds(Tokens, *[st.integers(0, 9)] * 4),
            st.builds(Tokens, *[st.integers(0, 9)] * 4),
            st.integers(0, 9),
        ),
        max_size=5,
        unique_by=lambda e: (e.at, e.model, e.task),
    ).map(tuple),
    st.lists(st.builds(Run, st.floats(0, 10), st.floats(11, 20)), max_size=3).map(tuple),
)


@given(pages)
def test_a_page_is_read_as_it_was_written(page: Page) -> None:
    assert load(dump(page)) == page


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"day": 1}', '{"day":1,"tree":"","spent":[[1]],"runs":[]}'])
def test_what_is_no_page_is_none(text: str) -> None:
    assert load(text) is None


@given(pages, pages)
def test_what_a_page_has_more_adds_up_to_it(old: Page, more: Page) -> None:
    page = with_entries(old, more.entries)
    entries, _ = since_then(page, old)
    assert with_entries(old, entries) == page


def test_runs_that_follow_each_other_are_one() -> None:
    page = with_run(with_run(with_run(Page(0), Run(0, 10)), Run(10, 20)), Run(30, 40))
    assert page.runs == (Run(0, 20), Run(30, 40))


def test_a_clock_that_is_set_back_gives_nothing_back() -> None:
    ledgers = Ledgers(Prices())
    ledgers.put(("default", "api"), Page(1), entries_of([answer(1)], 90_000.0, "", {})[0])
    assert ledgers.spent(FLEET, 80_000.0 - 3600).tokens == 18
    assert ledgers.spent(FLEET, 90_300.0).tokens == 0


def at(zone: str, *when: int) -> float:
    return datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("calendar", "zone", "now", "begun", "over"),
    [
        ("Day", "UTC", (2026, 11, 30, 23, 59), (2026, 11, 30), (2026, 12, 1)),
        ("Day", "Europe/Berlin", (2026, 10, 25, 12), (2026, 10, 25), (2026, 10, 26)),
        ("Day", "America/New_York", (2026, 3, 8, 0), (2026, 3, 8), (2026, 3, 9)),
        ("Week", "UTC", (2026, 11, 29, 5), (2026, 11, 23), (2026, 11, 30)),
        ("Week", "UTC", (2026, 11, 30, 0), (2026, 11, 30), (2026, 12, 7)),
        ("Month", "Asia/Kolkata", (2026, 12, 31, 23), (2026, 12, 1), (2027, 1, 1)),
        ("Month", "UTC", (2028, 2, 29, 1), (2028, 2, 1), (2028, 3, 1)),
    ],
)
def test_windows_of_the_calendar(calendar: str, zone: str, now: tuple[int, ...], begun: tuple[int, ...], over: tuple[int, ...]) -> None:
    budget = Budget.model_validate({"calendar": calendar, "timeZone": zone})
    assert begins(budget, at(zone, *now)) == at(zone, *begun)
    assert ends(budget, at(zone, *now)) == at(zone, *over)


def test_a_day_with_a_change_of_the_clock_has_25_hours() -> None:
    budget, now = Budget.model_validate({"calendar": "Day", "timeZone": "Europe/Berlin"}), at("Europe/Berlin", 2026, 10, 25, 12)
    assert (ends(budget, now) or 0) - begins(budget, now) == 25 * 3600


def test_a_sliding_window_has_no_end() -> None:
    budget = Budget.model_validate({"windowSeconds": 60})
    assert (begins(budget, 1000.0), ends(budget, 1000.0)) == (940.0, None)
    assert datetime.fromtimestamp(0, UTC).year == 1970


@pytest.mark.guarantee("G-29")
def test_how_far_a_budget_is_used_up() -> None:
    budget = Budget.model_validate({"maxCost": "1.00", "maxTokens": 100, "warnAtPercent": 80})
    assert state_of(budget, Spent(Decimal("0.79"), 79)) == "Within"
    assert state_of(budget, Spent(Decimal("0.10"), 80)) == "Warned"
    assert state_of(budget, Spent(Decimal("1.00"), 1)) == "Exceeded"
    assert state_of(budget, Spent(Decimal("0.10"), 10, unpriced=1)) == "CostUnknown"


@pytest.mark.guarantee("G-29")
def test_what_is_set_aside_is_not_given_out_twice_and_the_last_turn_always_may_begin() -> None:
    budget = Budget.model_validate({"maxTokens": 100, "onExceeded": "DenyNew"})
    held = lieutenants.no_work([Pool("p", budget, Spent(tokens=70), Spent(tokens=30))])
    assert held is not None
    assert held.reason == "BudgetReserved"
    assert lieutenants.no_work([Pool("p", budget, Spent(tokens=70), Spent(tokens=29))]) is None
    assert lieutenants.no_work([Pool("p", budget, Spent(tokens=99))]) is None
