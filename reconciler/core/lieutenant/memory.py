"""What an agent remembers: brought to its machine before pi starts, saved as soon as something was written there, and read back. Pure."""

from __future__ import annotations

from reconciler.api.governreasons import GovernReason
from reconciler.core.decisions import BringMemory, Decision, Refuse, SaveMemory, Wait
from reconciler.core.profile.rendering import same_launch
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.memory import Memory, OnMachine
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.stages import AgentPart, Basics, GovernPart, SlotPart


def differing(memory: Memory | None, v: Basics) -> OnMachine | None:
    """What its machine has, where that is not what it should have; None too where nobody can tell, or no memory is declared."""
    there = v.agent.memory if isinstance(v.agent, Agent) else None
    return there if memory is not None and there is not None and there != memory.wanted else None


def save_what_was_written(v: SlotPart) -> Decision | None:
    """G-32: what an agent wrote down to remember is in the store before anything happens to its machine."""
    there = differing(v.memory, v.lt)
    if there is None or v.memory is None or v.slot.observe_only:
        return None
    if v.slot.desired is DesiredState.GONE and not v.memory.kept:
        return None
    saved = v.lt.record.memory
    if (saved.place, saved.agent, saved.shared) == (v.lt.vm_id, there.agent, there.shared):
        return None
    return SaveMemory(v.lt.vm_id, there.agent, there.shared)


def bring_the_memory(v: AgentPart) -> Decision | None:
    """G-27: what an agent remembers is on its machine before pi starts, and what others have written reaches it while it runs."""
    if differing(v.memory, v.lt) is None or v.memory is None:
        return None
    return BringMemory(v.lt.vm_id, v.memory.wanted.agent, v.memory.wanted.shared)


def memory_mismatch(v: Basics) -> tuple[GovernReason | None, str]:
    """How what pi says of its memory differs from what it was given, as reason and words; None when it does not."""
    process = v.agent.process if isinstance(v.agent, Agent) else None
    if not isinstance(process, Up) or not process.responsive or not isinstance(v.rendered, Rendered) or v.rendered.memory is None:
        return None, ""
    if not same_launch(process.launch_hash, v.rendered):
        return None, ""
    taken = process.memory
    if taken is None:
        return GovernReason.MEMORY_NOT_APPLIED, "pi runs without the tools of its memory"
    if not taken.has:
        return GovernReason.MEMORY_UNREAD, "pi has not said yet what it remembers"
    if taken.has != taken.given:
        return GovernReason.MEMORY_NOT_APPLIED, f"pi was given {taken.given[:16]} to remember, and has {taken.has[:16]}"
    return None, ""


def report_memory_not_applied(v: GovernPart) -> Decision | None:
    """G-27: nothing is delivered to a pi that does not have the memory that it was given."""
    reason, words = memory_mismatch(v.lt)
    if reason is GovernReason.MEMORY_UNREAD:
        return Wait(reason, words, until=v.lt.now + (v.lt.health_period or 1.0))
    return Refuse(reason, words) if reason is not None else None
