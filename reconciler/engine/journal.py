"""The write-ahead journal: calls that are not idempotent, written down before they are sent (design §5.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from reconciler.core.claims import Pending
from reconciler.core.keys import Key
from reconciler.engine.ports import Intent, PutIntent


class Journal:
    """Open intents by object uid. The rows are written together with the record they belong to."""

    def __init__(self, opened: Iterable[Intent]) -> None:
        self._open: dict[str, Intent] = {intent.uid: intent for intent in opened}

    def of(self, uid: str) -> Intent | None:
        return self._open.get(uid)

    def open(self, intent: Intent) -> PutIntent:
        """The write that opens it; must be durable before the call is sent."""
        self._open[intent.uid] = intent
        return PutIntent(intent)

    def close(self, intent: Intent, outcome: str) -> PutIntent:
        """The write that closes it, with what became of the call."""
        self._open.pop(intent.uid, None)
        return PutIntent(replace(intent, outcome=outcome))

    def pending(self) -> list[Pending]:
        return [
            Pending(intent.token, str(intent.payload.get("commit", "")), intent.server_time, intent.sent_at)
            for intent in self._open.values()
        ]

    def keys(self) -> list[Key]:
        return [intent.key for intent in self._open.values()]
