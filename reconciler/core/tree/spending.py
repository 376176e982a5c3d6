"""What the agents of a tree have spent, and what follows from it when the tree has a budget: one pool for all of them. Pure.

Measured from pi's own usage, which stands in the conversations: each message is counted once, by its place in its conversation, at the
time at which the controller read it; no machine's clock counts. Nothing is sent once the pool is used up, so it is overdrawn by no more
than the turns that are on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from reconciler.api.lieutenant import Budget, OnExceeded
from reconciler.core.messages import Message
from reconciler.core.records import SpendingRecord, SpentRecord

State = Literal["Within", "Warned", "Exceeded"]
BUCKET = 300.0
"""Seconds whose spending is kept as one figure."""
MOST_BUCKETS = 4000


@dataclass(frozen=True, slots=True)
class Spent:
    """`cost`: US dollars; `tokens`: in and out, cached ones too; `unpriced`: those for which pi told no cost."""

    cost: Decimal = Decimal(0)
    tokens: int = 0
    unpriced: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.cost + other.cost, self.tokens + other.tokens, self.unpriced + other.unpriced)


def spent_in(messages: Iterable[Message]) -> Spent:
    """What the answers among these messages cost."""
    cost, tokens, unpriced = Decimal(0), 0, 0
    for message in messages:
        if message.role != "assistant":
            continue
        used = message.usage
        some = used.input + used.output + used.cache_read + used.cache_write
        tokens += some
        cost += Decimal(str(used.cost))
        unpriced += some if not used.cost else 0
    return Spent(cost, tokens, unpriced)


def not_counted(record: SpendingRecord, session: str, messages: Iterable[Message]) -> list[Message]:
    """The messages of this conversation that are not in the record yet."""
    upto = record.upto if record.session == session else -1
    return [message for message in messages if message.offset > upto]


def counted(record: SpendingRecord, session: str, messages: Iterable[Message], now: float, window: float) -> SpendingRecord:
    """The record with these messages in it too, as spent now; what is older than the window is left out."""
    fresh = not_counted(record, session, messages)
    if not fresh:
        return record
    some, at = spent_in(fresh), now - now % BUCKET
    kept = [one for one in record.spent if one.at + BUCKET > now - window]
    if kept and kept[-1].at == at:
        last = kept.pop()
        some = some + Spent(Decimal(last.cost), last.tokens, last.unpriced)
    kept.append(SpentRecord(at=at, cost=str(some.cost), tokens=some.tokens, unpriced=some.unpriced))
    return record.but(session=session, upto=fresh[-1].offset, spent=tuple(kept[-MOST_BUCKETS:]))


def within(record: SpendingRecord, since: float) -> Spent:
    """What the record has of the time since then."""
    total = Spent()
    for one in record.spent:
        if one.at + BUCKET > since:
            total = total + Spent(Decimal(one.cost), one.tokens, one.unpriced)
    return total


def state_of(budget: Budget, spent: Spent) -> State:
    """How far the pool is used up."""
    shares: list[Decimal] = []
    if budget.max_cost is not None:
        most = Decimal(budget.max_cost)
        shares.append(Decimal(100) * spent.cost / most if most > 0 else Decimal(100))
    if budget.max_tokens is not None:
        shares.append(Decimal(100) * spent.tokens / budget.max_tokens)
    used = max(shares, default=Decimal(0))
    return "Exceeded" if used >= 100 else "Warned" if used >= budget.warn_at_percent else "Within"


def holds_work(budget: Budget, spent: Spent) -> bool:
    """Whether no more work may be sent: it is used up, and not only to be warned of."""
    return state_of(budget, spent) == "Exceeded" and budget.on_exceeded is not OnExceeded.WARN


def suspends(budget: Budget, spent: Spent) -> bool:
    """Whether the agents of the tree are suspended as long as it is used up."""
    return state_of(budget, spent) == "Exceeded" and budget.on_exceeded is OnExceeded.SUSPEND
