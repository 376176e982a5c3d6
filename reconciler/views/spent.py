"""What was spent, by agent, tree, task, model or day: read from the books, by whoever shows it, so that everybody shows the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from reconciler.api.version import API_VERSION
from reconciler.core.keys import Json, JsonValue
from reconciler.core.spending.books import Books
from reconciler.core.spending.ledger import BUCKET, DAY, NOTHING, Entry, Page, Spent
from reconciler.core.spending.ledger import DAYS as KEPT
from reconciler.core.spending.prices import NO_TOKENS, Prices, Tokens
from reconciler.views.documents import USAGE, Table

BY = ("lieutenant", "tree", "task", "model", "day")
"""What it may be told apart by."""
NONE = "-"
"""Stands for no tree, no task, and a model that pi did not name."""
DAYS = 30
"""What is shown where nothing else is asked for."""
NAMED = ("lieutenant", "tree", "task")
"""Names of these mean something within a namespace only."""


@dataclass(frozen=True, slots=True)
class Line:
    """All that is in one group. `spent`: money where it is known; `tokens`: by sort; `answers`: of models."""

    spent: Spent = NOTHING
    tokens: Tokens = NO_TOKENS
    answers: int = 0

    def with_(self, spent: Spent, tokens: Tokens = NO_TOKENS, answers: int = 0) -> Line:
        return Line(self.spent + spent, self.tokens + tokens, self.answers + answers)

    @property
    def cost(self) -> str:
        return money(self.spent.cost)

    @property
    def hours(self) -> str:
        """That machines ran while a budget bounded them."""
        return f"{self.spent.seconds / 3600:.2f}"

    @property
    def document(self) -> Json:
        """For programs."""
        return {
            "cost": self.cost,
            "tokens": self.spent.tokens,
            "input": self.tokens.input,
            "output": self.tokens.output,
            "cacheRead": self.tokens.cache_read,
            "cacheWrite": self.tokens.cache_write,
            "answers": self.answers,
            "machineHours": self.hours,
            "costUnknown": self.spent.unpriced,
        }


@dataclass(frozen=True, slots=True)
class Costs:
    """The sums of a fleet, by what they are told apart by; names of agents and trees with their namespace."""

    total: Line
    lieutenants: dict[str, Line]
    trees: dict[str, Line]
    models: dict[str, Line]
    days: dict[str, Line]

    def document(self) -> Json:
        def rows(lines: dict[str, Line]) -> JsonValue:
            return [{"name": name, **line.document} for name, line in lines.items()]

        return {
            "total": self.total.document,
            "byLieutenant": rows(self.lieutenants),
            "byTree": rows(self.trees),
            "byModel": rows(self.models),
            "byDay": rows(self.days),
        }


def usage(books: Books, by: str, days: int, namespace: str | None) -> list[Json]:
    """One document for each group that spent anything in the last so many days, today included; the dearest first, days in order."""
    found = lines(books, by, days, namespace)
    return [
        {"apiVersion": API_VERSION, "kind": USAGE, "metadata": {"name": name, "namespace": where}, "status": line.document}
        for (where, name), line in found.items()
    ]


def costs(books: Books, days: int = DAYS, namespace: str | None = None) -> Costs:
    """Of the last so many days, the newest day first."""

    def sums(by: str) -> dict[str, Line]:
        found: dict[str, Line] = {}
        for (where, name), line in lines(books, by, days, namespace).items():
            shown = f"{where}/{name}" if by in NAMED and name != NONE else name
            found[shown] = found.get(shown, Line()).with_(line.spent, line.tokens, line.answers)
        return found

    by_day = sums("day")
    total = Line()
    for line in by_day.values():
        total = total.with_(line.spent, line.tokens, line.answers)
    return Costs(total, sums("lieutenant"), sums("tree"), sums("model"), dict(sorted(by_day.items(), reverse=True)))


def of_agent(books: Books, namespace: str, name: str, days: int = DAYS) -> Line:
    """What this agent spent."""
    return lines(books, "lieutenant", days, namespace).get((namespace, name), Line())


def usage_table(books: Books, namespace: str, name: str) -> Table:
    """What this agent spent today, and in all days that are in the books."""
    rows = (("today", of_agent(books, namespace, name, 1)), (f"{KEPT} days", of_agent(books, namespace, name, KEPT)))
    told = ((when, line.cost + ("+" if line.spent.unpriced else ""), str(line.spent.tokens), line.hours) for when, line in rows)
    return Table(("IN", "US DOLLARS", "TOKENS", "MACHINE HOURS"), tuple(told))


def spent_since(books: Books, namespace: str, name: str, begun: float) -> Spent:
    """What this agent spent since then, in whole buckets, and for how long its machine ran."""
    found = NOTHING
    for agent, page in books.pages:
        if agent != (namespace, name):
            continue
        for entry in page.entries:
            found += entry.spent(books.prices) if entry.at + BUCKET > begun else NOTHING
        found += Spent(seconds=sum(max(0.0, run.ended - max(run.begun, begun)) for run in page.runs))
    return found


def lines(books: Books, by: str, days: int, namespace: str | None) -> dict[tuple[str, str], Line]:
    """By namespace and name of the group."""
    found: dict[tuple[str, str], Line] = {}
    for (where, agent), page in books.recent(days, namespace):
        for name, spent, tokens, answers in _told(agent, page, books.prices, by):
            group = where, name
            found[group] = found.get(group, Line()).with_(spent, tokens, answers)
    return dict(sorted(found.items(), key=lambda row: row[0] if by == "day" else (-row[1].spent.cost, -row[1].spent.tokens, row[0])))


def _told(agent: str, page: Page, prices: Prices, by: str) -> Iterable[tuple[str, Spent, Tokens, int]]:
    for entry in page.entries:
        yield _group(agent, page, entry, by), entry.spent(prices), entry.tokens, entry.answers
    if by not in ("task", "model"):  # a machine runs for none of them
        seconds = sum(run.ended - run.begun for run in page.runs)
        if seconds:
            yield _group(agent, page, Entry(page.day * DAY), by), Spent(seconds=seconds), NO_TOKENS, 0


def _group(agent: str, page: Page, entry: Entry, by: str) -> str:
    match by:
        case "tree":
            return page.tree.partition("/")[2] or NONE
        case "task":
            return entry.task or NONE
        case "model":
            return entry.model or NONE
        case "day":
            return datetime.fromtimestamp(page.day * DAY, UTC).date().isoformat()
        case _:
            return agent


def money(cost: Decimal) -> str:
    """US dollars, all of it: rounded to a millionth, never in powers of ten."""
    return f"{cost:.6f}"
