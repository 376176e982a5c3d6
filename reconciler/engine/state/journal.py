"""The write-ahead journal: calls that are not idempotent, written down before they are sent (design §5.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from reconciler.core.keys import SlotOwner
from reconciler.core.slot.claims import Pending
from reconciler.engine.ports import Intent, PutIntent

CREATE = "create"
COMMIT = "commit"
"""What intents are for."""


class Journal:
    """Open intents by slot, oldest first. A slot sends no second create while one is open, so at most one of its open intents was
    ever sent. Memory follows the store: an intent is closed here only after its row is."""

    def __init__(self, opened: Iterable[Intent]) -> None:
        self._open: dict[SlotOwner, list[Intent]] = {}
        self._unsent: list[Intent] = []
        for intent in sorted(opened, key=lambda i: i.sent_at):
            self._open.setdefault(intent.owner, []).append(intent)

    def of(self, slot: SlotOwner, verb: str = CREATE) -> Intent | None:
        """The oldest open one of this slot and kind."""
        return next((intent for intent in self._open.get(slot, ()) if intent.verb == verb), None)

    def writes_to_open(self, intent: Intent) -> list[PutIntent]:
        """The rows that open it (must be durable before the call is sent), and close those that were never sent."""
        return [*(PutIntent(replace(old, outcome="never sent")) for old in self._unsent), PutIntent(intent)]

    def opened(self, intent: Intent) -> None:
        """Its row is durable."""
        self._open.setdefault(intent.owner, []).append(intent)
        self._unsent.clear()

    def not_sent(self, intent: Intent) -> None:
        """Its row may or may not be there; the call was not made. The next one closes it."""
        self._unsent.append(intent)

    def closed(self, intent: Intent) -> None:
        """The row that closes it is durable."""
        self._keep(intent.owner, [other for other in self._open.get(intent.owner, ()) if other.token != intent.token])

    def _keep(self, slot: SlotOwner, left: list[Intent]) -> None:
        if left:
            self._open[slot] = left
        else:
            self._open.pop(slot, None)

    def pending(self, filled: Callable[[SlotOwner], bool] = lambda _: False) -> list[Pending]:
        """Open creates, as pairing needs them. `filled`: whether a slot has a VM, so that none of its creates waits for one. A slot of
        an earlier life of its object has none: what its create made may still appear."""
        slots = (intents for slot, intents in self._open.items() if not filled(slot))
        every = (intent for intents in slots for intent in intents if intent.verb == CREATE)
        return [Pending(i.token, str(i.payload.get("commit", "")), i.server_time, i.sent_at) for i in every]


def closing(intent: Intent, outcome: str) -> PutIntent:
    """The row that closes an intent, with what became of the call."""
    return PutIntent(replace(intent, outcome=outcome))
