"""Keepers that are listened to: whatever one says wakes the reconcile key of its agent."""

from __future__ import annotations

from reconciler.core.keys import SlotKey
from reconciler.engine.places import place_of
from reconciler.engine.ports import AgentReader
from reconciler.engine.queue import Priority, WorkQueue
from reconciler.engine.state.objects import LieutenantItem, ObjectTable

COALESCE_SECONDS = 0.05
"""Seconds in which everything a keeper says counts as one reason to look: a streaming answer is no storm."""


class Watches:
    """One watch a place, for as long as the controller runs."""

    def __init__(self, queue: WorkQueue, table: ObjectTable, agents: AgentReader) -> None:
        self._queue, self._table, self._agents = queue, table, agents
        self._watched: set[str] = set()

    def watch(self, item: LieutenantItem) -> None:
        """From now on what its keeper says wakes it."""
        place = place_of(item)
        if place.id and place.id not in self._watched:
            self._watched.add(place.id)
            self._agents.watch(place, lambda: self.wake(item.slot_owner.key if place.local else self._table.owner_of(place.vm_id)))

    def wake(self, slot: SlotKey | None) -> None:
        """A keeper said something, or its connection broke. `slot`: whose it is; None: nobody's any more."""
        if slot is not None:
            self._queue.add_at(slot.object, COALESCE_SECONDS, Priority.CHANGE)
