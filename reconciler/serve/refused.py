"""What people were refused, in the audit: a command against a protected object, or one that is declared elsewhere."""

from __future__ import annotations

import logging
from collections import OrderedDict

from reconciler.core.audit import REFUSED, Actor, Entry, refused
from reconciler.core.keys import Key
from reconciler.engine.ports import AddAudit, Clock
from reconciler.engine.state.objects import ObjectTable
from reconciler.errors import ReconcilerError

log = logging.getLogger("reconciler.audit")

KNOWN = 1000
"""Refusals that are remembered, so that the same one again is counted."""


class RefusedCommands:
    """Writes them down: the first, and the same one again whenever its number has doubled. `keep`: entries that stay."""

    def __init__(self, table: ObjectTable, clock: Clock, keep: int) -> None:
        self._table, self._clock, self._keep = table, clock, keep
        self._times: OrderedDict[tuple[Actor, str, Key, str], int] = OrderedDict()

    async def note(self, actor: Actor, op: str, key: Key, why: str) -> None:
        """That a command was refused stands whether it can be written down or not."""
        what = actor, op, key, why
        times = self._times[what] = self._times.pop(what, 0) + 1
        if len(self._times) > KNOWN:
            self._times.popitem(last=False)
        if times & (times - 1):
            return
        item = self._table.get(key)
        told = refused(op, f"{why} ({times} times)" if times > 1 else why)
        entry = Entry(actor, REFUSED, key, item.uid if item is not None else "", told, self._clock.now())
        try:
            await self._table.update([], AddAudit(entry, self._keep))
        except ReconcilerError as error:
            log.warning("that %s was refused to %s was not written down: %s", op, actor.who or actor.door, error)
