"""Writing down how far budgets are used up, when machines rest, and how long they run."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, assert_never

from reconciler.api.governreasons import GovernReason
from reconciler.core.audit import REFUSED, Actor, Entry, refused
from reconciler.core.decisions import GovernAction, NoteHours, NoteRefusals, NoteRest, NoteSpending, NoteWake, Retire
from reconciler.core.lieutenant.rests import awake, rested
from reconciler.core.records import BudgetRecord, RefusedRecord
from reconciler.core.snapshot.agent import Refusal
from reconciler.core.spending.pool import REASONS
from reconciler.engine.act.context import ActContext
from reconciler.engine.ports import AddAudit
from reconciler.engine.state.objects import LieutenantItem
from reconciler.errors import ReconcilerError

RESTS = {"Idle": GovernReason.RESTING, "Budget": GovernReason.BUDGET_EXCEEDED}


class GovernActs:
    def __init__(self, context: ActContext) -> None:
        self.t = context

    async def act(self, item: LieutenantItem, action: GovernAction) -> None:
        """Carry out one decision, with the event that tells of it in the same transaction."""
        now = self.t.clock.now()
        match action:
            case NoteSpending(state, why):
                kind: Literal["Normal", "Warning"] = "Normal" if state == "Within" else "Warning"
                said = self.t.recorder.event(item.key, item.uid, REASONS[state], why, kind)
                await self.t.save(item, item.record.but(budget=BudgetRecord(state=state, since=now)), *said)
            case NoteRest(rest, why):
                reason = RESTS[rest] if rest else GovernReason.WOKEN
                said = self.t.recorder.event(item.key, item.uid, reason, f"its machine is suspended: {why}" if rest else why)
                await self.t.save(item, item.record.but(rest=rested(item.record.rest, rest, now)), *said)
            case NoteWake():
                await self.t.save(item, item.record.but(rest=awake(item.record.rest, now)))
            case NoteRefusals(run, number, told):
                words = self.t.redact("; ".join(one.words for one in told))[:1000]
                said = self.t.recorder.event(item.key, item.uid, GovernReason.REFUSED, words, "Warning")
                audit = [self.refusal(item, one, now) for one in told]
                await self.t.save(item, item.record.but(refused=RefusedRecord(run=run, number=number, at=now)), *said, *audit)
            case Retire():
                if not all(task.record.finished for task in self.t.table.tasks_of(item.key)):
                    return  # work came since this was planned
                why = "its tasks are done, and idle.postTask is Delete"
                if not await self.t.backend.undeclare(item.obj, {}, why):
                    await self.t.declarations.withdraw(item.key, why)
            case NoteHours(machine):
                await self.hours(item, machine, now)
            case _:
                assert_never(action)

    def refusal(self, item: LieutenantItem, one: Refusal, now: float) -> AddAudit:
        """Its entry in the audit."""
        told = refused(one.what, *(self.t.redact(words) for words in (one.told, one.rule, one.level)))
        return AddAudit(Entry(Actor("agent", item.key.name), REFUSED, item.key, item.uid, told, now), self.t.settings.audit_keep)

    async def hours(self, item: LieutenantItem, machine: str, now: float) -> None:
        """The time up to now is in the books, and the machine that runs from now on is known."""
        budgets = self.t.gatherer.budgets
        item = replace(item, record=self.t.current(item))
        counted = budgets.hours(item, machine, now)
        try:
            await self.t.save(item, item.record.but(spending=counted.record), *counted.rows(item.key))
        except ReconcilerError:
            budgets.doubt(item)
            raise
        budgets.put(item, counted, now)
