"""What the status of a lieutenant says of its budgets, of its rests and of its memory. Pure."""

from __future__ import annotations

from reconciler.api.status.lieutenant import BudgetStatus, RestStatus
from reconciler.api.status.memory import MemorySize, MemoryStatus
from reconciler.core.records import BudgetRecord, RestRecord
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.memory import Memory, Size
from reconciler.core.snapshot.vm import Unknown
from reconciler.core.times import timestamp


def budget_status(record: BudgetRecord, declared: bool) -> BudgetStatus | None:
    """How far its budgets are used up, as it was last told."""
    if not declared and record.state == "Within":
        return None
    return BudgetStatus(record.state, timestamp(record.since) if record.since else None)


def rest_status(record: RestRecord) -> RestStatus | None:
    """That it rests, or how the last rest ended."""
    if not record.reason and not record.woken_at:
        return None
    return RestStatus(
        reason=record.reason or None,
        since=timestamp(record.since) if record.reason else None,
        woken_at=timestamp(record.woken_at) if record.woken_at else None,
        wake_seconds=f"{record.seconds:.1f}" if record.seconds else None,
    )


def memory_status(memory: Memory | None, agent: Agent | Unknown | None) -> MemoryStatus | None:
    """What it remembers, and what pi says of it; None where no memory is declared."""
    if memory is None:
        return None
    taken = agent.process.memory if isinstance(agent, Agent) and isinstance(agent.process, Up) else None
    return MemoryStatus(_size(memory.agent), _size(memory.shared), taken.has if taken is not None and taken.has else None)


def _size(size: Size | None) -> MemorySize | None:
    return MemorySize(size.digest, size.entries, size.lines, size.characters) if size is not None else None
