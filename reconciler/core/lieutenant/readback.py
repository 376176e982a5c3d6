"""What is in force in a pi that runs, as itself and its keeper say it, beside what is declared (G-27, G-28): instructions, permissions,
memory, compaction and the boundary around it. One list; status, deliveries and a person's `retry` go by it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.api.governreasons import GovernReason
from reconciler.api.permissions import Permissions
from reconciler.api.reasons import Reason
from reconciler.core.governance.permissions.declared import for_task
from reconciler.core.profile.instructions import differing
from reconciler.core.profile.rendering import same_launch
from reconciler.core.snapshot.agent import Agent, Compacting, Up
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.stages import Basics


@dataclass(frozen=True, slots=True)
class NotApplied:
    """What is not as declared, as a reason and words for people. `unread`: it was not told yet, which passes by itself."""

    reason: Reason | GovernReason
    words: str
    unread: bool = False


def unapplied(v: Basics) -> NotApplied | None:
    """The first thing that is not in force; None where all is, where pi does not answer, and where it runs with an earlier launch."""
    up = running(v)
    if up is None or not same_launch(up[1].launch_hash, up[2]):
        return None
    agent, process, rendered = up
    asked = READ_BACK if agent.keeper_version == v.keeper_version else READ_BACK[1:]  # an earlier keeper can't tell what pi was told
    return next((found for read in asked if (found := read(process, rendered)) is not None), None)


def running(v: Basics) -> tuple[Agent, Up, Rendered] | None:
    """The agent that runs and answers, when it is known what it should be."""
    agent = v.agent
    if not isinstance(agent, Agent) or not isinstance(agent.process, Up):
        return None
    return (agent, agent.process, v.rendered) if agent.process.responsive and isinstance(v.rendered, Rendered) else None


def instructions(process: Up, rendered: Rendered) -> NotApplied | None:
    """Pi itself says what it was told."""
    if process.inside is None:
        return NotApplied(Reason.INSTRUCTIONS_UNREAD, "pi has not said yet what it was told", unread=True)
    differs = differing(rendered.told, process.inside)
    words = f"pi was told otherwise than declared: {', '.join(differs)}"
    return NotApplied(Reason.INSTRUCTIONS_NOT_APPLIED, words) if differs else None


def permissions(process: Up, rendered: Rendered) -> NotApplied | None:
    """The keeper says which rules it checks calls against."""
    declared = rendered.rules.hash if rendered.rules is not None else ""
    has = process.guard.base if process.guard is not None else ""
    words = f"declared are rules {declared or 'none'}, pi runs under {has or 'none'}"
    return NotApplied(Reason.PERMISSIONS_NOT_APPLIED, words) if has != declared else None


def rules_of_its_task(v: Basics, own: Permissions | None) -> str:
    """The keeper says which rules it checks the calls of a turn against; what differs from those of the task in words, '' for nothing and
    where it is not known."""
    up = running(v)
    if up is None or not same_launch(up[1].launch_hash, up[2]):
        return ""
    declared = for_task(up[2].rules, own, up[2].work_dir)
    has = up[1].guard.hash if up[1].guard is not None else ""
    if declared is None or has == declared.hash:
        return ""
    return f"declared for this task are rules {declared.hash}, pi runs under {has or 'none'}"


def memory(process: Up, rendered: Rendered) -> NotApplied | None:
    """Pi says what it has of what it was given to remember."""
    taken = process.memory
    if rendered.memory is None:
        return None
    if taken is None:
        return NotApplied(GovernReason.MEMORY_NOT_APPLIED, "pi runs without the tools of its memory")
    if not taken.has:
        return NotApplied(GovernReason.MEMORY_UNREAD, "pi has not said yet what it remembers", unread=True)
    if rendered.memory.facts is not None and taken.missing:
        return NotApplied(GovernReason.MEMORY_NOT_APPLIED, f"pi knows no model {taken.missing}, which memory.factsModel names")
    words = f"pi was given {taken.given[:16]} to remember, and has {taken.has[:16]}"
    return NotApplied(GovernReason.MEMORY_NOT_APPLIED, words) if taken.has != taken.given else None


def compaction(process: Up, rendered: Rendered) -> NotApplied | None:
    """Pi says how it shortens its conversation; one that can't say it is not asked."""
    has, declared = process.compacting, rendered.compacting
    if has is None or has == declared:
        return None
    return NotApplied(GovernReason.COMPACTION_NOT_APPLIED, f"compaction: declared {_words(declared)}, pi says {_words(has)}")


def sandbox(process: Up, rendered: Rendered) -> NotApplied | None:
    """The keeper says which boundary pi is in."""
    declared = rendered.boundary.hash if rendered.boundary is not None else ""
    words = f"declared is {declared or 'none'}, pi runs in {process.sandbox or 'none'}"
    return NotApplied(GovernReason.SANDBOX_NOT_APPLIED, words) if process.sandbox != declared else None


def _words(has: Compacting) -> str:
    return f"auto {str(has.auto).lower()}, reserveTokens {has.reserve_tokens}, keepRecentTokens {has.keep_recent_tokens}"


READ_BACK: tuple[Callable[[Up, Rendered], NotApplied | None], ...] = (instructions, permissions, memory, compaction, sandbox)
"""In the order in which they are told."""
