"""What agents have spent, in memory: the pages of the store, added up for each budget that somebody may ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.core.keys import Key
from reconciler.core.spending.books import Books
from reconciler.core.spending.ledger import BUCKET, DAY, DAYS, NOTHING, Entry, Page, Run, Spent, day_of, pages, since_then
from reconciler.core.spending.prices import Prices

Agent = tuple[str, str]
"""Namespace and name."""
FLEET = "fleet"
MOST_BUCKETS = DAYS * 288 + 288
MOST_RUNS = 20_000
MOST_TASKS = 2000
MOST_WINDOWS = 64
"""What is kept in memory of one place: a little more than any window needs; of tasks, the last ones."""


@dataclass
class Sum:
    """What all that is counted in one place has spent, by the time at which it was counted."""

    buckets: dict[float, Spent] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    _known: dict[float, Spent] = field(default_factory=dict)

    def add(self, entry: Entry, prices: Prices) -> None:
        if entry.at not in self.buckets and len(self.buckets) >= MOST_BUCKETS:
            since = entry.at - DAYS * DAY
            self.buckets = {at: spent for at, spent in self.buckets.items() if at >= since}
        self.buckets[entry.at] = self.buckets.get(entry.at, NOTHING) + entry.spent(prices)
        self._known.clear()

    def ran(self, run: Run) -> None:
        if len(self.runs) >= MOST_RUNS:
            self.runs = [old for old in self.runs if old.ended >= run.ended - DAYS * DAY]
        self.runs.append(run)
        self._known.clear()

    def within(self, since: float) -> Spent:
        """Of the time since then. A bucket that the edge goes through counts as a whole; what is told of later than now counts too, so
        that a clock which is set back gives nothing back."""
        edge = since // BUCKET * BUCKET
        known = self._known.get(edge)
        if known is None:
            known = NOTHING
            for at, spent in self.buckets.items():
                if at >= edge:
                    known = known + spent
            seconds = sum(run.ended - max(run.begun, edge) for run in self.runs if run.ended > edge)
            if len(self._known) >= MOST_WINDOWS:
                self._known.clear()
            known = self._known[edge] = known + Spent(seconds=seconds)
        return known


class Ledgers:
    """`prices`: of models for which pi tells no cost."""

    def __init__(self, prices: Prices) -> None:
        self.prices = prices
        self._pages: dict[Agent, dict[int, Page]] = {}
        self._sums: dict[str, Sum] = {}
        self._tasks: dict[Agent, dict[str, Spent]] = {}

    def fill(self, meta: Mapping[str, str], now: float) -> None:
        """Take what the store holds; what is older than any window is passed over."""
        for agent, page in pages(meta):
            if page.day > day_of(now) - DAYS:
                self._take(agent, page, page.entries, page.runs)

    def books(self, now: float) -> Books:
        """All that is in them."""
        return Books(tuple((agent, page) for agent, kept in self._pages.items() for page in kept.values()), self.prices, now)

    def page(self, agent: Agent, day: int, tree: str) -> Page:
        """The page of this day as it is now, maybe an empty one."""
        return self._pages.get(agent, {}).get(day) or Page(day, tree)

    def put(self, agent: Agent, page: Page, entries: Iterable[Entry], runs: Iterable[Run] = ()) -> None:
        """The page from now on; `entries`, `runs`: what is new in it."""
        self._take(agent, page, entries, runs)

    def catch_up(self, agent: Agent, page: Page) -> None:
        """The store has this page: a write of unknown outcome was carried out, or another page was."""
        entries, runs = since_then(page, self.page(agent, page.day, page.tree))
        self._take(agent, page, entries, runs)

    def spent(self, place: str, since: float) -> Spent:
        """What is counted there since then: `FLEET`, a tree (`tree_place`) or an agent (`agent_place`)."""
        found = self._sums.get(place)
        return found.within(since) if found is not None else NOTHING

    def of_task(self, agent: Agent, task: str) -> Spent:
        """What is in the books for a task."""
        return self._tasks.get(agent, {}).get(task, NOTHING)

    def most_of_a_task(self, agent: Agent) -> Spent:
        """The most that one of its tasks cost in money, and in tokens: what the next one is expected to."""
        known = self._tasks.get(agent, {}).values()
        return Spent(max((one.cost for one in known), default=NOTHING.cost), max((one.tokens for one in known), default=0))

    def _take(self, agent: Agent, page: Page, entries: Iterable[Entry], runs: Iterable[Run]) -> None:
        kept = self._pages.setdefault(agent, {})
        kept[page.day] = page
        for old in [day for day in kept if day <= page.day - DAYS]:
            del kept[old]
        sums = [self._sums.setdefault(place, Sum()) for place in (FLEET, agent_place(agent), tree_place(page.tree)) if place]
        tasks = self._tasks.setdefault(agent, {})
        for entry in entries:
            for one in sums:
                one.add(entry, self.prices)
            if entry.task:
                if entry.task not in tasks and len(tasks) >= MOST_TASKS:
                    del tasks[next(iter(tasks))]
                tasks[entry.task] = tasks.get(entry.task, NOTHING) + entry.spent(self.prices)
        for run in runs:
            for one in sums:
                one.ran(run)


def agent_place(agent: Agent) -> str:
    return f"agent {agent[0]}/{agent[1]}"


def tree_place(tree: str) -> str:
    return f"tree {tree}" if tree else ""


def agent_of(key: Key) -> Agent:
    return key.namespace, key.name
