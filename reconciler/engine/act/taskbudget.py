"""What is written down, and told, of a task while a budget is used up: each step before it is taken (G-29)."""

from __future__ import annotations

from typing import assert_never

from reconciler.api.governreasons import GovernReason
from reconciler.core.decisions import HoldForBudget, NoteTaskSpending, TellOfBudget
from reconciler.core.snapshot.workset import WorkSet
from reconciler.core.spending.pool import REASONS
from reconciler.engine.act.escalation import EscalationActs
from reconciler.engine.act.turns import anew
from reconciler.engine.state.objects import LieutenantItem, TaskItem, with_record


class TaskBudgetActs:
    """`escalation`: how an agent is told in the middle of its turn."""

    def __init__(self, escalation: EscalationActs) -> None:
        self.escalation, self.t = escalation, escalation.t

    async def act(
        self, lieutenant: LieutenantItem, task: TaskItem, view: WorkSet, action: HoldForBudget | NoteTaskSpending | TellOfBudget
    ) -> None:
        """Carry out one decision."""
        now, t = self.t.clock.now(), self.t
        match action:
            case NoteTaskSpending(state, why):
                said = t.recorder.event(task.key, task.uid, REASONS[state], why, "Normal" if state == "Within" else "Warning")
                await t.table.update([(task.key, with_record(task.record.but(budget=state)))], *said)
            case HoldForBudget(why):
                said = t.recorder.event(task.key, task.uid, GovernReason.BUDGET_EXCEEDED, f"it waits: {why}", "Warning")
                record = anew(task.record, view).but(interrupted=True, message=why)
                await t.table.update([(task.key, with_record(record))], *said)
            case TellOfBudget(why):
                await self.escalation.tell_of_budget(lieutenant, task, view, why, now)
            case _:
                assert_never(action)
