"""Whether an agent has what was declared: instructions as pi itself says it read them, the files behind them as they are on the
disk, model and thinking as pi says they are (G-27, G-30). Pure.

Instructions and environment are read by pi when it starts; model and thinking are set while it runs and never cost a restart.
"""

from __future__ import annotations

from reconciler.api.governreasons import GovernReason
from reconciler.api.reasons import Reason
from reconciler.core.decisions import Decision, Refuse, SetModel, StopAgent, Wait, WriteFiles
from reconciler.core.profile.instructions import differing
from reconciler.core.profile.rendering import same_launch
from reconciler.core.snapshot.agent import Agent, Compacting, Guest, Inside, Up
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.stages import AgentPart, Basics, GovernPart, SessionPart


def told_otherwise(rendered: Rendered, inside: Inside) -> tuple[str, ...]:
    """What pi was told otherwise than declared; empty when nothing is."""
    return differing(rendered.told, inside)


def _up(v: Basics) -> tuple[Agent, Up, Rendered] | None:
    """The agent that runs and answers, when it is known what it should be."""
    if isinstance(v.agent, Agent) and isinstance(v.agent.process, Up) and v.agent.process.responsive and isinstance(v.rendered, Rendered):
        return v.agent, v.agent.process, v.rendered
    return None


def mismatch(v: Basics) -> tuple[str, str]:
    """How pi's model or thinking, as it says itself, differs from what is declared, as (reason, words); empty when it does not.
    What is not declared is pi's own choice."""
    up = _up(v)
    if up is None:
        return "", ""
    _, process, rendered = up
    if rendered.model and process.model != rendered.model:
        return Reason.MODEL_MISMATCH, f"declared {rendered.model}, pi says {process.model or 'none'}"
    if rendered.thinking and process.thinking != rendered.thinking:
        return Reason.THINKING_MISMATCH, f"declared {rendered.thinking}, pi says {process.thinking or 'none'} for model {process.model}"
    return "", ""


def permissions_mismatch(v: Basics) -> str:
    """How the rules that pi runs under, as its keeper says, differ from the declared ones; '' when they do not."""
    up = _up(v)
    if up is None or not same_launch(up[1].launch_hash, up[2]):
        return ""
    _, process, rendered = up
    declared = rendered.rules.hash if rendered.rules is not None else ""
    has = process.guard.base if process.guard is not None else ""
    return f"declared are rules {declared or 'none'}, pi runs under {has or 'none'}" if has != declared else ""


def compaction_mismatch(v: Basics) -> str:
    """How pi shortens its conversation, as it says itself, where that differs from what is declared; '' where it does not."""
    up = _up(v)
    if up is None or not same_launch(up[1].launch_hash, up[2]) or up[1].compacting is None or up[1].compacting == up[2].compacting:
        return ""
    return f"compaction: declared {_words(up[2].compacting)}, pi says {_words(up[1].compacting)}"


def _words(has: Compacting) -> str:
    return f"auto {str(has.auto).lower()}, reserveTokens {has.reserve_tokens}, keepRecentTokens {has.keep_recent_tokens}"


def rejected(v: Basics) -> bool:
    """This very pi refused this very model and thinking before."""
    up = _up(v)
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
    """G-27: asked for by a person (`retry`), a pi that was told otherwise is restarted on the same session, when settled."""
    up = _up(v.lt)
    if up is None or not v.lt.record.config.again or not v.lt.settled or v.lt.active_task:
        return None
    _, process, rendered = up
    if (process.inside is not None and told_otherwise(rendered, process.inside)) or compaction_mismatch(v.lt):
        return StopAgent(v.lt.vm_id, "it was told otherwise than declared")
    return None


def put_files_right(v: SessionPart) -> Decision | None:
    """G-27: files that somebody changed are as declared again, and models that pi must know are in its file; when settled."""
    up = _up(v.lt)
    if up is None or not isinstance(v.lt.guest, Guest) or not v.lt.settled or v.lt.active_task:
        return None
    _, process, rendered = up
    if same_launch(process.launch_hash, rendered) and (v.edited or v.lt.guest.marks.get("agent") != rendered.agent_hash):
        return WriteFiles(v.lt.vm_id, "agent")
    return None


def set_the_model(v: AgentPart) -> Decision | None:
    """G-30: model and thinking reach pi while it runs, before its next prompt; it is asked once and not again until something
    changes."""
    up = _up(v.lt)
    if up is None or not v.lt.settled or rejected(v.lt) or not mismatch(v.lt)[0]:
        return None
    return SetModel(v.lt.vm_id, up[2].model, up[2].thinking)


def report_instructions_not_applied(v: GovernPart) -> Decision | None:
    """G-27: what pi says it was told must be what is declared; a keeper from before that question can't be asked."""
    up = _up(v.lt)
    if up is None:
        return None
    agent, process, rendered = up
    if agent.keeper_version != v.lt.keeper_version or not same_launch(process.launch_hash, rendered):
        return None
    if process.inside is None:
        return Wait(Reason.INSTRUCTIONS_UNREAD, "pi has not said yet what it was told", until=v.lt.now + (v.lt.health_period or 1.0))
    differs = told_otherwise(rendered, process.inside)
    if differs:
        return Refuse(Reason.INSTRUCTIONS_NOT_APPLIED, f"pi was told otherwise than declared: {', '.join(differs)}")
    return None


def report_permissions_not_applied(v: GovernPart) -> Decision | None:
    """G-28: nothing is delivered to a pi whose tool calls are checked against other rules than the declared ones."""
    told = permissions_mismatch(v.lt)
    return Refuse(Reason.PERMISSIONS_NOT_APPLIED, told) if told else None


def report_compaction_not_applied(v: GovernPart) -> Decision | None:
    """G-27: pi shortens its conversation as declared, or that is told; pi says itself how it does."""
    told = compaction_mismatch(v.lt)
    return Refuse(GovernReason.COMPACTION_NOT_APPLIED, told) if told else None


def report_a_refused_model(v: GovernPart) -> Decision | None:
    """G-27: a model that pi refuses is not called applied; pi goes on with the one it has."""
    verdict, words = refusal(v.lt)
    return Refuse(verdict, words) if verdict is not None else None
