"""What agents remember, as it is in the store: each memory is read once, then kept up with what is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from reconciler.api.governreasons import GovernReason
from reconciler.core.audit import Actor, Entry
from reconciler.core.audit import Change as Changed
from reconciler.core.governance.memory import LONGEST, MOST, Book, Change, Whose, agent_key, edited
from reconciler.core.keys import Json, short
from reconciler.engine.ports import AddAudit, Clock, PutMemory, Store
from reconciler.engine.recorder import Recorder
from reconciler.engine.state.objects import ObjectTable
from reconciler.errors import NotFound, UsageError


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

    @contextmanager
    def writing(self, changes: Iterable[tuple[Whose, Change]]) -> Iterator[list[PutMemory]]:
        """What is to be written within, nothing where nothing changes. The changes hold afterwards; after an exception that is not known,
        and the store is asked again."""
        made = [(whose, change) for whose, change in changes if change.written or change.dropped]
        try:
            yield [PutMemory(whose, change.written, change.dropped) for whose, change in made]
        except BaseException:
            for whose, _ in made:
                self._books.pop(whose, None)
            raise
        for whose, change in made:
            self._books[whose] = change.book
            for tell in self.on_change:
                tell(whose)

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
            raise NotFound(f"{short(key)} does not exist", f"namespace {key.namespace}", "see `reconciler get lieutenants`")
        if len(add) > MOST or any(len(text) > LONGEST for text in add):
            raise UsageError("that is too much to remember", str(whose), f"write at most {MOST} entries of at most {LONGEST} characters")
        now = self._clock.now()
        change = edited(book, add, remove, actor.who or actor.door, now)
        gone = len(change.book.gone) - len(book.gone)
        with self._memories.writing([(whose, change)]) as rows:
            if rows:
                told = f"{len(add)} added, {gone} removed"
                uid = item.uid if item else ""
                audit = AddAudit(Entry(actor, "remembered", key, uid, (Changed("memory", None, told),), now), self._keep)
                said = self._recorder.event(key, uid, GovernReason.MEMORY_CHANGED, f"{whose}: {told}")
                await self._table.update([], *rows, audit, *said)
        return {"added": len(add), "removed": gone, "entries": len(change.book.entries), "hash": change.book.digest}
