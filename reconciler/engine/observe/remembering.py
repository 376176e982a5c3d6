"""The memory of an agent as it should be on its machine."""

from __future__ import annotations

from reconciler.api.lieutenant import LieutenantSpec, MemoryScope
from reconciler.core.governance.memory import NOTHING, Book, memory_of
from reconciler.core.records import LieutenantRecord
from reconciler.core.slot.deletion import effective_deletion
from reconciler.core.snapshot.memory import Memory, OnMachine, Size
from reconciler.core.snapshot.slot import EffectiveDeletion
from reconciler.engine.state.memories import Memories
from reconciler.engine.state.objects import AnyItem, LieutenantItem


async def remembered(memories: Memories, item: LieutenantItem) -> Memory | None:
    """None where no memory is declared."""
    scopes = item.spec.memory.scopes
    if not scopes:
        return None
    own = memory_of(item.key, "Agent")
    agent = await memories.book(own) if MemoryScope.AGENT in scopes else None
    shared = await memories.book(memory_of(item.key, "Global")) if MemoryScope.GLOBAL in scopes else None
    wanted = OnMachine(own.tag, agent.digest if agent else NOTHING, shared.digest if shared else NOTHING)
    return Memory(wanted, size_of(agent), size_of(shared), keeps(item))


def keeps(item: LieutenantItem) -> bool:
    """Whether what it remembers stays when the lieutenant goes: as its machine does."""
    return _kept(item.spec, item.record)


def forgets(item: AnyItem) -> bool:
    """Whether what it remembers goes with it."""
    return isinstance(item.spec, LieutenantSpec) and isinstance(item.record, LieutenantRecord) and not _kept(item.spec, item.record)


def _kept(spec: LieutenantSpec, record: LieutenantRecord) -> bool:
    deletion = effective_deletion(spec.deletion_policy, spec.management_policy, record.detached)
    return deletion in (EffectiveDeletion.ORPHAN, EffectiveDeletion.RETAIN, EffectiveDeletion.LEAVE)


def size_of(book: Book | None) -> Size | None:
    return Size(book.digest, len(book.entries), book.lines, book.characters) if book is not None else None
