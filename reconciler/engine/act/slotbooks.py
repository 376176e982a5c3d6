"""What is written down about a slot: its part of the object's record, and events that name its node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from reconciler.core.records import Record, SlotRecord
from reconciler.core.slot.item import SlotItem
from reconciler.engine.ports import AddEvent, Write
from reconciler.engine.recorder import Recorder
from reconciler.engine.state.objects import ObjectTable, with_record

EventType = Literal["Normal", "Warning"]


class SlotBooks:
    """Writes on the record as it is at that moment: an act, or another slot of the object, may have written meanwhile."""

    def __init__(self, table: ObjectTable, recorder: Recorder) -> None:
        self._table, self._recorder = table, recorder

    def now(self, item: SlotItem) -> SlotRecord:
        """The slot as it is now."""
        return self._table.slot(item.owner.key) or item.record

    async def save(self, item: SlotItem, slot: SlotRecord, *more: Write) -> None:
        """Other facts about the same VM, or about none; durable with the other rows when it returns."""
        await self._write(item, lambda record: item.changed(record, slot), *more)

    async def fill(self, item: SlotItem, slot: SlotRecord, machine: str, *more: Write) -> None:
        """Another VM is in it."""
        await self._write(item, lambda record: item.filled(record, slot, machine), *more)

    async def empty(self, item: SlotItem, slot: SlotRecord, lost: str, *more: Write) -> None:
        """There is no VM in it any more."""
        await self._write(item, lambda record: item.emptied(record, slot, lost), *more)

    async def _write(self, item: SlotItem, change: Callable[[Record], Record], *more: Write) -> None:
        known = self._table.get(item.owner.object)
        changes = [(known.key, with_record(change(known.record)))] if known is not None else []
        await self._table.update(changes, *more)

    def event(self, item: SlotItem, reason: str, message: str, kind: EventType = "Normal") -> list[AddEvent]:
        return self._recorder.event(item.owner.object, item.owner.uid, reason, in_words(item, message), kind)

    def note(self, item: SlotItem, reason: str, message: str, kind: EventType = "Normal") -> None:
        self._recorder.note(item.owner.object, item.owner.uid, reason, in_words(item, message), kind)


def in_words(item: SlotItem, message: str) -> str:
    """A message about this slot among the events of its object."""
    return f"node {item.owner.node}: {message}" if item.owner.node else message
