"""What an agent remembers: brought to its machine before pi starts, saved as soon as something was written there, and read back. Pure."""

from __future__ import annotations

from reconciler.core.decisions import BringMemory, Decision, SaveMemory
from reconciler.core.snapshot.agent import Agent
from reconciler.core.snapshot.memory import Memory, OnMachine
from reconciler.core.snapshot.slot import DesiredState
from reconciler.core.snapshot.stages import AgentPart, Basics, SlotPart


def differing(memory: Memory | None, v: Basics) -> OnMachine | None:
    """What its machine has, where that is not what it should have; None too where nobody can tell, or no memory is declared."""
    there = v.agent.memory if isinstance(v.agent, Agent) else None
    return there if memory is not None and there is not None and there != memory.wanted else None


def save_what_was_written(v: SlotPart) -> Decision | None:
    """G-32: what an agent wrote down to remember is in the store before anything happens to its machine."""
    there = differing(v.memory, v.lt) if v.memory is not None else None
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
