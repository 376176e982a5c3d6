"""The status of a Task, made once, after deciding, from its record and what was decided."""

from __future__ import annotations

from reconciler.core.conditions import Condition, Truth, merge_conditions, progress_conditions, reason_of, unreadable
from reconciler.core.decisions import Decision
from reconciler.core.keys import Json
from reconciler.core.records import TaskRecord
from reconciler.core.times import timestamp


def task_status(
    record: TaskRecord, decision: Decision, previous: Json, generation: int, now: float, convenience: tuple[str, ...] = ()
) -> Json:
    """The whole status of a Task."""
    reason, message = (record.reason, record.message) if record.finished else reason_of(decision)
    declared = record.phase == "Succeeded" or (record.phase == "Cancelled" and record.reason == "CancelledByUser")
    if record.finished:
        conditions = [Condition("Ready", "True" if declared else "False", reason, message)]
        if not declared:
            conditions.append(Condition("Stalled", "True", reason, message))
    else:
        ready: Truth = "Unknown" if unreadable(reason) else "False"
        conditions = [Condition("Ready", ready, reason, message), *progress_conditions(decision, ready)]
    if convenience:
        conditions.append(Condition("Unsupported", "True", "Unsupported", f"not acted on in this release: {', '.join(convenience)}"))
    status: Json = {
        "observedGeneration": generation,
        "phase": record.phase,
        "conditions": merge_conditions(previous.get("conditions"), conditions, generation, now),
        "attempt": record.attempt,
    }
    for name, at in (("deliveredAt", record.delivering_at), ("landedAt", record.landed_at), ("finishedAt", record.finished_at)):
        if at:
            status[name] = timestamp(at)
    if record.attempts:
        status["attempts"] = [{"number": a.number, "reason": a.reason, "message": a.message} for a in record.attempts]
    if record.escalation_steps:
        status["escalation"] = [{"action": step.action, "at": timestamp(step.at), "reason": step.why} for step in record.escalation_steps]
    if record.finished and record.landed >= 0:
        usage: Json = {"inputTokens": record.input_tokens, "outputTokens": record.output_tokens, "cost": f"{record.cost:.6f}"}
        result: Json = {
            "stopReason": record.stop_reason,
            "answer": record.answer,
            "answerBytes": record.answer_bytes,
            "usage": usage,
            "turns": record.turns,
            "files": list(record.files),
            "checks": list(record.checks),
        }
        if record.files_more:
            result["filesMore"] = record.files_more
        status["result"] = result
    return status
