"""Between a machine and the store: what an agent wrote is merged into the store, entry by entry, and what is there is brought to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconciler.core.decisions import BringMemory, SaveMemory
from reconciler.core.governance.memory import Book, MemoryEntry, Whose, belongs, memory_of, merged
from reconciler.core.keys import short
from reconciler.core.records import MemoryRecord
from reconciler.core.snapshot.memory import OnMachine
from reconciler.engine.act.context import ActContext
from reconciler.engine.ports import Machine, MachineMemory
from reconciler.engine.state.objects import LieutenantItem


class MemoryActs:
    def __init__(self, tools: ActContext) -> None:
        self.t = tools

    async def act(self, item: LieutenantItem, machine: Machine, action: SaveMemory | BringMemory) -> None:
        found = await self.save(item, machine)
        if isinstance(action, BringMemory):
            await self.bring(item, machine, found)

    async def save(self, item: LieutenantItem, machine: Machine) -> MachineMemory:
        """Merge what is on the machine into the store, in one transaction with the note that it is there. Done twice, nothing changes."""
        memories, found = self.t.gatherer.memories, await self.t.agents.memory(machine)
        changes = [(whose, merged(await memories.book(whose), entries, self.t.clock.now())) for whose, entries in self.told(item, found)]
        saved = MemoryRecord(place=machine.id, agent=found.there.agent, shared=found.there.shared)
        record = self.t.current(item)
        with memories.writing(changes) as rows:
            if rows or record.memory != saved:
                await self.t.save(item, record.but(memory=saved), *rows)
        return found

    def told(self, item: LieutenantItem, found: MachineMemory) -> Sequence[tuple[Whose, Sequence[MemoryEntry]]]:
        """The entries on a machine, as those of the memories that are declared. What is another agent's is left there: a machine may have
        had one before. A copy inherits what its original had."""
        own, shared = memory_of(item.key, "Agent"), memory_of(item.key, "Global")
        branch, slot = item.record.slot.branch, item.record.slot
        inherits = [f"{item.key.namespace}/{branch.source}"] if branch.vm_id else []
        anyone = bool(slot.adopted) and slot.adopted == slot.vm_id
        scopes = {str(scope) for scope in item.spec.memory.scopes}
        lists: list[tuple[Whose, Sequence[MemoryEntry]]] = []
        if "Agent" in scopes and (anyone or belongs(found.there.owner, own, inherits)):
            lists.append((own, self.written(item, found.agent)))
        if "Global" in scopes and (anyone or found.there.owner.partition("/")[0] in ("", item.key.namespace)):
            lists.append((shared, self.written(item, found.shared)))
        return lists

    def written(self, item: LieutenantItem, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        return [replace(entry, text=self.t.redact(entry.text), by=short(item.key)) for entry in entries]

    async def bring(self, item: LieutenantItem, machine: Machine, found: MachineMemory) -> None:
        """What is in the store is on the machine, and what the agent wrote since it was read."""
        memories, scopes = self.t.gatherer.memories, {str(scope) for scope in item.spec.memory.scopes}
        own = memory_of(item.key, "Agent")
        agent = await memories.book(own) if "Agent" in scopes else Book()
        shared = await memories.book(memory_of(item.key, "Global")) if "Global" in scopes else Book()
        wanted = OnMachine(own.tag, agent.digest, shared.digest)
        await self.t.agents.put_memory(machine, MachineMemory(wanted, found.number, agent.entries, shared.entries))
