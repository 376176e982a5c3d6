"""What was spent, as the books tell: the same rows for the command line, the page and programs."""

from __future__ import annotations

from decimal import Decimal

from reconciler.core.spending.books import Books
from reconciler.core.spending.ledger import DAY, Entry, Page, Run
from reconciler.core.spending.prices import Price, Tokens
from reconciler.views.spent import Line, costs, of_agent, usage

TODAY = 20_000
NOW = TODAY * DAY + 3600.0
KNOWN, UNKNOWN = "acme/large", "acme/new"


def page(day: int = TODAY, tree: str = "", model: str = KNOWN, task: str = "one", told: str = "0.1", **runs: float) -> Page:
    tokens = Tokens(input=10, output=5)
    unpriced = Tokens() if told else tokens
    ran = (Run(day * DAY, day * DAY + runs["seconds"]),) if runs else ()
    return Page(day, tree, (Entry(day * DAY, model, task, Decimal(told or 0), tokens, unpriced, 1),), ran)


def books(*found: tuple[str, str, Page], **prices: Price) -> Books:
    return Books(tuple(((namespace, name), one) for namespace, name, one in found), prices, NOW)


def test_a_fleet_is_summed_by_agent_tree_model_and_day() -> None:
    found = costs(
        books(("a", "lt", page(tree="a/prod")), ("b", "lt", page(TODAY - 1, model=UNKNOWN, told="")), ("a", "lt", page(TODAY - 40)))
    )
    assert (found.total.cost, found.total.spent.tokens, found.total.answers, found.total.spent.unpriced) == ("0.100000", 30, 2, 15)
    assert list(found.lieutenants) == ["a/lt", "b/lt"]
    assert list(found.trees) == ["a/prod", "-"]
    assert list(found.models) == [KNOWN, UNKNOWN]
    assert list(found.days) == ["2024-10-04", "2024-10-03"], "the newest first"


def test_the_command_line_and_the_page_say_the_same() -> None:
    every = books(("a", "lt", page()), ("a", "web", page(told="0.2", task="two")), ("a", "lt", page(TODAY - 3)))
    told = {str(doc["metadata"]["name"]): doc["status"] for doc in usage(every, "lieutenant", 30, None)}  # type: ignore[index, call-overload]
    assert told == {name.removeprefix("a/"): line.document for name, line in costs(every).lieutenants.items()}
    assert of_agent(every, "a", "lt") == costs(every).lieutenants["a/lt"]
    assert of_agent(every, "b", "lt") == Line()


def test_money_is_added_exactly() -> None:
    assert costs(books(*(("a", f"lt-{number}", page()) for number in range(3)))).total.cost == "0.300000"


def test_what_was_counted_by_a_clock_that_was_ahead_is_shown() -> None:
    assert costs(books(("a", "lt", page(TODAY + 2)))).total.answers == 1


def test_hours_of_machines_are_of_no_task_and_no_model() -> None:
    found = books(("a", "lt", page(seconds=5400.0)))
    assert costs(found).total.hours == "1.50"
    assert [doc["status"]["machineHours"] for by in ("task", "model") for doc in usage(found, by, 30, None)] == ["0.00"] * 2  # type: ignore[index, call-overload]
