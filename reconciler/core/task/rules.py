"""A turn whose tool calls are checked against other rules than those of its task, as pi's keeper says, is ended; the task goes on by a
prompt that brings its rules with it. Pure."""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.decisions import AbortTurn, Decision, Wait
from reconciler.core.snapshot.task import TaskView
from reconciler.core.task.view import ABORT_PATIENCE

MISRULED = "Rules"
"""Why a turn was ended, as the record of its task has it."""


def end_a_turn_under_other_rules(v: TaskView) -> Decision | None:
    """G-28: no call is made, and no question answered, for a task whose own rules are not in force."""
    if v.record.phase != "Running" or not v.misruled or v.record.abort not in ("", MISRULED):
        return None
    patient = v.record.aborted_at + ABORT_PATIENCE
    if v.record.abort and v.now < patient:
        return Wait(Reason.PERMISSIONS_NOT_APPLIED, v.misruled, until=patient)
    return AbortTurn(MISRULED, v.misruled)
