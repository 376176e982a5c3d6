"""What people ask for by annotation, written down before anything follows from it."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.conditions import stalled_for
from reconciler.core.lieutenant.requests import AnnotationRequests, acknowledge
from reconciler.core.snapshot.slot import DesiredState
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.observe.slots import desired_state_of
from reconciler.engine.ports import Clock
from reconciler.engine.state.objects import LieutenantItem, ObjectTable


class AnnotationVerbs:
    """Reads verbs and declared clocks of one object at a time, and writes its record when they change it."""

    def __init__(self, table: ObjectTable, fleet: Fleet, clock: Clock) -> None:
        self._table, self._fleet, self._clock = table, fleet, clock

    async def look(self, item: LieutenantItem) -> frozenset[str]:
        """Act on the verbs whose token is new. Returns the VMs that a person has just confirmed to be gone: their owners must be
        looked at."""
        asked = AnnotationRequests(
            annotations=item.obj.annotations,
            generation=item.obj.generation,
            suspended=desired_state_of(item) is DesiredState.SUSPENDED,
            deleting=item.deleting,
            question=stalled_for(item.obj.status),
            now=self._clock.now(),
        )
        acknowledged = acknowledge(item.record, asked)
        confirmed: frozenset[str] = frozenset()
        if "retry" in acknowledged.verbs and item.record.slot.vm_id in self._fleet.vanished:
            confirmed = self._fleet.confirm_vanished()
        if acknowledged.record is not item.record:
            await self._table.update([(item.key, lambda o: replace(o, record=acknowledged.record.dump()))])
        return confirmed
