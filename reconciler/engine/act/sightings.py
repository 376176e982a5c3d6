"""When a VM was first in a list of the platform: known durably before anything follows from that list."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.engine.ports import SawVms, Store


class Sightings:
    """Writes down what was seen for the first time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, vm_ids: Sequence[str], at: float) -> None:
        """Durable when it returns. Raises what the store says."""
        await self._store.write([SawVms(tuple(vm_ids), at)])
