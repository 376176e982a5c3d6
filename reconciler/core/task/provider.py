"""What a task does when the provider of its lieutenant's model says no: it waits, and spends no attempt. Pure."""

from __future__ import annotations

from dataclasses import replace

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Decision, HoldForProvider, NoteAnswer, Wait
from reconciler.core.provider.trouble import Remedy, trouble_of
from reconciler.core.snapshot.task import TaskView
from reconciler.core.task.limits import next_limit
from reconciler.core.task.view import fail, run

SUSPECT = 5
"""So often an error that the request itself may cause is waited for before it costs an attempt: one task can't hold up the others."""

ANSWERED = frozenset({"stop", "toolUse", "length"})


def model_failed(v: TaskView, error: str, otherwise: Reason = Reason.MODEL_ERROR) -> Decision:
    """G-21: what the error means decides: the task waits for its provider, or this attempt has failed. `otherwise`: its reason then,
    where the error itself does not say a better one."""
    trouble = trouble_of(error)
    if trouble.remedy is Remedy.REQUEST or (trouble.suspect and v.record.held >= SUSPECT):
        return fail(v, trouble.reason if trouble.overflow else otherwise, error or "the last answer ended with error")
    asked = v.talk.retry_after if v.talk is not None and trouble.remedy is Remedy.TIME else 0.0
    return HoldForProvider(replace(trouble, retry_after=max(trouble.retry_after, asked)), error)


def wait_for_the_provider(v: TaskView) -> Wait | None:
    """No prompt goes to a provider that is at its limit or refuses, but one probe at a time."""
    breaker = v.provider.breaker
    if not breaker.blocks(v.now, v.provider.probing and not v.probes):
        return None
    reason = Reason.MODEL_REFUSED if breaker.refused else Reason.PROVIDER_LIMITED
    limit = next_limit(v)
    if breaker.certain and not v.provider.due:
        return Wait(reason, v.provider.words, until=limit)
    until = v.provider.again_at  # told as it is when it has come and another one asks: status would be written at every look otherwise
    return Wait(reason, v.provider.words, until=until if limit is None else min(limit, until))


def note_the_answer(v: TaskView) -> Decision | None:
    """The probe was answered: the provider is open to all again."""
    if v.record.phase != "Running" or not v.provider.breaker.open or not v.probes:
        return None
    said = [message for message in run(v) if message.role == "assistant"]
    return NoteAnswer() if said and said[-1].stop_reason in ANSWERED else None
