"""Whether an agent has what was declared: instructions as pi itself says it read them, the files behind them as they are on the
disk, model and thinking as pi says they are (G-27, G-30). Pure.

Instructions and environment are read by pi when it starts; model and thinking are set while it runs and never cost a restart.
"""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Decision, NoteRefusals, Refuse, SetModel, StopAgent, Wait, WriteFiles
from reconciler.core.lieutenant.readback import running, unapplied
from reconciler.core.profile.rendering import same_launch
from reconciler.core.snapshot.agent import Guest
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.stages import AgentPart, Basics, GovernPart, SessionPart, SlotPart

SELDOM = 10.0
"""Seconds between two events about what an agent was refused."""


def mismatch(v: Basics) -> tuple[str, str]:
    """How pi's model or thinking, as it says itself, differs from what is declared, as (reason, words); empty when it does not.
    What is not declared is pi's own choice."""
    up = running(v)
    if up is None:
        return "", ""
    _, process, rendered = up
    if rendered.model and process.model != rendered.model:
        return Reason.MODEL_MISMATCH, f"declared {rendered.model}, pi says {process.model or 'none'}"
    if rendered.thinking and process.thinking != rendered.thinking:
        return Reason.THINKING_MISMATCH, f"declared {rendered.thinking}, pi says {process.thinking or 'none'} for model {process.model}"
    return "", ""


def rejected(v: Basics) -> bool:
    """This very pi refused this very model and thinking before."""
    up = running(v)
    if up is None:
        return False
    _, process, rendered = up
    told = v.record.config
    return told.pid == process.pid and told.asked == asked(rendered)


def refusal(v: Basics) -> tuple[Reason | None, str]:
    """That pi refused model or thinking, why, and what to do; None when it did not."""
    reason, words = mismatch(v)
    if not reason or not rejected(v):
        return None, ""
    told = f"{words}: {v.record.config.why}"
    if reason == Reason.MODEL_MISMATCH:
        remedy = "correct `model`, its provider in the profile or that provider's key; `reconciler retry` asks again"
        return Reason.MODEL_REJECTED, f"{told}; {remedy}"
    return Reason.THINKING_REJECTED, f"{told}; declare a level that it has, or another model"


def asked(rendered: Rendered) -> str:
    """What a refusal is about: the model, its thinking, and the providers it was looked for in."""
    return f"{rendered.model} {rendered.thinking} {rendered.agent_hash}"


# --- policies, in the order in which the lieutenant's escalation has them -------------------------------------------------------------


def read_the_instructions_again(v: SessionPart) -> Decision | None:
    """G-27: asked for by a person (`retry`), a pi in which something is not as declared is restarted on the same session, when settled."""
    if not v.lt.record.config.again or running(v.lt) is None or not v.lt.settled or v.lt.active_task:
        return None
    found = unapplied(v.lt)
    return StopAgent(v.lt.vm_id, "it was told otherwise than declared") if found is not None and not found.unread else None


def put_files_right(v: SessionPart) -> Decision | None:
    """G-27: files that somebody changed are as declared again, and models that pi must know are in its file; when settled."""
    up = running(v.lt) if v.lt.settled and not v.lt.active_task else None
    if up is None or not isinstance(v.lt.guest, Guest):
        return None
    _, process, rendered = up
    if same_launch(process.launch_hash, rendered) and (v.edited or v.lt.guest.marks.get("agent") != rendered.agent_hash):
        return WriteFiles(v.lt.vm_id, "agent")
    return None


def set_the_model(v: AgentPart) -> Decision | None:
    """G-30: model and thinking reach pi while it runs, before its next prompt; it is asked once and not again until something
    changes."""
    up = running(v.lt)
    if up is None or not v.lt.settled or rejected(v.lt) or not mismatch(v.lt)[0]:
        return None
    return SetModel(v.lt.vm_id, up[2].model, up[2].thinking)


def report_what_is_not_applied(v: GovernPart) -> Decision | None:
    """G-27, G-28: nothing is delivered to a pi whose instructions, permissions, memory, compaction or sandbox are not as declared, as it
    and its keeper say."""
    found = unapplied(v.lt)
    if found is not None and found.unread:
        return Wait(found.reason, found.words, until=v.lt.now + (v.lt.health_period or 1.0))
    return Refuse(found.reason, found.words) if found is not None else None


def note_what_was_refused(v: SlotPart) -> Decision | None:
    """G-28: what an agent tried and was refused is told of it, in some order: not too often while it works, and when its turn is over at
    once, since pi may be stopped then and knows it alone."""
    up = running(v.lt)
    if up is None or v.slot.observe_only:
        return None
    _, process, _ = up
    known, run = v.lt.record.refused, str(process.pid)
    news = process.refused.after(known.number if known.run == run else 0)
    due = v.lt.settled or v.lt.now >= known.at + SELDOM
    return NoteRefusals(run, process.refused.last, news) if news and due else None


def report_a_refused_model(v: GovernPart) -> Decision | None:
    """G-27: a model that pi refuses is not called applied; pi goes on with the one it has."""
    if v.provider.breaker.certain:
        return None  # pi refuses it for want of its key, which is told with the remedy
    verdict, words = refusal(v.lt)
    return Refuse(verdict, words) if verdict is not None else None
