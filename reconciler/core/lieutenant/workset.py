"""A lieutenant and its tasks, decided together: one snapshot in, one decision for each of them out.

They share one session, so they are looked at by one worker at a time; the order below is the order of the acts.
"""

from __future__ import annotations

from dataclasses import replace

from reconciler.api.lieutenant import OnBusy, ToolProgress
from reconciler.api.meta import epoch as seconds_of
from reconciler.api.permissions import Permissions
from reconciler.api.reasons import Reason
from reconciler.api.task import Decision as Answer
from reconciler.api.task import Delivery
from reconciler.core.decisions import AbortTurn, AtNext, Decision, Refuse, Steady, Wait
from reconciler.core.governance.permissions.declared import TASK_LEVEL as TASK
from reconciler.core.governance.permissions.declared import wrong_examples
from reconciler.core.keys import Key
from reconciler.core.lieutenant import policies as lieutenant
from reconciler.core.lieutenant import spare
from reconciler.core.lieutenant.budget import budget_reason
from reconciler.core.lieutenant.policies import works_aside
from reconciler.core.lieutenant.provider import provider_reason
from reconciler.core.lieutenant.readback import rules_of_its_task
from reconciler.core.lieutenant.reminder import to_be_said
from reconciler.core.lieutenant.session import mirror_what_was_read
from reconciler.core.plan import Plan, Step, is_action
from reconciler.core.profile.directories import WORK_DIR
from reconciler.core.records import TaskRecord, run_of
from reconciler.core.slot.management import only_observe
from reconciler.core.snapshot.agent import Guest
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.provider import NO_PROVIDER
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.task import NOT_REMINDED, Approval, Availability, OverBudget, TaskView
from reconciler.core.snapshot.vm import Seen, VmState
from reconciler.core.snapshot.workset import TaskFacts, WorkSet
from reconciler.core.spending.ledger import NOTHING, Spent, spent_in
from reconciler.core.spending.pool import ends_turns, held_words, strictest
from reconciler.core.task import policies as task
from reconciler.core.task.queue import QueueIndex
from reconciler.core.task.view import ABORT_PATIENCE

ABANDON_AFTER = 60.0
"""Seconds a deletion waits for an agent that can't be asked to end its turn."""


def plan(view: WorkSet) -> Plan:
    """Decide the lieutenant, then each of its tasks in the light of it; what was read of the conversation is saved before that."""
    decided = plan_lieutenant(view)
    first: Step | None = None
    beside: Decision | None = None
    if view.lieutenant is not None:
        mirror = mirror_what_was_read(view.lieutenant)
        first = Step(view.key, mirror) if mirror is not None else None
        beside = spare.plan(view.lieutenant, not is_action(decided))
    decisions: dict[Key, Decision] = {}
    if decided is not None:
        decisions[view.key] = spare.together(decided, beside) if beside is not None else decided
    if not view.tasks:
        return Plan(view.key, decisions, first, beside)
    (availability, why), index = availability_of(view, decided), QueueIndex(view)
    observing = view.lieutenant is not None and view.lieutenant.slot.observe_only
    for facts in view.tasks:
        decision = task.plan(task_view(view, facts, index, availability, why))
        decisions[facts.key] = only_observe(decision) if observing else decision
    return Plan(view.key, decisions, first, beside)


def plan_lieutenant(view: WorkSet) -> Decision | None:
    if view.lieutenant is None or view.spec is None:
        return None
    decision = lieutenant.plan(view.lieutenant, view.goes_on)
    if view.lieutenant.slot.observe_only:
        return decision
    if isinstance(decision, Wait) and decision.reason is Reason.SUSPEND_PENDING and view.spec.suspend.on_busy is OnBusy.ABORT:
        return cut_short(view, view.lieutenant, decision, view.spec.suspend.grace_seconds)
    return decision


