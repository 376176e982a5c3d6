"""What every task is held to: its deadline, its time, its turns, a first file, signs of progress; and the escalation that is
climbed before it is given up (G-29). All of it is decided here, by the controller's clock and the conversation.
"""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.conversation import files_written
from reconciler.core.decisions import (
    AnswerQuestion,
    AwaitApproval,
    Decision,
    Escalate,
    ExpireTask,
    Finish,
    Landed,
    LookForArtifact,
    Progress,
    Refuse,
    Release,
    Steady,
    Wait,
)
from reconciler.core.records import FINISHED, TaskRecord
from reconciler.core.snapshot.task import Availability, TaskView
from reconciler.core.task.budget import when_to_obey
from reconciler.core.task.halt import is_halted
from reconciler.core.task.reminder import when_to_say_it_again
from reconciler.core.task.view import ABORT_PATIENCE, answered, landed_at, run, turns
from reconciler.core.times import timestamp

INTERRUPTING = frozenset({"Abort", "RestartSession"})
"""Rungs of the escalation that end the turn; it is asked to go on afterwards."""

ABOUT = 120
"""Characters of what a running tool is about, in a message."""

ACTIVITY_SHARE = 10
"""Signs of progress that are no finished message are written down once in this part of the limit, not each time."""


# --- why a task must end before it is done ----------------------------------------------------------------------------------


def must_end(v: TaskView) -> Finish | None:
    """Cancelled, orphaned, blocked for good or beyond a limit; nothing of it says how far it is."""
    if v.cancel:
        return Finish("Cancelled", Reason.CANCELLED_BY_USER, "cancelled as declared")
    if v.deleting:
        return Finish("Cancelled", Reason.DELETED, "the task was deleted")
    if v.availability is Availability.GOING:
        return Finish("Cancelled", Reason.LIEUTENANT_DELETED, "its lieutenant was deleted")
    failed = [d.name for d in v.dependencies if d.phase in FINISHED and d.phase != "Succeeded"]
    if failed and not v.record.sent:
        return Finish("Cancelled", Reason.DEPENDENCY_FAILED, f"{failed[0]} did not succeed")
    since = max(v.created_at, v.not_before)
    if v.deadline_seconds and v.now >= since + v.deadline_seconds:
        return Finish("TimedOut", Reason.DEADLINE_EXCEEDED, f"not done within {v.deadline_seconds} s")
    if v.record.sent and v.timeout_seconds and v.now >= begun(v.record) + v.timeout_seconds:
        return Finish("TimedOut", Reason.TASK_TIMEOUT, f"not done within {v.timeout_seconds} s of its delivery")
    return beyond_its_limits(v) if v.record.phase == "Running" else None


def beyond_its_limits(v: TaskView) -> Finish | None:
    """A turn that shows too little, or takes too many rounds. What was aborted for it stays so, whatever is seen afterwards."""
    given_up = v.record.abort
    working = v.talk is not None and v.talk.up and not v.talk.settled
    if given_up == "NoProgress" or (working and stalled(v) and next_step(v) is None):
        return Finish("TimedOut", Reason.NO_PROGRESS, v.record.because or without_progress(v))
    if given_up == "NoArtifact" or (working and v.record.artifact == "none" and not wrote_a_file(v)):
        return Finish("TimedOut", Reason.NO_ARTIFACT, f"no file was written within {v.first_artifact_seconds} s")
    made = v.record.turns + len(turns(v))
    if given_up == "TurnLimit" or (v.max_turns and made >= v.max_turns and working and not answered(v)):
        return Finish("Failed", Reason.TURN_LIMIT, f"not done after {v.max_turns} turns")
    return None


def without_progress(v: TaskView) -> str:
    """What there was none of, and which tool runs meanwhile."""
    told = f"nothing new in the conversation for {v.no_progress_seconds} s"
    tool = v.talk.tool if v.talk is not None else None
    if tool is None:
        return told
    calls = [call for message in run(v) for call in message.calls if call.tool == tool.name]
    about = f" ({' '.join(calls[-1].about.split())[:ABOUT]})" if calls and calls[-1].about else ""
    return f"{told}; {tool.name}{about} runs without output since {timestamp(tool.since)}"


