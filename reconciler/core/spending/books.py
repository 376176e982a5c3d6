"""What stands in the books of all agents, for whoever shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.core.spending.ledger import Page, pages
from reconciler.core.spending.prices import Prices


@dataclass(frozen=True, slots=True)
class Books:
    """`pages`: each with the namespace and name of its agent; `now`: when they were opened."""

    pages: tuple[tuple[tuple[str, str], Page], ...]
    prices: Prices
    now: float

    @classmethod
    def stored(cls, meta: Mapping[str, str], prices: Prices, now: float) -> Books:
        """As a store has them."""
        return cls(tuple(pages(meta)), prices, now)

    def recent(self, days: int, namespace: str | None) -> Iterable[tuple[tuple[str, str], Page]]:
        """Of the last so many days, today included. What was counted by a clock that was ahead is of today."""
        first = int(self.now // 86_400) - days
        return ((agent, page) for agent, page in self.pages if page.day > first and namespace in (None, agent[0]))
