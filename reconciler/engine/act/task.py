"""Acts on tasks: deliver, steer, abort, check, finish. The record is durable before anything is sent (design §7)."""

from __future__ import annotations

import posixpath
from typing import assert_never

from reconciler.api.annotations import RETRY
from reconciler.api.reasons import Reason
from reconciler.api.task import Acceptance
from reconciler.core.backoff import delay
from reconciler.core.decisions import (
    AbortTurn,
    AnswerQuestion,
    Continue,
    Deliver,
    Escalate,
    ExpireTask,
    Finish,
    HoldForBudget,
    HoldForProvider,
    Landed,
    LookForArtifact,
    NoteAnswer,
    NoteTaskSpending,
    Progress,
    Release,
    Remind,
    Reprompt,
    SendSteer,
    TaskAction,
    TellOfBudget,
    TryAgain,
    Verify,
    Wait,
    Withdraw,
)
from reconciler.core.keys import Json
from reconciler.core.lieutenant.workspace import sentence, untold
from reconciler.core.profile.digests import digest
from reconciler.core.records import Attempt, TaskRecord
from reconciler.core.snapshot.machine import GuestCommand
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.workset import WorkSet
from reconciler.core.task.budget import ABORTED
from reconciler.core.task.limits import INTERRUPTING
from reconciler.core.task.rules import MISRULED
from reconciler.core.task.view import ON_ITS_WAY, continued, marker_of
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.escalation import EscalationActs
from reconciler.engine.act.guest import sandbox_of
from reconciler.engine.act.providers import ProviderActs
from reconciler.engine.act.reminding import ReminderActs
from reconciler.engine.act.sending import Sending
from reconciler.engine.act.taskbudget import TaskBudgetActs
from reconciler.engine.act.taskrules import rules_for, rules_in_its_turn
from reconciler.engine.act.turns import anew, costs_of, in_force, result_of, turn_of
from reconciler.engine.observe.content import content_of, name_of
from reconciler.engine.places import machine_of
from reconciler.engine.state.items import continue_key
from reconciler.engine.state.objects import LieutenantItem, TaskItem, command_key, session_of, with_record
from reconciler.engine.state.tombstones import Tombstone
from reconciler.errors import GuestFailed, InvalidSpec

SENT, SENT_STEER = Wait(Reason.DELIVERING, ON_ITS_WAY), Wait(Reason.LANDING, ON_ITS_WAY)
"""What is told of a prompt from the moment it may be on its way."""

SPEAKING = Deliver | SendSteer | Continue | Escalate | Reprompt | Remind
"""What says something to an agent, or cuts a turn short for the sake of it: not done in a halted fleet."""


