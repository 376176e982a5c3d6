"""What an agent has spent, in pages of one day each, as they are stored. Pure.

Measured from pi's own usage, which stands in the conversations: each answer is counted once, by its place in its conversation, at the time
at which the controller read it; no machine's clock counts. A page belongs to the name of the agent: deleting the agent and declaring it
again does not give back what was spent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from reconciler.core.keys import Key
from reconciler.core.messages import PAID, Message, Usage
from reconciler.core.spending.prices import NO_TOKENS, Prices, Tokens

if TYPE_CHECKING:  # who only reads the books needs no records
    from reconciler.core.records import SpendingRecord

BUCKET = 300.0
"""Seconds whose spending is kept as one figure."""
DAY = 86_400.0
DAYS = 40
"""So many pages an agent has; the window of a budget is shorter."""
MOST_ENTRIES = 2000
"""Of one page; beyond that, answers are not told apart by task any more, and then not by model."""
MODEL = 128
USAGE = "usage/"
"""How the names of pages begin in the store."""

_MARKER = re.compile(r"\[task [^\]\n]{1,400}\]")


@dataclass(frozen=True, slots=True)
class Spent:
    """`cost`: US dollars; `tokens`: in and out, cached ones too; `unpriced`: those of which nobody knows the cost; `seconds`: that machines
    ran."""

    cost: Decimal = Decimal(0)
    tokens: int = 0
    unpriced: int = 0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.cost + other.cost, self.tokens + other.tokens, self.unpriced + other.unpriced, self.seconds + other.seconds)


NOTHING = Spent()


@dataclass(frozen=True, slots=True)
class Entry:
    """Answers of one model for one task ('' for none) in the bucket that begins at `at`. `told`: what pi says they cost; `unpriced`:
    those of `tokens` for which it said nothing."""

    at: float
    model: str = ""
    task: str = ""
    told: Decimal = Decimal(0)
    tokens: Tokens = NO_TOKENS
    unpriced: Tokens = NO_TOKENS
    answers: int = 0

    def __add__(self, other: Entry) -> Entry:
        return replace(
            self,
            told=self.told + other.told,
            tokens=self.tokens + other.tokens,
            unpriced=self.unpriced + other.unpriced,
            answers=self.answers + other.answers,
        )

    def spent(self, prices: Prices) -> Spent:
        """What is known of its cost."""
        price = prices.get(self.model)
        if price is None:
            return Spent(self.told, self.tokens.total, self.unpriced.total)
        return Spent(self.told + price.of(self.unpriced), self.tokens.total)


@dataclass(frozen=True, slots=True)
class Run:
    """The machine ran from then to then."""

    begun: float
    ended: float


@dataclass(frozen=True, slots=True)
class Page:
    """One day of one agent. `tree`: NAMESPACE/NAME of the tree that it was of."""

    day: int
    tree: str = ""
    entries: tuple[Entry, ...] = ()
    runs: tuple[Run, ...] = ()


def day_of(now: float) -> int:
    return int(now // DAY)


def name_of(agent: Key, day: int) -> str:
    """Under which name the store keeps a page: the names come round, so that there are never more than `DAYS`."""
    return f"{USAGE}{agent.namespace}/{agent.name}/{day % DAYS}"


def agent_of(name: str) -> tuple[str, str]:
    """Namespace and name of the agent whose page it is."""
    namespace, _, rest = name.removeprefix(USAGE).partition("/")
    return namespace, rest.rpartition("/")[0]


# --- counting ---------------------------------------------------------------------------------------------------------------------


def not_counted(record: SpendingRecord, session: str, messages: Iterable[Message], inherited: frozenset[str]) -> list[Message]:
    """The messages of this conversation that are not in the books. `inherited`: those that another conversation, which this one goes on
    with, had: they were counted there."""
    if record.session == session:
        return [message for message in messages if message.offset > record.upto]
    return [message for message in messages if message.entry_id not in inherited]


def entries_of(messages: Iterable[Message], now: float, task: str, markers: Mapping[str, str]) -> tuple[tuple[Entry, ...], str]:
    """The answers among these messages, and the task that the last one is about. `task`: the one that the first is about; `markers`: tasks
    by the marker of their prompts."""
    found: dict[tuple[str, str], Entry] = {}
    at = now - now % BUCKET
    for message in messages:
        if message.role == "user":
            marker = _MARKER.match(message.text)
            task = markers.get(marker.group(), task) if marker is not None else task
        elif message.role in ("assistant", PAID):
            used = tokens_of(message.usage)
            told = max(message.usage.cost, Decimal(0))
            entry = Entry(at, message.model[:MODEL], task, told, used, Tokens() if told else used, int(message.role != PAID))
            known = found.get((entry.model, entry.task))
            found[entry.model, entry.task] = known + entry if known is not None else entry
    return tuple(found.values()), task


def tokens_of(usage: Usage) -> Tokens:
    """As pi tells them; it may be the machine that says less than nothing."""
    return Tokens(max(usage.input, 0), max(usage.output, 0), max(usage.cache_read, 0), max(usage.cache_write, 0))


def spent_in(messages: Iterable[Message], prices: Prices) -> Spent:
    """What the answers among these messages cost."""
    entries, _ = entries_of(messages, 0.0, "", {})
    total = NOTHING
    for entry in entries:
        total = total + entry.spent(prices)
    return total


def with_entries(page: Page, entries: Iterable[Entry]) -> Page:
    """The page with these in it too."""
    kept = {(entry.at, entry.model, entry.task): entry for entry in page.entries}
    for entry in entries:
        if len(kept) >= MOST_ENTRIES and (entry.at, entry.model, entry.task) not in kept:
            entry = replace(entry, task="")
        if len(kept) >= MOST_ENTRIES + 288 * 8 and (entry.at, entry.model, entry.task) not in kept:
            entry = replace(entry, model="")
        place = entry.at, entry.model, entry.task
        kept[place] = kept[place] + entry if place in kept else entry
    return replace(page, entries=tuple(kept.values()))


def with_run(page: Page, run: Run) -> Page:
    """The page with this run in it too; it is of the day on which it ended."""
    runs = page.runs
    if runs and (runs[-1].ended == run.begun or len(runs) >= MOST_ENTRIES):  # whoever suspends so often counts as running in between
        runs, run = runs[:-1], Run(runs[-1].begun, run.ended)
    return replace(page, runs=(*runs, run))


# --- as stored --------------------------------------------------------------------------------------------------------------------


def dump(page: Page) -> str:
    """As it is kept."""
    told = [[e.at, e.model, e.task, str(e.told), _plain(e.tokens), _plain(e.unpriced), e.answers] for e in page.entries]
    runs = [[run.begun, run.ended] for run in page.runs]
    return json.dumps({"day": page.day, "tree": page.tree, "spent": told, "runs": runs}, separators=(",", ":"))


def load(text: str) -> Page | None:
    """What `dump` wrote; None for anything else."""
    try:
        told = json.loads(text) if text else None
        if told is None:
            return None
        entries = tuple(
            Entry(float(at), str(model), str(task), Decimal(cost), Tokens(*map(int, tokens)), Tokens(*map(int, unpriced)), int(answers))
            for at, model, task, cost, tokens, unpriced, answers in told["spent"]
        )
        runs = tuple(Run(float(begun), float(ended)) for begun, ended in told["runs"])
        return Page(int(told["day"]), str(told["tree"]), entries, runs)
    except (ValueError, TypeError, KeyError, InvalidOperation):
        return None


def pages(meta: Mapping[str, str]) -> Iterator[tuple[tuple[str, str], Page]]:
    """All of them, each with the namespace and name of its agent."""
    for name, text in meta.items():
        if name.startswith(USAGE) and (page := load(text)) is not None:
            yield agent_of(name), page


def since_then(page: Page, old: Page) -> tuple[tuple[Entry, ...], tuple[Run, ...]]:
    """What a page has beyond an older state of it."""
    known = {(entry.at, entry.model, entry.task): entry for entry in old.entries}
    entries = tuple(
        entry if (before := known.get((entry.at, entry.model, entry.task))) is None else _less(entry, before)
        for entry in page.entries
        if known.get((entry.at, entry.model, entry.task)) != entry
    )
    ended = max((run.ended for run in old.runs), default=0.0)
    return entries, tuple(Run(max(run.begun, ended), run.ended) for run in page.runs if run.ended > ended)


def _less(entry: Entry, other: Entry) -> Entry:
    return replace(
        entry,
        told=entry.told - other.told,
        tokens=_minus(entry.tokens, other.tokens),
        unpriced=_minus(entry.unpriced, other.unpriced),
        answers=entry.answers - other.answers,
    )


def _minus(a: Tokens, b: Tokens) -> Tokens:
    return Tokens(a.input - b.input, a.output - b.output, a.cache_read - b.cache_read, a.cache_write - b.cache_write)


def _plain(tokens: Tokens) -> list[int]:
    return [tokens.input, tokens.output, tokens.cache_read, tokens.cache_write]
