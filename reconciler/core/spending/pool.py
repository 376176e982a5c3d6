"""How far budgets are used up, and what that allows (G-29). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from reconciler.api.budget import Budget, OnExceeded, TaskBudget
from reconciler.api.governreasons import GovernReason
from reconciler.core.spending.ledger import NOTHING, Spent

State = Literal["Within", "Warned", "CostUnknown", "Exceeded"]

SEVERITY = (OnExceeded.WARN, OnExceeded.DENY_NEW, OnExceeded.ABORT, OnExceeded.SUSPEND)
"""What a budget may come to, the mildest first."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One budget that an agent spends from. `whose`: in words; `own`: the agent tells of it, not somebody else. `spent`: within its window;
    `reserved`: what turns that are on are expected to spend beyond that, those of this agent not counted; `ends`: when its window begins
    anew."""

    whose: str
    budget: Budget
    spent: Spent = NOTHING
    reserved: Spent = NOTHING
    ends: float | None = None
    own: bool = True

    @property
    def state(self) -> State:
        return state_of(self.budget, self.spent)

    @property
    def holds(self) -> bool:
        """No more work may be sent. An unknown cost holds it where nothing else bounds what is spent."""
        if self.budget.on_exceeded is OnExceeded.WARN:
            return False
        return self.state == "Exceeded" or (self.state == "CostUnknown" and self.budget.max_tokens is None)


def state_of(budget: Budget | TaskBudget, spent: Spent) -> State:
    """How far it is used up."""
    used = share(budget, spent)
    if used >= 100:
        return "Exceeded"
    if budget.max_cost is not None and spent.unpriced:
        return "CostUnknown"
    return "Warned" if used >= budget.warn_at_percent else "Within"


def share(budget: Budget | TaskBudget, spent: Spent) -> Decimal:
    """Percent of it that is used up: of that limit which is nearest."""
    shares: list[Decimal] = []
    if budget.max_cost is not None:
        most = Decimal(budget.max_cost)
        shares.append(Decimal(100) * spent.cost / most if most > 0 else Decimal(100))
    if budget.max_tokens is not None:
        shares.append(Decimal(100) * spent.tokens / budget.max_tokens)
    if isinstance(budget, Budget) and budget.max_machine_hours is not None:
        shares.append(Decimal(100) * Decimal(int(spent.seconds)) / (budget.max_machine_hours * 3600))
    return max(shares, default=Decimal(0))


def words_of(budget: Budget | TaskBudget, spent: Spent) -> str:
    """How much of it is spent, for an event."""
    parts = [f"{spent.cost:.4f} of {budget.max_cost} US dollars"] if budget.max_cost is not None else []
    parts += [f"{spent.tokens} of {budget.max_tokens} tokens"] if budget.max_tokens is not None else []
    if isinstance(budget, Budget):
        most = budget.max_machine_hours
        parts += [f"{spent.seconds / 3600:.1f} of {most} machine hours"] if most is not None else []
    parts += [f"the cost of {spent.unpriced} tokens is not known"] if spent.unpriced and budget.max_cost is not None else []
    return ", ".join(parts)


REASONS: dict[State, GovernReason] = {
    "Within": GovernReason.BUDGET_WITHIN,
    "Warned": GovernReason.BUDGET_WARNED,
    "CostUnknown": GovernReason.COST_UNKNOWN,
    "Exceeded": GovernReason.BUDGET_EXCEEDED,
}


def strictest(pools: Iterable[Pool]) -> Pool | None:
    """Of the pools that hold work, the one that asks for most; None: none does."""
    holding = [pool for pool in pools if pool.holds]
    return max(holding, key=lambda pool: SEVERITY.index(pool.budget.on_exceeded), default=None)


def ends_turns(pool: Pool) -> bool:
    """Turns that are on are ended."""
    return pool.state == "Exceeded" and pool.budget.on_exceeded in (OnExceeded.ABORT, OnExceeded.SUSPEND)


def suspends(pool: Pool) -> bool:
    """Its agents are suspended as long as it is used up."""
    return pool.state == "Exceeded" and pool.budget.on_exceeded is OnExceeded.SUSPEND


def held_words(pool: Pool) -> str:
    if pool.state == "CostUnknown":
        return f"{pool.whose} is in US dollars, and the cost of some answers is not known"
    return f"{pool.whose} is used up"


def told_state(pools: Iterable[Pool]) -> State:
    """The worst of the pools that the agent itself tells of."""
    order: tuple[State, ...] = ("Within", "Warned", "CostUnknown", "Exceeded")
    return max((pool.state for pool in pools if pool.own), key=order.index, default="Within")
