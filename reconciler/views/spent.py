"""What was spent, by agent, tree, task, model or day: read from the pages of the store, so that it needs no controller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from reconciler.api.version import API_VERSION
from reconciler.core.keys import Json
from reconciler.core.spending.ledger import DAY, NOTHING, Entry, Page, Spent, day_of, pages
from reconciler.core.spending.prices import NO_TOKENS, Prices, Tokens
from reconciler.views.documents import USAGE

BY = ("lieutenant", "tree", "task", "model", "day")
"""What it may be told apart by."""
NONE = "-"
"""Stands for no tree, no task, and a model that pi did not name."""


@dataclass(frozen=True, slots=True)
class Line:
    """All that is in one group. `spent`: money where it is known; `tokens`: by sort; `answers`: of models."""

    namespace: str
    spent: Spent = NOTHING
    tokens: Tokens = NO_TOKENS
    answers: int = 0

    def with_(self, spent: Spent, tokens: Tokens = NO_TOKENS, answers: int = 0) -> Line:
        return Line(self.namespace, self.spent + spent, self.tokens + tokens, self.answers + answers)


def usage(meta: Mapping[str, str], prices: Prices, by: str, now: float, days: int, namespace: str | None) -> list[Json]:
    """One document for each group that spent anything in the last so many days, today included; the dearest first, days in order."""
    found: dict[tuple[str, str], Line] = {}
    for (where, agent), page in pages(meta):
        if not day_of(now) - days < page.day <= day_of(now) or (namespace is not None and where != namespace):
            continue
        for name, spent, tokens, answers in _told(agent, page, prices, by):
            group = where, name
            found[group] = found.get(group, Line(where)).with_(spent, tokens, answers)
    rows = sorted(found.items(), key=lambda row: row[0] if by == "day" else (-row[1].spent.cost, -row[1].spent.tokens, row[0]))
    return [_document(name, line) for (_, name), line in rows]


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


def _document(name: str, line: Line) -> Json:
    spent, tokens = line.spent, line.tokens
    status: Json = {
        "cost": money(spent.cost),
        "tokens": spent.tokens,
        "input": tokens.input,
        "output": tokens.output,
        "cacheRead": tokens.cache_read,
        "cacheWrite": tokens.cache_write,
        "answers": line.answers,
        "machineHours": f"{spent.seconds / 3600:.2f}",
        "costUnknown": spent.unpriced,
    }
    return {"apiVersion": API_VERSION, "kind": USAGE, "metadata": {"name": name, "namespace": line.namespace}, "status": status}


def money(cost: Decimal) -> str:
    """US dollars, all of it: rounded to a millionth, never in powers of ten."""
    return f"{cost:.6f}"