def signs_of_work(v: TaskView) -> int:
    """What is compared to see whether anything happened besides finished messages."""
    return v.talk.activity + (v.talk.work if v.work_is_progress else 0) if v.talk is not None else 0


def begun(record: TaskRecord) -> float:
    """When the attempt's time began to run."""
    return record.landed_at or record.delivering_at


def next_limit(v: TaskView) -> float | None:
    """When the nearest of its limits will pass."""
    limits = []
    if v.deadline_seconds:
        limits.append(max(v.created_at, v.not_before) + v.deadline_seconds)
    if v.record.sent and v.timeout_seconds:
        limits.append(begun(v.record) + v.timeout_seconds)
    if v.record.phase == "Running" and v.no_progress_seconds and not (is_halted(v) and next_step(v) is not None):
        limits.append(patience_ends(v))
    if v.record.phase == "Running" and v.first_artifact_seconds and not v.record.artifact:
        limits.append(begun(v.record) + v.first_artifact_seconds)
    if v.record.phase == "Running":
        limits += [due for due in (when_to_obey(v), when_to_say_it_again(v)) if due is not None]
    return min(limits, default=None)


# --- progress, and the escalation -----------------------------------------------------------------------------------------------------


def patience_ends(v: TaskView) -> float:
    """When a turn that shows nothing new counts as stalled. An interruption that does not settle the session is given no more
    than its own patience."""
    record, window = v.record, float(v.no_progress_seconds)
    if unsettled(record):
        return record.escalation_steps[-1].at + min(window, ABORT_PATIENCE)
    return max(record.progress_at, begun(record)) + window


def unsettled(record: TaskRecord) -> bool:
    """The turn was interrupted by the escalation, and has not been asked to go on since."""
    return (
        bool(record.escalation_steps)
        and record.escalation_steps[-1].action in INTERRUPTING
        and record.escalation_steps[-1].continues == record.continues
    )


def stalled(v: TaskView) -> bool:
    return bool(v.no_progress_seconds) and v.now >= patience_ends(v)


def next_step(v: TaskView) -> Escalate | None:
    """The next step of the declared escalation; each is tried once in an attempt, an interruption without effect once more, harder."""
    if unsettled(v.record) and not v.record.escalation_steps[-1].hard:
        return Escalate(v.record.escalation_steps[-1].action, "the turn did not settle", hard=True)
    tried = {step.action for step in v.record.escalation_steps}
    step = next((step for step in v.escalation if step not in tried), None)
    return Escalate(step, f"no sign of progress for {v.no_progress_seconds} s") if step else None


def note_progress(v: TaskView) -> Decision | None:
    """Progress is a conversation that grows, a tool that puts something out, text being written, and with limits.toolProgress Work a tool
    whose processes use CPU or I/O (only written down where a limit needs it). Waiting for a person is no lack of it."""
    if v.record.phase != "Running" or not v.no_progress_seconds or v.talk is None or unsettled(v.record):
        return None
    grew = v.talk.size > v.record.progress_size
    signs = signs_of_work(v)
    active = (signs != v.record.activity or bool(v.talk.asks)) and v.now >= v.record.progress_at + v.no_progress_seconds / ACTIVITY_SHARE
    return Progress(v.talk.size, signs) if grew or active else None


def escalate(v: TaskView) -> Decision | None:
    """G-29: before a turn without progress is given up, it is steered, aborted, restarted: in the order declared, each written
    down first. While the fleet is halted its next step waits."""
    if v.record.phase != "Running" or v.record.abort or v.held_by or v.talk is None or not v.talk.up or v.talk.settled:
        return None
    step = next_step(v) if stalled(v) and not is_halted(v) else None
    return None if step is not None and step.step == "Steer" and v.other_steer else step


def wrote_a_file(v: TaskView) -> bool:
    """The conversation shows that a file tool of pi succeeded."""
    return bool(files_written(run(v)))


