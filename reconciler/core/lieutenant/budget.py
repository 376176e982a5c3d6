"""What a lieutenant does about its budgets (G-29): it tells how far they are used up, and what it waits for. What
becomes of tasks stands in `core/task/budget.py`. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.api.budget import OnExceeded
from reconciler.api.governreasons import GovernReason
from reconciler.core.decisions import Decision, NoteSpending, Refuse, Wait
from reconciler.core.snapshot.slot import Held
from reconciler.core.snapshot.stages import GovernPart, SlotPart
from reconciler.core.spending.ledger import NOTHING, Spent
from reconciler.core.spending.pool import REASONS, Pool, held_words, share, strictest, told_state, words_of


def no_work(pools: Iterable[Pool]) -> Held | None:
    """Why nothing may be sent now. What turns that are on are expected to spend is set aside before another one begins, so that a pool is
    overdrawn by no more than those turns."""
    pools = tuple(pools)
    pool = strictest(pools)
    if pool is not None:
        return Held(REASONS[pool.state], held_words(pool))
    for pool in pools:
        reserved = pool.reserved
        if pool.budget.on_exceeded is OnExceeded.WARN or reserved == NOTHING:
            continue
        if share(pool.budget, Spent(pool.spent.cost + reserved.cost, pool.spent.tokens + reserved.tokens, 0, pool.spent.seconds)) >= 100:
            return Held(GovernReason.BUDGET_RESERVED, f"what is left of {pool.whose} is set aside for turns that are on")
    return None


def note_the_spending(v: SlotPart) -> Decision | None:
    """G-29: how far a budget is used up is told when it changes, and before anything else follows from it."""
    state = told_state(v.pools) if v.pools else "Within"
    if v.slot.observe_only or state == v.lt.record.budget.state:
        return None
    whose = next((pool for pool in v.pools if pool.own and pool.state == state), None)
    return NoteSpending(state, f"{whose.whose}: {words_of(whose.budget, whose.spent)}" if whose is not None else "no budget is declared")


def report_the_budget(v: GovernPart) -> Wait | Refuse | None:
    """G-29: while a budget is used up nothing is sent; it goes on by itself when its window has moved on or it is raised."""
    pool = strictest(pool for pool in v.pools if pool.own)
    if pool is None:
        return None
    if pool.state == "CostUnknown":
        return Refuse(GovernReason.COST_UNKNOWN, held_words(pool))
    return Wait(GovernReason.BUDGET_EXCEEDED, held_words(pool), until=pool.ends)


def budget_reason(decision: Decision) -> bool:
    """The agent is as declared; only its budget is used up, which is a matter of each task's delivery."""
    match decision:
        case Wait(GovernReason.BUDGET_EXCEEDED) | Refuse(GovernReason.COST_UNKNOWN):
            return True
        case _:
            return False
