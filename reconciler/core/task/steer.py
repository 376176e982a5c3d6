"""A task with `delivery: Steer`: into its target's turn and nowhere else, or not at all; and its escalation: interrupt the turn,
say it as a prompt of its own, let the target go on (design §7, G-23).
"""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.chain import Chain
from reconciler.core.decisions import Decision, Escalate, Finish, Reprompt, SendSteer, Wait, Withdraw
from reconciler.core.records import FINISHED
from reconciler.core.snapshot.agent import Accepted, Declined, Lost, Unanswered, Unheard
from reconciler.core.snapshot.task import Availability, TaskView
from reconciler.core.task.halt import is_halted, wait_while_halted
from reconciler.core.task.limits import (
    leave_the_finished,
    must_end,
    note_the_landing,
    refuse_the_unsupported,
    refuse_what_nobody_would_check,
    wait_for_a_lieutenant,
)
from reconciler.core.task.view import ABORT_PATIENCE, ON_ITS_WAY


def steer_only_the_target(v: TaskView) -> Decision | None:
    """G-23: a steer belongs to its target's turn; without it, it expires."""
    if v.record.phase != "Pending":
        return None
    lands_by = max(v.created_at, v.not_before, v.went_on_at) + v.land_seconds
    if not v.target:
        return Finish("Expired", Reason.NOTHING_TO_STEER, "no task was running when it was accepted")
    if v.target_phase in FINISHED:
        return Finish("Expired", Reason.TARGET_FINISHED, f"{v.target} is {v.target_phase} already")
    if (halted := wait_while_halted(v)) is not None:
        return halted  # its time to land begins anew when the fleet goes on
    if v.now >= lands_by:
        return Finish("Expired", Reason.NOT_LANDED, f"{v.target} did not run within {v.land_seconds} s")
    if v.target_phase != "Running" or v.talk is None or v.talk.settled or v.other_steer:
        return Wait(Reason.TARGET_NOT_RUNNING, f"waiting for {v.target} to run", until=lands_by)
    if v.content_missing:
        return Wait(Reason.CONTENT_NOT_FOUND, v.content_missing, until=lands_by)
    return SendSteer(v.target)


def next_step(v: TaskView) -> Escalate | None:
    """The next step for a steer that did not land. Its first delivery is its step `Steer`, named or not; an interruption without
    effect is repeated once, harder."""
    escalation_steps = v.record.escalation_steps
    if escalation_steps and not escalation_steps[-1].hard and not v.record.reprompted:
        return Escalate(escalation_steps[-1].action, "the turn did not settle", hard=True)
    tried = {"Steer", *(step.action for step in escalation_steps)}
    step = next((step for step in v.escalation if step not in tried), None)
    return Escalate(step, f"not seen within {v.land_seconds} s") if step else None


def resolve_the_steer(v: TaskView) -> Decision | None:
    """G-23: landed is decided by the conversation alone; after landSeconds it is taken back, then the escalation goes on or it has
    expired."""
    if v.record.phase != "Delivering" or v.record.escalation_steps:
        return None
    until = v.record.delivering_at + v.land_seconds
    if isinstance(v.verdict, Declined) and v.talk is not None:
        return Finish("Expired", Reason.DECLINED, v.verdict.error)
    if v.talk is not None and v.talk.up and v.talk.settled and not isinstance(v.verdict, Unanswered | None):
        if isinstance(v.verdict, Accepted) and not v.record.abort:
            return Withdraw()
        return Finish("Expired", Reason.NOT_LANDED, "the session settled without it")
    if v.now < until:
        return Wait(Reason.LANDING, ON_ITS_WAY, until=until)
    if v.talk is None or not v.talk.up:
        return Wait(Reason.LANDING, "waiting until its agent can be reached")
    if v.record.abort:
        return Finish("Expired", Reason.NOT_LANDED, f"not seen within {v.land_seconds} s")
    step = next_step(v) if v.target_phase == "Running" else None
    held = wait_while_halted(v) if step is not None else None
    return held or step or Withdraw()


def say_it_after_the_interruption(v: TaskView) -> Decision | None:
    """G-23: the turn was interrupted for it; it is said as a prompt of its own, once the session is settled, and counts when
    it is seen."""
    if v.record.phase != "Delivering" or not v.record.escalation_steps:
        return None
    begun = v.record.escalation_steps[-1].at
    until = begun + (v.land_seconds if v.record.reprompted else min(float(v.land_seconds), ABORT_PATIENCE))
    known = not v.record.reprompted or not isinstance(v.verdict, Unanswered | None)
    if v.talk is None or not v.talk.up:
        return Wait(Reason.ESCALATING, "waiting until its agent can be reached")
    if v.target_phase in FINISHED and known and (not v.record.reprompted or v.talk.settled):
        return Finish("Expired", Reason.TARGET_FINISHED, f"{v.target} is {v.target_phase} already")
    if not v.talk.settled:
        if v.now < until:
            return Wait(Reason.ESCALATING, "interrupting the turn", until=until)
        step = next_step(v)
        if step is not None or v.record.reprompted:
            held = wait_while_halted(v) if step is not None else None
            return held or step or Wait(Reason.LANDING, "said after the interruption; not yet seen in the conversation")
        return Finish("Expired", Reason.NOT_LANDED, "the turn could not be interrupted") if v.record.abort else Withdraw()
    if v.availability is not Availability.READY:
        return Wait(Reason.ESCALATING, "waiting until its lieutenant is ready")
    if is_halted(v) and _would_be_said(v, begun):
        return wait_while_halted(v)
    match v.verdict:
        case None | Unanswered():
            return Wait(Reason.LANDING, "waiting for pi's answer")
        case _ if not v.record.reprompted:
            return Reprompt()
        case Unheard():
            return Reprompt(fresh_key=False)
        case Accepted() | Lost() | Declined():
            if v.now < begun + v.land_seconds:
                return Reprompt()
            return Finish("Expired", Reason.NOT_LANDED, "not seen after the turn was interrupted for it")


def _would_be_said(v: TaskView, begun: float) -> bool:
    """What is next is a prompt, for the first time or once more."""
    if isinstance(v.verdict, Unanswered | None):
        return False
    return not v.record.reprompted or isinstance(v.verdict, Unheard) or v.now < begun + v.land_seconds


def note_the_steer(v: TaskView) -> Decision | None:
    """A landed steer has done all it can."""
    return Finish("Succeeded", Reason.LANDED) if v.record.phase == "Running" else None


def end_a_steer(v: TaskView) -> Decision | None:
    """A steer that must end and was sent is taken back first."""
    ending = must_end(v)
    if ending is None:
        return None
    if not v.record.sent or v.record.abort or v.left_running:
        return ending
    if v.record.reprompted:
        return None  # it is no longer in pi's queue: it is seen in a moment, or never arrives
    return Withdraw() if v.talk is not None and v.talk.up else ending


STEER: Chain[TaskView] = Chain(
    "A steer",
    "A task with `delivery: Steer`, on its way into a running turn.",
    (
        leave_the_finished,
        refuse_the_unsupported,
        refuse_what_nobody_would_check,
        wait_for_a_lieutenant,
        note_the_landing,
        note_the_steer,
        end_a_steer,
        steer_only_the_target,
        resolve_the_steer,
        say_it_after_the_interruption,
    ),
)