def answer_a_question(v: TaskView) -> Decision | None:
    """G-28: what a person answered is told the keeper once; the very call that waits goes on, or is denied with the reason."""
    if v.record.phase != "Running" or v.record.abort or v.talk is None:
        return None
    given = {one.id: one for one in v.approvals}
    for ask in v.talk.asks:
        if ask.id in given:
            left = tuple(other for other in v.talk.asks if other.id not in given)
            return AnswerQuestion(ask.id, given[ask.id].allow, given[ask.id].reason, ask.call, left)
    return None


def wait_for_approval(v: TaskView) -> Decision | None:
    """G-37: a call that waits for a person is told, and is denied by itself when its time is over."""
    if v.record.phase != "Running" or v.talk is None or not v.talk.asks or v.talk.settled:
        return None
    first = v.talk.asks[0]
    told = f"{first.call} waits for a person ({len(v.talk.asks)} in all): reconciler approve {v.name}, or deny {v.name}"
    return AwaitApproval(Reason.AWAITING_APPROVAL, told, next_limit(v), v.talk.asks)


def look_for_the_first_file(v: TaskView) -> Decision | None:
    """Commands write files too: before a task is ended for having written none, its work dir is looked at."""
    due = v.record.phase == "Running" and v.first_artifact_seconds and v.now >= begun(v.record) + v.first_artifact_seconds
    if not due or v.record.artifact or v.talk is None or not v.talk.up or v.talk.settled or wrote_a_file(v):
        return None
    return LookForArtifact()


# --- policies for every task ---------------------------------------------------------------------------------------------------


def leave_the_finished(v: TaskView) -> Decision | None:
    """G-20: a task has exactly one result; deleting it then removes it, and so does its time to live."""
    if not v.record.finished:
        return None
    if v.deleting:
        return Release()
    if v.ttl_seconds is None or v.record.recalled:
        return Steady()
    expires = v.record.finished_at + v.ttl_seconds
    return ExpireTask() if v.now >= expires else Steady(until=expires)


def refuse_the_unsupported(v: TaskView) -> Decision | None:
    """A field that protects and is not acted on in this release: nothing is sent."""
    if v.unsupported and not v.record.sent and not v.deleting:
        return Refuse(Reason.UNSUPPORTED, f"not acted on in this release: {', '.join(v.unsupported)}; remove it or use a later release")
    return None


def refuse_what_nobody_would_check(v: TaskView) -> Decision | None:
    """G-28: a task with permissions of its own is not given to an agent whose tool calls are not checked, nor one whose rules say something
    else than its examples."""
    if v.wrong_rules and not v.record.sent and not v.deleting:
        return Refuse(Reason.PERMISSIONS_INVALID, v.wrong_rules)
    if v.unguarded and not v.record.sent and not v.deleting:
        told = "its lieutenant and the profile declare no permissions, so nobody would check those of the task; declare some there"
        return Refuse(Reason.PERMISSIONS_NOT_APPLIED, told)
    return None


def wait_for_a_lieutenant(v: TaskView) -> Decision | None:
    """A task for nobody waits; deleting it needs nobody."""
    if v.availability is not Availability.MISSING:
        return None
    if v.record.sent:
        return Finish("Cancelled", Reason.LIEUTENANT_DELETED, "its lieutenant was deleted")
    ending = must_end(v)
    return ending or Wait(Reason.LIEUTENANT_NOT_FOUND, "its lieutenant does not exist", until=next_limit(v))


def refuse_a_cycle(v: TaskView) -> Decision | None:
    """Tasks that wait for each other never start; a person must break the circle."""
    return (
        Refuse(Reason.DEPENDENCY_CYCLE, f"`after` goes in a circle: {' → '.join(v.cycle)}")
        if v.cycle and not (v.cancel or v.deleting)
        else None
    )


def note_the_landing(v: TaskView) -> Decision | None:
    """G-20, G-23: delivered means that the marked message is in the conversation."""
    if v.record.phase != "Delivering" or v.talk is None:
        return None
    message = landed_at(v.talk, v.record.marker, v.record.baseline)
    return Landed(message.offset) if message else None
