"""What agents remember, as it is in the store: each memory is read once, then kept up with what is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from reconciler.api.governreasons import GovernReason
from reconciler.core.audit import Actor, Entry
from reconciler.core.audit import Change as Changed
from reconciler.core.governance.memory import LONGEST, MOST, Book, Change, Whose, agent_key, edited
from reconciler.core.keys import Json
from reconciler.engine.ports import AddAudit, Clock, PutMemory, Store
from reconciler.engine.recorder import Recorder
from reconciler.engine.state.objects import ObjectTable
from reconciler.errors import NotFound, ReconcilerError, UsageError


class Memories:
    """`on_change`: told of each memory that has changed, durably."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._books: dict[Whose, Book] = {}
        self.on_change: list[Callable[[Whose], None]] = []

    async def book(self, whose: Whose) -> Book:
        found = self._books.get(whose)
        if found is None:
            found = Book.of(await self._store.memory(whose.namespace, whose.owner))
            found = self._books.setdefault(whose, found)
        return found

    def rows(self, whose: Whose, change: Change) -> list[PutMemory]:
        """What is to be written; nothing where nothing changes."""
        return [PutMemory(whose, change.written, change.dropped)] if change.written or change.dropped else []

    def wrote(self, whose: Whose, change: Change) -> None:
        """Those rows are in the store."""
        self._books[whose] = change.book
        for tell in self.on_change:
            tell(whose)

    def doubt(self, whose: Whose) -> None:
        """Whether those rows are in the store is not known: it is read again."""
        self._books.pop(whose, None)

    def forget(self, whose: Whose) -> PutMemory:
        """The row that removes all of it; what was read of it is dropped."""
        self._books.pop(whose, None)
        return PutMemory(whose, (), ("",))


class MemoryDesk:
    """What people change in the memories of agents. `keep`: entries of the audit that stay."""

    def __init__(self, memories: Memories, table: ObjectTable, recorder: Recorder, clock: Clock, keep: int) -> None:
        self._memories, self._table, self._recorder, self._clock, self._keep = memories, table, recorder, clock, keep

    async def edit(self, whose: Whose, add: Sequence[str], remove: Collection[str], actor: Actor) -> Json:
        """Add these texts and remove the entries with these ids; what others wrote meanwhile stays. Returns what that came to. Raises
        `NotFound` for a lieutenant that is not there, `UsageError` for a text that is too long."""
        key = agent_key(whose)
        item = self._table.lieutenant(key) if whose.owner else None
        book = await self._memories.book(whose)
        if whose.owner and item is None and not book.entries:
            raise NotFound(f"{key} does not exist", f"namespace {key.namespace}", "see `reconciler get lieutenants`")
        if len(add) > MOST or any(len(text) > LONGEST for text in add):
            raise UsageError("that is too much to remember", str(whose), f"write at most {MOST} entries of at most {LONGEST} characters")
        now = self._clock.now()
        change = edited(book, add, remove, actor.who or actor.door, now)
        rows = self._memories.rows(whose, change)
        gone = len(change.book.gone) - len(book.gone)
        if rows:
            told = f"{len(add)} added, {gone} removed"
            audit = AddAudit(Entry(actor, "remembered", key, item.uid if item else "", (Changed("memory", None, told),), now), self._keep)
            said = self._recorder.event(key, item.uid if item else "", GovernReason.MEMORY_CHANGED, f"{whose}: {told}")
            try:
                await self._table.update([], *rows, audit, *said)
            except ReconcilerError:
                self._memories.doubt(whose)
                raise
            self._memories.wrote(whose, change)
        return {"added": len(add), "removed": gone, "entries": len(change.book.entries), "hash": change.book.digest}
