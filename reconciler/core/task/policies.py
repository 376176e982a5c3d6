"""One piece of work for one lieutenant: when it is its turn, its delivery, its steers, its end. Ordered policies; the first
that has an opinion decides.

In: a `TaskView`, gathered beforehand. Out: one decision. No I/O, no clock.

The conversation is the only witness (G-21): a prompt has arrived when its marker is in the session file, a turn is over
when pi is settled, and it went well when the last message says so. Events only make us look sooner.
"""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.chain import Chain
from reconciler.core.decisions import AbortTurn, Continue, Decision, Deliver, Finish, HoldForProvider, Landed, TryAgain, Verify, Wait
from reconciler.core.provider.trouble import Remedy, trouble_of
from reconciler.core.snapshot.agent import Accepted, Declined, Lost, Unanswered, Unheard
from reconciler.core.snapshot.task import Availability, TaskView
from reconciler.core.task.budget import go_on_later, note_its_spending, obey_the_budget, over_its_budget
from reconciler.core.task.halt import wait_while_halted
from reconciler.core.task.limits import (
    INTERRUPTING,
    answer_a_question,
    escalate,
    leave_the_finished,
    look_for_the_first_file,
    must_end,
    next_limit,
    note_progress,
    note_the_landing,
    refuse_a_cycle,
    refuse_the_unsupported,
    refuse_what_nobody_would_check,
    wait_for_a_lieutenant,
    wait_for_approval,
)
from reconciler.core.task.provider import model_failed, note_the_answer, wait_for_the_provider
from reconciler.core.task.reminder import say_it_again
from reconciler.core.task.rules import MISRULED, end_a_turn_under_other_rules
from reconciler.core.task.steer import STEER
from reconciler.core.task.view import ABORT_PATIENCE, ON_ITS_WAY, continued, ended_well, fail, landed_at, run, says_nothing

MAX_CONTINUES = 3
"""How often a turn cut short by the end of pi is asked to go on before the attempt counts as lost."""


def follow_the_session(v: TaskView) -> Decision | None:
    """G-20, G-32: the conversation it was sent to is not the one in force any more. Where its prompt is in this one too, it goes on;
    else this attempt was lost with the other."""
    if not v.record.sent or v.record.session in ("", v.session) or not v.session or v.talk is None:
        return None
    message = landed_at(v.talk, v.record.marker, 0)
    if message is not None:
        return Landed(message.offset)
    return must_end(v) or fail(v, Reason.SESSION_LOST, f"the conversation it was part of, {v.record.session}, does not go on")


def end_what_must_end(v: TaskView) -> Decision | None:
    """G-29: what may not go on is ended; what is with pi already is aborted first, and judged when settled."""
    ending = must_end(v)
    if ending is None:
        return None
    if not v.record.sent or v.left_running:
        return ending
    if v.talk is None or not v.talk.up:
        if v.abandoned or (v.talk is not None and v.record.abort):
            return ending
        return Wait(Reason.ENDING, f"{ending.message}; waiting until its agent can be reached")
    if not v.talk.settled:
        if v.record.abort and v.now < v.record.aborted_at + ABORT_PATIENCE:
            return Wait(Reason.ENDING, ending.message, until=v.record.aborted_at + ABORT_PATIENCE)
        return AbortTurn(ending.reason, ending.message)
    if v.record.phase != "Delivering" and not v.record.abort and ending.phase != "Cancelled" and ended_well(v):
        return None  # it was done before it could be ended
    return ending


# --- queue tasks ------------------------------------------------------------------------------------------------------------------


def wait_for_its_turn(v: TaskView) -> Decision | None:
    """Order: dependencies, then creation time, then name; one at a time."""
    if v.record.phase != "Pending":
        return None
    if v.now < v.not_before:
        return Wait(Reason.NOT_BEFORE, "its time has not come", until=v.not_before)
    waiting = [d.name for d in v.dependencies if d.phase != "Succeeded"]
    if waiting:
        return Wait(Reason.DEPENDENCY_PENDING, f"waiting for {', '.join(waiting)}", until=next_limit(v))
    if v.queue_full:
        return Wait(Reason.QUEUE_FULL, "more tasks are pending than queue.maxPending", until=next_limit(v))
    if v.availability in (Availability.SUSPENDED, Availability.SUSPENDING):
        if v.no_work is not None:
            return Wait(v.no_work.reason, v.no_work.message, until=next_limit(v))
        why = v.unavailable_because or "its lieutenant is declared Suspended"
        return Wait(Reason.LIEUTENANT_SUSPENDED, why, until=next_limit(v))
    if v.availability is Availability.OBSERVED:
        return Wait(Reason.OBSERVE_ONLY, "managementPolicy ObserveOnly: its lieutenant is only looked at", until=next_limit(v))
    if v.availability is not Availability.READY:
        return Wait(Reason.LIEUTENANT_NOT_READY, v.unavailable_because, until=next_limit(v))
    if v.content_missing:
        return Wait(Reason.CONTENT_NOT_FOUND, v.content_missing, until=next_limit(v))
    if v.now < v.record.not_before and not v.hurried:
        return Wait(Reason.BACKING_OFF, v.record.message, until=v.record.not_before)
    if v.active or v.ahead:
        return Wait(Reason.QUEUED, f"after {v.active or v.ahead}", until=next_limit(v))
    if v.copied_by:
        return Wait(Reason.HELD_FOR_FORK, f"its lieutenant is being copied live for {v.copied_by}", until=next_limit(v))
    return wait_for_the_provider(v)


