"""An agent is told again what it was told at its beginning, once its conversation was shortened: written down before it is said, and
seen in the conversation afterwards (G-27)."""

from __future__ import annotations

from reconciler.api.governreasons import GovernReason
from reconciler.core.decisions import Remind
from reconciler.core.lieutenant.reminder import in_a_prompt, in_a_turn, to_be_said
from reconciler.core.records import ReminderRecord
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.workset import WorkSet
from reconciler.engine.act.sending import Sending
from reconciler.engine.act.taskrules import rules_in_its_turn
from reconciler.engine.state.objects import LieutenantItem, TaskItem, session_of


class ReminderActs:
    """`sending`: how prompts reach pi."""

    def __init__(self, sending: Sending) -> None:
        self.s, self.t = sending, sending.t

    def said(self, view: WorkSet) -> str:
        """What is said again. All that is told at the beginning of a conversation and may be lost in it belongs here."""
        rendered = view.lieutenant.rendered if view.lieutenant is not None else None
        return rendered.reminder if isinstance(rendered, Rendered) else ""

    async def in_the_turn(self, lieutenant: LieutenantItem, task: TaskItem, view: WorkSet, action: Remind) -> None:
        """Under one key for each shortening: the keeper forwards it once, however often it is offered."""
        await self.begin(lieutenant, action.compaction, "in the middle of its turn")
        text = f"{task.record.marker} reminder\n\n{in_a_turn(action.compaction, self.said(view))}"
        rules = rules_in_its_turn(view, task.key.name)
        await self.s.send(lieutenant, f"{task.uid}:{session_of(lieutenant).name}:r{action.compaction}", text, rules, steer=True)

    async def in_the_prompt(self, lieutenant: LieutenantItem, view: WorkSet) -> str:
        """The words at the head of the prompt that is about to be sent, '' for none."""
        compaction = to_be_said(view.lieutenant) if view.lieutenant is not None else ""
        if not compaction:
            return ""
        await self.begin(lieutenant, compaction, "with its next prompt")
        return in_a_prompt(compaction, self.said(view))

    async def begin(self, lieutenant: LieutenantItem, compaction: str, how: str) -> None:
        """Write down, and tell, that it is said now."""
        record = self.t.current(lieutenant)
        tries = record.reminder.tries + 1 if record.reminder.compaction == compaction else 1
        reminder = ReminderRecord(compaction=compaction, at=self.t.clock.now(), tries=tries)
        words = f"its conversation was shortened (compaction {compaction}); role and directive are said again {how}"
        told = self.t.recorder.event(lieutenant.key, lieutenant.uid, GovernReason.REASSERTING, words)
        await self.t.save(lieutenant, record.but(reminder=reminder), *told)
