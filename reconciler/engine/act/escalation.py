"""Acts of the escalation: steer a turn that shows no progress, interrupt it, restart pi; say a steer that did not land as a prompt of
its own. Every step is durable, and told, before it is taken (G-29)."""

from __future__ import annotations

from dataclasses import replace

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Escalate, LookForArtifact, Reprompt
from reconciler.core.records import EscalationStep
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.workset import WorkSet
from reconciler.engine.act.sending import Sending
from reconciler.engine.act.taskrules import rules_for, rules_in_its_turn
from reconciler.engine.places import machine_of
from reconciler.engine.state.objects import LieutenantItem, TaskItem, command_key, with_record

STOP_GRACE = 5.0


class EscalationActs:
    """`sending`: how prompts and commands reach pi."""

    def __init__(self, sending: Sending) -> None:
        self.s, self.t = sending, sending.t

    async def escalate(self, lieutenant: LieutenantItem, task: TaskItem, view: WorkSet, action: Escalate) -> None:
        """Write the step down, tell it, take it."""
        steer, now, escalation_steps = task.spec.delivery.value == "Steer", self.t.clock.now(), task.record.escalation_steps
        step = EscalationStep(action=action.step, at=now, why=action.why, continues=task.record.continues, hard=action.hard)
        record = task.record.but(escalation_steps=(*(escalation_steps[:-1] if step.hard else escalation_steps), step), progress_at=now)
        if view.talk is not None and not steer:
            record = record.but(progress_size=view.talk.size, activity=view.talk.activity)
        self.t.recorder.note(task.key, task.uid, Reason.ESCALATING, f"{step.action}: {step.why}", "Warning")
        await self.s.put(task, record)
        if step.action == "Steer":
            number = len(record.escalation_steps)
            text = (
                f"{record.marker} escalation ({number})\n\nThere has been {step.why}. Say what you are doing and what is in the way; "
                "where you are stuck try another way; then finish this piece of work."
            )
            rules = rules_in_its_turn(view, task.key.name)
            await self.s.send(lieutenant, f"{task.uid}:{record.attempt}:e{number}", text, rules, steer=True)
        elif step.action == "Abort" and not step.hard:
            await self.s.interrupt(lieutenant)
        else:
            await self.t.agents.stop_agent(machine_of(lieutenant), STOP_GRACE)

    async def tell_of_budget(self, lieutenant: LieutenantItem, task: TaskItem, view: WorkSet, why: str, now: float) -> None:
        """In the middle of its turn, so that it can end well."""
        step = EscalationStep(action="TellOfBudget", at=now, why=why, continues=task.record.continues)
        record = task.record.but(budget_told=now, escalation_steps=(*task.record.escalation_steps, step))
        said = self.t.recorder.event(task.key, task.uid, Reason.ESCALATING, f"Steer: {why}", "Warning")
        await self.t.table.update([(task.key, with_record(record))], *said)
        text = f"{record.marker} budget\n\nNote that {why}. Write down how far you are, leave things in order, and end your turn now."
        rules = rules_in_its_turn(view, task.key.name)
        await self.s.send(lieutenant, f"{task.uid}:{record.attempt}:b{record.continues}", text, rules, steer=True)

    async def reprompt(self, lieutenant: LieutenantItem, task: TaskItem, view: WorkSet, step: Reprompt, text: str) -> None:
        """The steer's text under a key of its own; the target keeps its attempt and owns what follows, so its rules hold."""
        record = task.record.but(reprompted=True, sends=task.record.sends + 1) if step.fresh_key else task.record
        await self.s.put(task, record)
        self.t.recorder.note(task.key, task.uid, Reason.STEERING, f"{record.target} on {lieutenant.key.name}, after an interruption")
        asked = f"You were interrupted in the middle of {record.target} to be told this. Mind it, and finish that piece of work."
        rules = rules_for(view, record.target)
        await self.s.send(lieutenant, command_key(replace(task, record=record)), f"{text}\n\n{asked}", rules)

    async def look_for_artifact(self, lieutenant: LieutenantItem, task: TaskItem, view: WorkSet, _: LookForArtifact) -> None:
        """Compare the work dir with what it was before delivery. What can't be told is no reason to end anything (G-04)."""
        now = await self.digest(lieutenant, view)
        then = task.record.artifacts
        found = "unknown" if not now or not then else "none" if now == then else "seen"
        if found == "unknown":
            message = "the work dir is too large to be compared; no file is known to be missing"
            self.t.recorder.note(task.key, task.uid, Reason.ARTIFACT_UNKNOWN, message, "Warning")
        await self.s.put(task, task.record.but(artifact=found))

    async def digest(self, lieutenant: LieutenantItem, view: WorkSet) -> str:
        """What is in the work dir, as one word; '' when there is too much to look at."""
        assert view.lieutenant is not None
        assert isinstance(view.lieutenant.rendered, Rendered)
        return await self.t.agents.digest(machine_of(lieutenant), view.lieutenant.rendered.work_dir)