def cut_short(view: WorkSet, lt: LieutenantView, decision: Wait, grace: int) -> Decision:
    """suspend.onBusy Abort: when the grace is over, the turn is aborted, then the machine suspended (G-08)."""
    due = (lt.record.suspend_asked_at or view.now) + grace
    if view.now < due:
        return replace(decision, until=due)
    if view.talk is not None and view.talk.up and not view.talk.settled and view.now >= lt.record.abort_at + ABORT_PATIENCE:
        return AbortTurn("Suspending")
    return replace(decision, until=view.now + ABORT_PATIENCE)


def availability_of(view: WorkSet, decision: Decision | None) -> tuple[Availability, str]:
    """What the lieutenant is to its tasks right now, and why."""
    lt = view.lieutenant
    if lt is None or decision is None:
        return Availability.MISSING, ""
    if lt.slot.desired is DesiredState.GONE and not (isinstance(decision, Refuse) and decision.reason is Reason.PROTECTED):
        return Availability.GOING, ""
    if lt.slot.observe_only:
        return Availability.OBSERVED, ""
    if lt.slot.desired is DesiredState.SUSPENDED:
        return Availability.SUSPENDED, "its lieutenant rests, and does not wake on a task" if lt.record.rest.reason else ""
    rest = decision.meanwhile if isinstance(decision, AtNext) else decision
    match rest:
        case Steady():
            return Availability.READY, ""
        case Wait(Reason.LOCAL_FALLBACK | Reason.REPLACING):
            return Availability.READY, ""
        case _ if provider_reason(rest) or budget_reason(rest):
            return Availability.READY, ""
        case _ if works_aside(lt, rest):
            return Availability.READY, ""
        case Wait(reason, message) | Refuse(reason, message):
            return Availability.NOT_READY, f"{reason}: {message}" if message else reason
        case _:
            return Availability.NOT_READY, str(rest.doing)


def _wrong(permissions: Permissions, delivery: Delivery) -> str:
    if delivery is Delivery.STEER:
        return "a steer is said in the turn of another task, under the rules of that; remove its permissions"
    flaw = next(wrong_examples(TASK, permissions, WORK_DIR), None)
    return f"example {flaw[0]} of the permissions: {flaw[1]}" if flaw is not None else ""


def _misruled(view: WorkSet, facts: TaskFacts) -> str:
    at_work = facts.record.phase == "Running" and view.talk is not None and view.talk.up and not view.talk.settled
    return rules_of_its_task(view.lieutenant.lt, facts.spec.permissions) if at_work and view.lieutenant is not None else ""


def _nothing_is_checked(view: WorkSet) -> bool:
    rendered = view.lieutenant.rendered if view.lieutenant is not None else None
    return isinstance(rendered, Rendered) and rendered.rules is None


