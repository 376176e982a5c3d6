"""The write-ahead journal: calls that are not idempotent, written down before they are sent (design §5.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from reconciler.core.keys import SlotOwner
from reconciler.core.values import replaced
from reconciler.engine.ports import Intent, PutIntent

CREATE = "create"
COMMIT = "commit"
"""What intents are for."""


class Journal:
    """Open intents by slot, oldest first. A slot sends no second create while one is open, so at most one of its open intents was
    ever sent. Memory follows the store: an intent is closed here only after its row is.

    A call may take effect until it is given up, so the window for late effects begins there. `begun`: when this life of the
    controller began, before which every call of an earlier one had ended."""

    def __init__(self, opened: Iterable[Intent], begun: float = 0.0) -> None:
        self._open: dict[SlotOwner, list[Intent]] = {}
        self._restoring: dict[str, dict[str, Intent]] = {}
        self._unsent: list[Intent] = []
        self._beginning: dict[str, Intent] = {}
        self._ended: dict[str, float] = {}
        self._made: dict[str, str] = {}
        opened = list(opened)
        for intent in opened:
            self._ended[intent.token] = begun
        for intent in sorted(opened, key=lambda i: i.sent_at):
            self._note(intent)

    def of(self, slot: SlotOwner, verb: str = CREATE) -> Intent | None:
        """The oldest open one of this slot and kind."""
        return next((intent for intent in self._open.get(slot, ()) if intent.verb == verb), None)

    def writes_to_open(self, intent: Intent) -> list[PutIntent]:
        """The rows that open it (must be durable before the call is sent), and close those that were never sent. From now on it is
        `under_way`."""
        self._beginning[intent.token] = intent
        return [*(PutIntent(replaced(old, outcome="never sent")) for old in self._unsent), PutIntent(intent)]

    def opened(self, intent: Intent) -> None:
        """Its row is durable."""
        self._beginning.pop(intent.token, None)
        self._note(intent)
        self._unsent.clear()

    def not_sent(self, intent: Intent) -> None:
        """Its row may or may not be there; the call was not made. The next one closes it."""
        self._beginning.pop(intent.token, None)
        self._unsent.append(intent)

    def in_doubt(self, intent: Intent, now: float) -> None:
        """The call has ended, and what came of it is not known."""
        self._ended[intent.token] = now

    def answered(self, intent: Intent, vm_id: str, now: float) -> None:
        """The call made this VM. Until that is written down, it is known to this life of the controller only."""
        self._ended[intent.token], self._made[intent.token] = now, vm_id

    def made(self, intent: Intent) -> str:
        """The VM that the call made, as far as this life of the controller was told; '' where it was not."""
        return self._made.get(intent.token, "")

    def all_made(self) -> frozenset[str]:
        """The VMs of all calls that were answered, and whose answer is not written down yet."""
        return frozenset(self._made.values())

    def ended(self, intent: Intent) -> float:
        """When the call had ended: from then on its effect is late."""
        return max(intent.sent_at, self._ended.get(intent.token, 0.0))

    def calling(self, intent: Intent) -> bool:
        """The call is on its way, as far as this life of the controller knows."""
        return intent.token not in self._ended

    def closed(self, intent: Intent) -> None:
        """The row that closes it is durable."""
        self._ended.pop(intent.token, None)
        self._made.pop(intent.token, None)
        self._keep(intent.owner, [other for other in self._open.get(intent.owner, ()) if other.token != intent.token])
        same = self._restoring.get(commit_of(intent), {})
        same.pop(intent.token, None)
        if not same:
            self._restoring.pop(commit_of(intent), None)

    def _note(self, intent: Intent) -> None:
        self._open.setdefault(intent.owner, []).append(intent)
        if intent.verb == CREATE and (commit := commit_of(intent)):
            self._restoring.setdefault(commit, {})[intent.token] = intent

    def _keep(self, slot: SlotOwner, left: list[Intent]) -> None:
        if left:
            self._open[slot] = left
        else:
            self._open.pop(slot, None)

    def creates(self, filled: Callable[[SlotOwner], bool] = lambda _: False) -> list[Intent]:
        """Open creates. `filled`: whether a slot has a VM, so that none of its creates waits for one. A slot of an earlier life of its
        object has none: what its create made may still appear."""
        slots = (intents for slot, intents in self._open.items() if not filled(slot))
        return [intent for intents in slots for intent in intents if intent.verb == CREATE]

    def creates_of(self, commit: str) -> tuple[Intent, ...]:
        """Open creates that restore this commit, or copy this machine."""
        return tuple(self._restoring.get(commit, {}).values())

    def under_way(self) -> Iterator[SlotOwner]:
        """The slots whose create is being written down, or open."""
        yield from (intent.owner for intent in self._beginning.values() if intent.verb == CREATE)
        yield from (slot for slot, intents in self._open.items() if any(intent.verb == CREATE for intent in intents))


def commit_of(intent: Intent) -> str:
    """What a create restores or copies; '' for a fresh machine."""
    return str(intent.payload.get("commit", ""))


def closing(intent: Intent, outcome: str) -> PutIntent:
    """The row that closes an intent, with what became of the call."""
    return PutIntent(replaced(intent, outcome=outcome))
