"""What a lost or an older store does not know, put back from what outlived it; the source that found it says what it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from reconciler.core.keys import Json, Key, SlotOwner
from reconciler.core.slot import claims
from reconciler.core.slot.claims import Owner
from reconciler.core.snapshot.vm import Vm
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.ports import Clock, Intent, PutIntent
from reconciler.engine.state.claimed import Claimed
from reconciler.engine.state.declarations import Declarations, Outcome
from reconciler.engine.state.declared import Intake
from reconciler.engine.state.journal import Journal
from reconciler.engine.state.objects import ObjectTable
from reconciler.errors import ReconcilerError

log = logging.getLogger("reconciler.engine")

ASK_AGAIN = 2.0
"""Seconds between two questions for the platform's machines, when it does not answer."""


class Restorer:
    """`engine.view.RestorePort` over the parts of one engine. `max_age`: seconds that a list of VMs may be old."""

    def __init__(
        self, table: ObjectTable, declarations: Declarations, fleet: Fleet, journal: Journal, owner: Owner, clock: Clock, max_age: float
    ) -> None:
        self._table, self._declarations, self._fleet, self._journal = table, declarations, fleet, journal
        self._clock, self._max_age = clock, max_age
        self.owner = owner

    async def vms(self) -> Mapping[str, Vm]:
        return (await self._fleet.list_since(self._clock.now() - self._max_age)).vms

    async def claimed(self) -> Mapping[Key, Claimed]:
        """By object: the machine that carries its claim, of several the one with the highest epoch. Goes on asking until the platform has
        told of all its machines."""
        while True:
            try:
                vms = await self.vms()
            except ReconcilerError as error:
                log.warning("the platform does not list its machines yet: %s", error)
                await self._clock.sleep(ASK_AGAIN)
                continue
            found: dict[Key, Claimed] = {}
            for vm in sorted(vms.values(), key=lambda vm: (claims.epoch_on(vm.labels), vm.created_at, vm.vm_id)):
                words = [vm.labels.get(name, "") for name in (claims.KIND, claims.NAMESPACE, claims.NAME, claims.UID)]
                if claims.is_ours(vm, self.owner) and all(words) and not vm.labels.get(claims.NODE):
                    kind, namespace, name, uid = words
                    found[Key(kind, namespace, name)] = Claimed(uid, vm.vm_id, vm.owner_id, claims.epoch_on(vm.labels))
            return found

    async def object(self, seen: Intake, record: Json | None, status: Json, *intents: Intent) -> Outcome:
        outcome = await self._declarations.intake(seen, record, status, *(PutIntent(intent) for intent in intents))
        for intent in intents:
            self._journal.opened(intent)
            self._journal.in_doubt(intent, self._clock.now())
        return outcome

    async def record(self, key: Key, record: Json, status: Json | None = None) -> None:
        await self._table.update([(key, lambda o: replace(o, record=record, status=o.status if status is None else status))])

    def open_create(self, slot: SlotOwner) -> Intent | None:
        return self._journal.of(slot)
