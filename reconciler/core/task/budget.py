"""What becomes of a task when a budget is used up: its agent is told in the middle of the turn, then the turn is ended, each written down
first (G-29). A task that spends from somebody else's budget waits then and goes on by itself; one whose own budget is used up has failed.
Pure."""

from __future__ import annotations

from reconciler.api.governreasons import GovernReason
from reconciler.core.decisions import AbortTurn, Decision, Finish, HoldForBudget, NoteTaskSpending, TellOfBudget
from reconciler.core.snapshot.task import TaskView
from reconciler.core.spending.pool import state_of, words_of
from reconciler.core.task.view import ABORT_PATIENCE

ABORTED = "Budget"
"""Why a turn was ended, as the record of its task has it."""


def used_up(v: TaskView) -> bool:
    """Its own budget."""
    return v.budget is not None and state_of(v.budget, v.spent) == "Exceeded"


def over_its_budget(v: TaskView) -> Finish | None:
    """It has failed: all of its attempts together cost more than was allowed."""
    if v.budget is None or not used_up(v):
        return None
    return Finish("Failed", GovernReason.BUDGET_EXCEEDED, f"it has used up its own budget: {words_of(v.budget, v.spent)}")


def note_its_spending(v: TaskView) -> Decision | None:
    """G-29: how far a task's own budget is used up is told when it changes."""
    if v.budget is None or v.record.finished:
        return None
    state = state_of(v.budget, v.spent)
    return NoteTaskSpending(state, words_of(v.budget, v.spent)) if state != (v.record.budget or "Within") else None


def obey_the_budget(v: TaskView) -> Decision | None:
    """G-29: a turn that runs while a budget is used up is told so once; where that is declared it is ended,
    `limits.steerLandSeconds` later."""
    if v.record.phase != "Running" or v.talk is None or not v.talk.up or v.talk.settled:
        return None
    words = "this task has used up its own budget" if used_up(v) else v.over_budget.words if v.over_budget is not None else ""
    if not words or (v.record.abort and v.record.abort != ABORTED):
        return None
    if not v.record.budget_told:
        return TellOfBudget(words) if not v.other_steer else None
    ends = used_up(v) or (v.over_budget is not None and v.over_budget.ends_turns)
    patient = v.record.aborted_at + ABORT_PATIENCE if v.record.abort else v.record.budget_told + v.land_seconds
    return AbortTurn(ABORTED, words) if ends and v.now >= patient else None


def when_to_obey(v: TaskView) -> float | None:
    """When the next step of that is due."""
    if not v.record.budget_told or (not used_up(v) and (v.over_budget is None or not v.over_budget.ends_turns)):
        return None
    return v.record.aborted_at + ABORT_PATIENCE if v.record.abort == ABORTED else v.record.budget_told + v.land_seconds


def go_on_later(v: TaskView) -> Decision | None:
    """G-29: a turn that was cut short is not asked to go on while a budget is used up: the task waits, and spends no attempt."""
    if (failed := over_its_budget(v)) is not None:
        return failed
    return HoldForBudget(v.over_budget.words) if v.over_budget is not None else None