class TaskActs:
    def __init__(self, tools: ActContext) -> None:
        self.t, self.s = tools, Sending(tools)
        self.escalation_steps, self.providers = EscalationActs(self.s), ProviderActs(tools)
        self.budgets, self.reminders = TaskBudgetActs(self.escalation_steps), ReminderActs(self.s)

    async def act(self, lieutenant: LieutenantItem | None, task: TaskItem, view: WorkSet, action: TaskAction) -> None:
        """Carry out one decision about a task."""
        if isinstance(action, SPEAKING) and self.t.table.halted:
            return  # the fleet was halted since this was planned
        match action:
            case Landed(offset):
                now = self.t.clock.now()
                size = view.talk.size if view.talk else 0
                where = session_of(lieutenant).name if lieutenant is not None else task.record.session
                landed = task.record.but(phase="Running", session=where, landed=offset, landed_at=now, progress_at=now, progress_size=size)
                await self.s.put(task, landed)
            case Progress(size, activity):
                await self.s.put(task, task.record.but(progress_at=self.t.clock.now(), progress_size=size, activity=activity))
            case Finish():
                await self.finish(task, view, action)
            case TryAgain(reason, message):
                await self.try_again(task, view, reason, message)
            case HoldForBudget() | NoteTaskSpending() | TellOfBudget():
                assert lieutenant is not None
                await self.budgets.act(lieutenant, task, view, action)
            case Remind():
                assert lieutenant is not None
                await self.reminders.in_the_turn(lieutenant, task, view, action)
            case HoldForProvider() | NoteAnswer():
                assert lieutenant is not None
                await self.of_its_provider(lieutenant, task, view, action)
            case Release():
                await self.t.backend.release(task.obj)
                said = self.t.recorder.event(task.key, task.uid, Reason.DELETED, "removed")
                await self.t.table.purge_task(task.key, *said)
                self.t.recorder.forget(task.key)
            case ExpireTask():
                await self.expire_task(task)
            case AnswerQuestion(question, allow, why, call, _):
                assert lieutenant is not None
                await self.answer(lieutenant, task, question, allow, why, call)
            case Deliver() | SendSteer() | Continue() | AbortTurn() | Withdraw() | Verify() | Escalate() | Reprompt() | LookForArtifact():
                assert lieutenant is not None
                await self.in_session(lieutenant, task, view, action)
            case _:
                assert_never(action)

    async def of_its_provider(
        self, lieutenant: LieutenantItem, task: TaskItem, view: WorkSet, action: HoldForProvider | NoteAnswer
    ) -> None:
        """What the provider of the lieutenant's model said."""
        assert view.lieutenant is not None
        provider = view.lieutenant.provider
        if isinstance(action, NoteAnswer):
            await self.providers.answered(lieutenant, provider)
            return
        rounds = sum(1 for m in turn_of(view, task.record) if m.role == "assistant" and m.stop_reason != "error")
        fresh = anew(task.record, view).but(turns=task.record.turns + rounds)
        await self.providers.hold(lieutenant, task, provider, action, fresh)

    async def in_session(
        self,
        lieutenant: LieutenantItem,
        task: TaskItem,
        view: WorkSet,
        action: Deliver | SendSteer | Continue | AbortTurn | Withdraw | Verify | Escalate | Reprompt | LookForArtifact,
    ) -> None:
        """Acts that need the lieutenant's session."""
        match action:
            case Deliver():
                await self.deliver(lieutenant, task, view, action)
            case SendSteer(target):
                await self.steer(lieutenant, task, view, target)
            case Continue(number, empty):
                assert view.lieutenant is not None
                await self.providers.sending(task.key, view.lieutenant.provider)
                await self.go_on(lieutenant, task, number, rules_for(view, task.key.name), empty, await self.news(lieutenant, view))
            case AbortTurn(why, told):
                await self.abort(lieutenant, task, why, told)
            case Withdraw():
                await self.s.call(lieutenant, {"type": "clear_queue"})
                await self.s.put(task, task.record.but(abort="Withdrawn", aborted_at=self.t.clock.now()))
            case Verify():
                await self.verify(lieutenant, task, view)
            case Escalate():
                await self.escalation_steps.escalate(lieutenant, task, view, action)
            case Reprompt():
                await self.escalation_steps.reprompt(lieutenant, task, view, action, prompt_text(task, self.content(task)))
            case LookForArtifact():
                await self.escalation_steps.look_for_artifact(lieutenant, task, view, action)
            case _:
                assert_never(action)

    async def answer(self, lieutenant: LieutenantItem, task: TaskItem, question: str, allow: bool, why: str, call: str) -> None:
        """What a person said of a call that waits; recorded once it was taken."""
        if await self.t.agents.answer(machine_of(lieutenant), question, allow, why):
            told = f"{question}: {self.t.redact(call)}" + (f" ({why})" if why else "")
            self.t.recorder.note(task.key, task.uid, Reason.APPROVED if allow else Reason.DENIED, told[:500])

    def content(self, task: TaskItem) -> str:
        """The prompt as the user wrote it, here or elsewhere. Raises `InvalidSpec` when it is no longer there."""
        source = task.spec.content_from
        if source is None:
            return task.spec.prompt or ""
        found = content_of(source, task.key.namespace, self.t.secrets)
        if found is None:
            raise InvalidSpec(f"{name_of(source)} is not there", str(task.key), "provide it")
        return found

    # --- sending ----------------------------------------------------------------------------------------------------------------------

    async def deliver(self, lieutenant: LieutenantItem, task: TaskItem, view: WorkSet, action: Deliver) -> None:
        """Write Delivering with marker and baseline, then send (G-20). A resend keeps marker and baseline."""
        assert view.talk is not None
        assert view.lieutenant is not None
        if not action.resend and not self.providers.may_send(view.lieutenant.provider):
            return  # its provider said no to somebody else since this was planned
        if self.t.gatherer.no_work(lieutenant, self.t.clock.now()) is not None:
            return  # another agent began to work since this was planned
        content = self.content(task)
        await self.providers.sending(task.key, view.lieutenant.provider)
        if action.resend:
            record = task.record.but(sends=task.record.sends + 1) if action.fresh_key else task.record
        else:
            record = self.sending(task, lieutenant, view.talk.size, action.attempt)
            if view.spec is not None and view.spec.limits.first_artifact_seconds:
                record = record.but(artifacts=await self.escalation_steps.digest(lieutenant, view))
            if self.t.gatherer.no_work(lieutenant, self.t.clock.now()) is not None:
                return  # or since this was begun; from here on nothing comes between
            self.t.recorder.note(task.key, task.uid, Reason.DELIVERING, f"attempt {action.attempt} to {lieutenant.key.name}")
        task = await self.s.begin(task, record, SENT)
        text = prompt_text(task, content, await self.news(lieutenant, view))
        await self.s.send(lieutenant, command_key(task), text, rules_for(view, task.key.name))

    async def news(self, lieutenant: LieutenantItem, view: WorkSet) -> str:
        """What its agent must know before it is asked for anything, '' for nothing."""
        reminder = await self.reminders.in_the_prompt(lieutenant, view)
        return "\n\n".join(part for part in (reminder, lost_files(lieutenant, view)) if part)

    async def steer(self, lieutenant: LieutenantItem, task: TaskItem, view: WorkSet, target: str) -> None:
        assert view.talk is not None
        content = self.content(task)
        record = self.sending(task, lieutenant, view.talk.size, 1).but(target=target)
        task = await self.s.begin(task, record, SENT_STEER)
        self.t.recorder.note(task.key, task.uid, Reason.STEERING, f"{target} on {lieutenant.key.name}")
        await self.s.send(lieutenant, command_key(task), prompt_text(task, content), rules_in_its_turn(view, target), steer=True)

    def sending(self, task: TaskItem, lieutenant: LieutenantItem, size: int, attempt: int) -> TaskRecord:
        """The record that is durable before the prompt leaves."""
        expected = self.t.gatherer.budgets.expected(lieutenant, task)
        return task.record.but(
            reserved_cost=expected.cost,
            reserved_tokens=expected.tokens,
            budget_told=0.0,
            phase="Delivering",
            reason="",
            message="",
            attempt=attempt,
            sends=1,
            marker=marker_of(task.key.namespace, task.key.name, attempt, digest([task.uid, attempt])[:8]),
            session=session_of(lieutenant).name,
            baseline=size,
            delivering_at=self.t.clock.now(),
            landed=-1,
            landed_at=0.0,
            continues=0,
            escalation_steps=(),
            reprompted=False,
            artifacts="",
            artifact="",
            abort="",
            because="",
            aborted_at=0.0,
            checks=(),
        )

    async def go_on(
        self, lieutenant: LieutenantItem, task: TaskItem, number: int, rules: Json | None, empty: bool = False, news: str = ""
    ) -> None:
        """The turn was cut short by the end of pi, or ended with nothing; the conversation is whole, so ask for the rest of it. `rules`:
        those of the task, which a pi that was started anew does not have."""
        record = task.record.but(continues=number, progress_at=self.t.clock.now())
        record = record.but(abort="", because="", aborted_at=0.0, budget_told=0.0) if record.abort in (ABORTED, MISRULED) else record
        await self.s.put(task, record)
        last = record.escalation_steps[-1] if record.escalation_steps else None
        interrupted = last is not None and last.action in INTERRUPTING
        why = f"after {last.action} for {last.why}" if last is not None and interrupted else "pi was restarted in the middle of it"
        why = f"its turn was ended: {task.record.because}" if task.record.abort == MISRULED else why
        why = "its last answer was empty" if empty else why
        self.t.recorder.note(task.key, task.uid, Reason.CONTINUING, f"{why} ({number})", "Warning")
        asked = "You were interrupted in the middle of this piece of work. Check how far it is, then finish it."
        if empty:
            asked = "Your last answer was empty. Check how far this piece of work is, finish it, and end with a summary of what was done."
        elif last is not None and interrupted:
            asked = (
                f"There was {last.why}, so you were interrupted in the middle of this piece of work. Check how far it is, "
                "do not try again what did not come to an end, and finish it another way."
            )
        asked = f"{news}\n\n{asked}" if news else asked
        text = f"{continued(task.record.marker, number)}\n\n{asked}"
        await self.s.send(lieutenant, continue_key(task, number), text, rules)

    async def abort(self, lieutenant: LieutenantItem, task: TaskItem, why: str, told: str) -> None:
        """End the turn; when an earlier abort did not settle the session, stop pi."""
        again = bool(task.record.abort)
        await self.s.put(task, task.record.but(abort=why, because=task.record.because if again else told, aborted_at=self.t.clock.now()))
        if again:
            await self.t.agents.stop_agent(machine_of(lieutenant), 5.0)
            return
        await self.s.interrupt(lieutenant)

    async def expire_task(self, task: TaskItem) -> None:
        """Remove it; what is remembered is durable in the same moment."""
        stone = Tombstone.of(task.obj.spec, task.record)
        message = f"its result was kept for {task.spec.ttl_seconds_after_finished} s; that it is {task.record.phase} stays known"
        said = self.t.recorder.event(task.key, task.uid, Reason.REMOVED, message)
        await self.t.table.expire_task(task.key, stone, *said)
        await self.t.backend.expire(task.obj)
        self.t.recorder.forget(task.key)

    # --- ends -----------------------------------------------------------------------------------------------------------------------------

    async def verify(self, lieutenant: LieutenantItem, task: TaskItem, view: WorkSet) -> None:
        """Every check, in order; the record says `ok` or what was wrong with each."""
        assert view.lieutenant is not None
        assert isinstance(view.lieutenant.rendered, Rendered)
        rendered = view.lieutenant.rendered
        if task.record.phase != "Verifying":
            await self.s.put(task, task.record.but(phase="Verifying", checks=()))
        results = tuple([await self.check(lieutenant, acceptance, rendered) for acceptance in task.spec.acceptance])
        current = self.t.table.task(task.key)
        if current is not None:
            await self.s.put(current, current.record.but(checks=results))

    async def check(self, lieutenant: LieutenantItem, acceptance: Acceptance, rendered: Rendered) -> str:
        """`ok`, or what is wrong. A command runs what the agent has written, so it runs in the agent's boundary."""
        work_dir, machine, agents = rendered.work_dir, machine_of(lieutenant), self.t.agents
        if acceptance.file is not None:
            path = posixpath.join(work_dir, acceptance.file.path)
            size = await agents.file_size(machine, path)
            if size is None:
                return f"file {acceptance.file.path} does not exist"
            wanted = acceptance.file.min_bytes
            return "ok" if size >= wanted else f"file {acceptance.file.path} has {size} bytes, {wanted} were asked for"
        assert acceptance.command is not None
        argv = tuple(acceptance.command.run)
        sandbox = sandbox_of(self.t.settings, lieutenant, rendered)
        command = GuestCommand(argv, cwd=work_dir, timeout=float(acceptance.command.timeout_seconds), sandbox=sandbox)
        try:
            result = await agents.run(machine, command)
        except GuestFailed as failed:
            return f"command {argv[0]} could not be run: {failed.what}"
        if result.exit_code == 0:
            return "ok"
        ended = "timed out" if result.exit_code is None else f"ended with exit code {result.exit_code}"
        return self.t.redact(f"command {' '.join(argv)} {ended}: {(result.stderr or result.stdout).strip()[-300:]}".rstrip(": "))

    async def try_again(self, task: TaskItem, view: WorkSet, reason: str, message: str) -> None:
        """Close this attempt; the next one is told why. A declined prompt was no attempt at all."""
        old, now, message = task.record, self.t.clock.now(), self.t.redact(message)
        ended = old.attempts if reason == "Declined" else (*old.attempts, Attempt(number=old.attempt, reason=reason, message=message))
        wait = delay(old.attempt if reason == "Declined" else len(ended), self.t.jitter())
        record = anew(old, view).but(attempts=ended, not_before=now + wait, message=f"{reason}: {message}")
        record = record.but(retried=task.obj.annotations.get(RETRY, ""))
        self.t.recorder.note(task.key, task.uid, Reason.RETRYING, f"{reason}: {message}", "Warning")
        await self.s.put(task, record)

    async def finish(self, task: TaskItem, view: WorkSet, action: Finish) -> None:
        """Exactly one result, with what the turn came to."""
        old = task.record
        record = old.but(phase=action.phase, reason=action.reason, message=self.t.redact(action.message), finished_at=self.t.clock.now())
        if view.talk is not None and in_force(view, old) and old.landed >= 0 and task.spec.delivery.value == "Queue":
            record = record.but(**result_of(turn_of(view, old), costs_of(view, old), view.talk.size, self.t.redact, old.turns))
        kind = "Normal" if action.phase == "Succeeded" or action.reason == "CancelledByUser" else "Warning"
        message = f"{action.reason}: {record.message}" if record.message else action.reason
        said = self.t.recorder.event(task.key, task.uid, action.phase, message, "Normal" if kind == "Normal" else "Warning")
        await self.t.table.update([(task.key, with_record(record))], *said)


def lost_files(lieutenant: LieutenantItem, view: WorkSet) -> str:
    """What its agent must be told of the machine that was lost, '' for nothing."""
    lost = untold(lieutenant.record.workspace, view.talk.messages if view.talk is not None else ())
    return sentence(lost, lieutenant.record.slot.restored_at) if lost else ""


def prompt_text(task: TaskItem, content: str, news: str = "") -> str:
    """Marker, what its agent must know before that (`news`: in words), what the last attempt came to, and the prompt. It never begins with
    `/`."""
    parts = [task.record.marker]
    if news:
        parts.append(news)
    if task.record.attempts:
        last = task.record.attempts[-1]
        parts.append(f"The attempt before this one did not succeed ({last.reason}): {last.message}")
    if task.record.held:
        parts.append("This piece of work may have been begun before: the provider of your model failed meanwhile. Check how far it is.")
    if task.record.interrupted:
        parts.append("This piece of work was begun before, and interrupted because a budget was used up. Check how far it is.")
    parts.append(content)
    return "\n\n".join(parts)
