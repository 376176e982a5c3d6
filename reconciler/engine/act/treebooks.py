"""What a tree remembers, made durable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.api.registry import finalizers_of
from reconciler.core.keys import Key
from reconciler.core.treerecords import PlaceRecord, TreeRecord
from reconciler.engine.act.context import ActContext
from reconciler.engine.ports import StoredObject, Write
from reconciler.engine.state.objects import with_record


class TreeBooks:
    """The records of trees. All of it raises what the store says."""

    def __init__(self, tools: ActContext) -> None:
        self.t = tools

    def record(self, tree: Key) -> TreeRecord:
        """As it is now; an empty one where there is none."""
        item = self.t.table.get(tree)
        return item.record if item is not None and isinstance(item.record, TreeRecord) else TreeRecord()

    async def save(self, tree: Key, record: TreeRecord, *said: Write) -> None:
        """`said`: what is told of it, written at once with it."""
        changed = with_record(record)
        await self.t.table.update([(tree, lambda obj: held(changed(obj)))], *said)

    async def remember(self, tree: Key, changes: Mapping[str, Mapping[str, object]]) -> None:
        """Other facts about some places."""
        record = self.record(tree)
        places = tuple(place.but(**changes[place.name]) if place.name in changes else place for place in record.places)
        await self.save(tree, record.but(places=places))

    async def put(self, tree: Key, place: PlaceRecord) -> None:
        """One place that is known as it is from now on."""
        record = self.record(tree)
        await self.save(tree, record.but(places=tuple(place if known.name == place.name else known for known in record.places)))

    async def used(self, tree: Key, confirmed: str) -> None:
        """Each confirmation is good for what it was given for, and not for later; '' is none."""
        if confirmed:
            await self.save(tree, self.record(tree).but(confirmed=confirmed))


def held(tree: StoredObject) -> StoredObject:
    """A tree goes only after all that it declared; one that was declared to an earlier release has nothing yet that holds it."""
    return tree if tree.finalizers else replace(tree, finalizers=finalizers_of(tree.key.kind))
