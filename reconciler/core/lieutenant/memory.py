"""What an agent remembers: brought to its machine before pi starts, saved as soon as something was written there, and read back. Pure."""

from __future__ import annotations

from reconciler.core.decisions import BringMemory, Decision, SaveMemory
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.memory import Memory, OnMachine, Size
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
    return BringMemory(v.lt.vm_id, v.memory.wanted.agent, v.memory.wanted.shared, words(v.memory, v.lt))


def words(memory: Memory, v: Basics) -> str:
    """What is brought to an agent, and when it is told of that, for a plan."""
    kinds = ((memory.agent, "of its own"), (memory.shared, "that it shares"))
    parts = [f"{sized(size)} {whose}" for size, whose in kinds if size is not None and size.entries] or ["nothing yet"]
    runs = isinstance(v.agent, Agent) and isinstance(v.agent.process, Up)
    when = "after a compaction, or when pi starts anew" if runs else "when pi starts"
    return f"{', '.join(parts)}; told to it {when}"


def sized(size: Size) -> str:
    return f"{counted(size.entries, 'entry', 'entries')} ({counted(size.lines, 'line', 'lines')})"


def counted(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
