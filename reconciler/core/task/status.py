"""The status of a Task, made once, after deciding, from its record and what was decided."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.api.reasons import Reason
from reconciler.api.status.base import WORD, Condition, Truth, clipped
from reconciler.api.status.task import (
    ANSWER,
    ASKS,
    FILES,
    PATH,
    TRIES,
    AskStatus,
    AttemptStatus,
    EscalationStatus,
    ResultStatus,
    TaskStatus,
    UsageStatus,
)
from reconciler.core.conditions import merge_conditions, next_try, progress_conditions, reason_of, unreadable
from reconciler.core.decisions import AnswerQuestion, AwaitApproval, Decision
from reconciler.core.keys import Json, as_maps
from reconciler.core.records import TaskRecord
from reconciler.core.snapshot.agent import Question
from reconciler.core.times import timestamp, timestamp_us

AWAITING = "AwaitingApproval"
"""The phase of a task whose agent waits for a person."""


def task_status(
    record: TaskRecord,
    decision: Decision,
    previous: Json,
    generation: int,
    now: float,
    convenience: tuple[str, ...] = (),
    arrived: float = 0.0,
) -> TaskStatus:
    """The whole status of a Task. `arrived`: its place in the order of its lieutenant's tasks, 0 for as it was told before."""
    reason, message = (record.reason, record.message) if record.finished else reason_of(decision)
    declared = record.phase == "Succeeded" or (record.phase == "Cancelled" and record.reason == "CancelledByUser")
    if record.finished:
        conditions = [Condition("Ready", "True" if declared else "False", reason, message)]
        if not declared:
            conditions.append(Condition("Stalled", "True", reason, message))
    else:
        ready: Truth = "Unknown" if unreadable(reason) else "False"
        conditions = [Condition("Ready", ready, reason, message), *progress_conditions(decision, ready)]
    match decision:
        case AwaitApproval(asks=waiting) | AnswerQuestion(left=waiting):
            pass
        case _:
            waiting = ()
    if convenience:
        conditions.append(Condition("Unsupported", "True", Reason.UNSUPPORTED, f"not acted on in this release: {', '.join(convenience)}"))
    return TaskStatus(
        observed_generation=generation,
        phase=AWAITING if waiting else record.phase,
        conditions=merge_conditions(previous.get("conditions"), conditions, generation, now),
        attempt=record.attempt,
        arrived_at=timestamp_us(arrived) if arrived else str(previous["arrivedAt"]) if "arrivedAt" in previous else None,
        delivered_at=_time(record.delivering_at),
        landed_at=_time(record.landed_at),
        finished_at=_time(record.finished_at),
        attempts=tuple(AttemptStatus(a.number, a.reason, clipped(a.message)) for a in record.attempts[-TRIES:]) or None,
        escalation=tuple(EscalationStatus(s.action, timestamp(s.at), clipped(s.why)) for s in record.escalation_steps[-TRIES:]) or None,
        asks=_asks(waiting, previous) if waiting else None,
        next_try_at=None if record.finished else next_try(decision),
        result=_result(record) if record.finished and record.landed >= 0 else None,
    )


def _asks(asks: Sequence[Question], previous: Json) -> tuple[AskStatus, ...]:
    """Since when each waits is told as it was told first: it is reckoned from its age, anew with every look."""
    asks, since = asks[:ASKS], {str(ask.get("id")): str(ask.get("since")) for ask in as_maps(previous.get("asks"))}
    return tuple(
        AskStatus(a.id, clipped(a.call), clipped(a.part), clipped(a.rule), a.level, since.get(a.id) or timestamp(a.since)) for a in asks
    )


def _time(at: float) -> str | None:
    return timestamp(at) if at else None


def _result(record: TaskRecord) -> ResultStatus:
    return ResultStatus(
        stop_reason=clipped(record.stop_reason, WORD),
        answer=record.answer[-ANSWER:],
        answer_bytes=record.answer_bytes,
        usage=UsageStatus(record.input_tokens, record.output_tokens, f"{record.cost:.6f}"),
        turns=record.turns,
        files=tuple(clipped(path, PATH) for path in record.files[:FILES]),
        checks=tuple(clipped(check) for check in record.checks),
        files_more=record.files_more or None,
    )
