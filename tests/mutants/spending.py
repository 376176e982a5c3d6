"""Mutants of budgets, of the books, and of rests."""

from __future__ import annotations

from pathlib import Path

from reconciler.core.lieutenant import budget, rest
from reconciler.core.spending import ledger
from reconciler.core.task import budget as taskbudget
from reconciler.engine.observe.budgets import Budgets
from reconciler.engine.state.declarations import Declarations
from tests.core import test_spending
from tests.engine import test_audit, test_budget, test_idle
from tests.mutants.mutant import Mutant


def what_is_set_aside(_: Path) -> None:
    test_spending.test_what_is_set_aside_is_not_given_out_twice_and_the_last_turn_always_may_begin()


def a_suspension_that_is_overtaken(path: Path) -> None:
    test_idle.test_a_task_that_arrives_while_it_is_being_suspended_wakes_it(0.03, False, path)


SPENDING_MUTANTS: tuple[Mutant, ...] = (
    Mutant("fork-billed", "G-33: a live copy does not count what its original spent", Budgets, "count",
           "if not record.session and item.record.slot.branch.size:", "if False:",
           test_budget.test_a_fork_does_not_count_what_its_original_spent),
    Mutant("billed-twice", "G-29: an answer is in the books once", ledger, "not_counted",
           "if message.entry_id not in inherited", "",
           test_budget.test_nothing_is_lost_or_counted_twice_over_restarts_sessions_and_rewinds),
    Mutant("nothing-set-aside", "G-29: a pool is overdrawn by no more than the turns that are on", budget, "no_work",
           "or reserved == NOTHING", "or True", what_is_set_aside),
    Mutant("never-cut", "G-29: a turn that overspends is ended where that is declared", taskbudget, "obey_the_budget",
           "if ends and v.now >= patient", "if False", test_budget.test_a_turn_that_overspends_is_told_then_ended_and_goes_on_later),
    Mutant("wake-lost", "a task wakes what rests", rest, "wanted",
           "if v.idle.wanted and v.idle.wake_on_task:", "if False:", a_suspension_that_is_overtaken),
    Mutant("change-without-entry", "a change has its entry", Declarations, "annotate",
           ", *asked)", ")", test_audit.test_who_declared_changed_cancelled_and_deleted_what),
)  # fmt: skip