def task_view(view: WorkSet, facts: TaskFacts, index: QueueIndex, availability: Availability, why: str) -> TaskView:
    """Everything one task's policies may look at."""
    spec, record, name = facts.spec, facts.record, facts.key.name
    limits = view.spec.limits if view.spec else None
    active = index.active(name)
    target = spec.target.name if spec.target else (record.target or active)
    running = view.lieutenant is not None and runs(view.lieutenant)
    provider = view.lieutenant.provider if view.lieutenant is not None else NO_PROVIDER
    overdue = view.deleted_at is not None and view.now >= view.deleted_at + ABANDON_AFTER
    return TaskView(
        name=name,
        record=record,
        now=view.now,
        created_at=facts.created_at,
        steer=spec.delivery is Delivery.STEER,
        cancel=spec.cancel,
        deleting=facts.deleting,
        not_before=seconds_of(spec.not_before) if spec.not_before else 0.0,
        deadline_seconds=spec.deadline_seconds or 0,
        timeout_seconds=_first(spec.task_timeout_seconds, limits.task_timeout_seconds if limits else 0),
        no_progress_seconds=_first(spec.no_progress_seconds, limits.no_progress_seconds if limits else 0),
        work_is_progress=limits is not None and limits.tool_progress is ToolProgress.WORK,
        land_seconds=_first(spec.land_seconds, limits.steer_land_seconds if limits else 60),
        first_artifact_seconds=limits.first_artifact_seconds if limits else 0,
        max_turns=limits.max_turns if limits else 0,
        ttl_seconds=spec.ttl_seconds_after_finished,
        escalation=tuple(step.value for step in spec.escalation),
        retries=spec.retries,
        has_acceptance=bool(spec.acceptance),
        availability=availability,
        unavailable_because=why,
        talk=view.talk,
        verdict=facts.verdict,
        dependencies=facts.dependencies,
        cycle=facts.cycle,
        ahead=index.queue.ahead_of(facts.created_at, name),
        active=active,
        queue_full=view.spec is not None and index.queue.rank(facts.created_at, name) > view.spec.queue.max_pending,
        next_landed=index.landed_after(record),
        target=target,
        target_phase=index.phase_of(target, name),
        other_steer=index.steer_beside(name),
        held_by=index.holder_of(name),
        content_missing=facts.content_missing,
        hurried=facts.retry not in ("", record.retried),
        unsupported=facts.unsupported,
        provider=provider,
        probes=provider.breaker.prober == str(facts.key),
        session=view.lieutenant.record.session.name if view.lieutenant else "",
        copied_by=copied_by(view.lieutenant) if view.lieutenant else "",
        abandoned=availability is Availability.GOING and (overdue or not running),
        no_work=view.no_work,
        went_on_at=view.went_on_at,
        over_budget=over_budget(view),
        budget=spec.budget,
        spent=spent_by(view, record, index) if spec.budget is not None else NOTHING,
        untold=to_be_said(view.lieutenant) if view.lieutenant is not None else "",
        reminder=view.lieutenant.record.reminder if view.lieutenant is not None else NOT_REMINDED,
        approvals=tuple(Approval(a.id, a.decision is Answer.APPROVE, a.reason) for a in spec.approvals),
        wrong_rules="" if record.sent or spec.permissions is None else _wrong(spec.permissions, spec.delivery),
        misruled=_misruled(view, facts),
        unguarded=spec.permissions is not None and _nothing_is_checked(view),
        left_running=availability is Availability.GOING and view.lieutenant is not None and view.lieutenant.slot.deletion.hands_off,
    )


def over_budget(view: WorkSet) -> OverBudget | None:
    """The budget that is used up and asks for most."""
    pool = strictest(view.lieutenant.pools) if view.lieutenant is not None else None
    return OverBudget(held_words(pool), ends_turns(pool)) if pool is not None else None


def spent_by(view: WorkSet, record: TaskRecord, index: QueueIndex) -> Spent:
    """What all attempts of a task cost so far."""
    before = Spent(record.spent_cost, record.spent_tokens)
    here = view.lieutenant is not None and record.session == view.lieutenant.record.session.name
    if view.talk is None or record.landed < 0 or not here:
        return before
    return before + spent_in(run_of(view.talk.costs, record.landed, index.landed_after(record)), view.prices)


def copied_by(lt: LieutenantView) -> str:
    """Who asks this one to stand still, or holds it so, in words; '' for nobody. What was written down to stand still does until that
    is taken back."""
    wanted = lt.copies.wanted
    return ", ".join(wanted[:10]) or ("another lieutenant" if lt.record.stand.vm_id else "")


def runs(lt: LieutenantView) -> bool:
    """The machine its agent is on runs, so that the agent can be asked to end its turn."""
    if lt.record.local.state == "Home":
        return isinstance(lt.guest, Guest) and lt.guest.keeper_alive
    return isinstance(lt.slot.vm, Seen) and lt.slot.vm.state is VmState.RUNNING


def _first(own: int | None, inherited: int) -> int:
    return inherited if own is None else own