def deliver(v: TaskView) -> Decision | None:
    """G-09, G-22: a prompt goes only to a settled session, and when there is room for one more agent at work."""
    if v.record.phase != "Pending":
        return None
    if (failed := over_its_budget(v)) is not None:
        return failed
    if v.no_work is not None:
        return Wait(v.no_work.reason, v.no_work.message)
    if v.talk is None or not v.talk.settled:
        return Wait(Reason.AGENT_BUSY, "waiting until the session is settled", until=next_limit(v))
    return Deliver(v.record.attempt + 1)


def resolve_the_delivery(v: TaskView) -> Decision | None:
    """G-20: sent and not seen. Only a settled session without the marker proves that it did not arrive."""
    if v.record.phase != "Delivering":
        return None
    if v.talk is None or not v.talk.settled:
        return Wait(Reason.DELIVERING, ON_ITS_WAY, until=next_limit(v))
    match v.verdict:
        case None | Unanswered():
            return Wait(Reason.DELIVERING, "waiting for pi's answer", until=next_limit(v))
        case Declined(error):
            return refused(v, error)
        case Unheard():
            return wait_while_halted(v, next_limit(v)) or Deliver(v.record.attempt, resend=True, fresh_key=False)
        case Accepted() | Lost():
            return wait_while_halted(v, next_limit(v)) or Deliver(v.record.attempt, resend=True)


def refused(v: TaskView, error: str) -> Decision:
    """pi did not take the prompt: where its model's provider is the cause the task waits for that, else it is sent again."""
    trouble = trouble_of(error)
    return TryAgain(Reason.DECLINED, error) if trouble.remedy is not Remedy.CHANGE else HoldForProvider(trouble, error)


def judge_the_turn(v: TaskView) -> Decision | None:
    """G-21: only a settled session is judged, and only by how its last message ended."""
    if v.record.phase != "Running":
        return None
    if v.talk is None or not v.talk.settled:
        return Wait(Reason.RUNNING, "", until=next_limit(v))
    if ended_well(v):
        return Verify() if v.has_acceptance else Finish("Succeeded", Reason.COMPLETED)
    turn = run(v)
    last = turn[-1] if turn else None
    if last is not None and last.role == "assistant" and last.stop_reason == "error":
        return model_failed(v, last.error)
    if last is not None and last.role == "assistant" and last.stop_reason == "length":
        return fail(v, Reason.OUTPUT_TRUNCATED, last.error or "the last answer ended with length")
    if not v.held_by and (later := go_on_later(v)) is not None:
        return later
    if v.held_by:
        return Wait(Reason.INTERRUPTED, f"{v.held_by} interrupted it, to be said before it goes on", until=next_limit(v))
    if v.availability is not Availability.READY:
        return Wait(Reason.INTERRUPTED, "its turn was cut short; it goes on when its lieutenant is ready", until=next_limit(v))
    if (held := wait_for_the_provider(v)) is not None:
        return held
    empty = last is not None and says_nothing(last)
    if empty and sum(1 for message in turn if says_nothing(message)) > 1:
        return fail(v, Reason.EMPTY_ANSWER, "the model ended twice without text, tool call and tokens")
    if (resolved := resolve_the_last_continue(v, empty)) is not None:
        return resolved
    interrupted = sum(1 for step in v.record.escalation_steps if step.action in INTERRUPTING)
    if v.record.continues < MAX_CONTINUES + interrupted:
        return wait_while_halted(v, next_limit(v)) or Continue(v.record.continues + 1, empty)
    if v.record.abort == MISRULED:
        return fail(v, Reason.PERMISSIONS_NOT_APPLIED, v.record.because)
    return fail(v, Reason.SESSION_LOST, f"its turn was cut short {v.record.continues + 1} times")


def resolve_the_last_continue(v: TaskView, empty: bool) -> Decision | None:
    """G-20: sent and not seen. As long as it may still arrive nothing else is asked; what was never heard is said again, under its key."""
    if not v.record.continues or v.talk is None or landed_at(v.talk, continued(v.record.marker, v.record.continues), v.record.baseline):
        return None
    match v.verdict:
        case None | Unanswered():
            return Wait(Reason.RUNNING, "waiting for pi's answer", until=next_limit(v))
        case Unheard():
            return wait_while_halted(v, next_limit(v)) or Continue(v.record.continues, empty)
        case _:
            return None


def judge_the_checks(v: TaskView) -> Decision | None:
    """G-21: acceptance decides; what failed is told to the next attempt."""
    if v.record.phase != "Verifying":
        return None
    if not v.record.checks:
        return Verify()
    failed = [check for check in v.record.checks if check != "ok"]
    return fail(v, Reason.ACCEPTANCE_FAILED, "; ".join(failed)) if failed else Finish("Succeeded", Reason.COMPLETED)


QUEUE: Chain[TaskView] = Chain(
    "A task",
    "One piece of work, waiting for its turn in the queue.",
    (
        leave_the_finished,
        refuse_the_unsupported,
        refuse_what_nobody_would_check,
        wait_for_a_lieutenant,
        refuse_a_cycle,
        follow_the_session,
        note_the_landing,
        end_a_turn_under_other_rules,
        note_the_answer,
        note_progress,
        answer_a_question,
        look_for_the_first_file,
        note_its_spending,
        end_what_must_end,
        wait_for_approval,
        obey_the_budget,
        say_it_again,
        escalate,
        wait_for_its_turn,
        deliver,
        resolve_the_delivery,
        judge_the_turn,
        judge_the_checks,
    ),
)


def plan(view: TaskView) -> Decision:
    """The first policy that has an opinion decides."""
    return (STEER if view.steer else QUEUE).evaluate(view) or Wait(Reason.UNKNOWN, "no policy has an opinion")
