"""What happened, for people: stored with the change it tells of, and handed to whoever listens (a terminal, a log)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from reconciler.core.keys import Key
from reconciler.engine.ports import AddEvent, Clock, Event
from reconciler.engine.subscriptions import Unsubscribe, subscribed

Listener = Callable[[Event], None]


class Recorder:
    """Makes events and drops repetitions: the same reason and message for the same object, again without another between."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[Key, tuple[str, str]] = {}
        self._pending: dict[Key, list[AddEvent]] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Unsubscribe:
        return subscribed(self._listeners, listener)

    def event(self, key: Key, uid: str, reason: str, message: str, kind: Literal["Normal", "Warning"] = "Normal") -> list[AddEvent]:
        """The writes that record it, after what was noted before it (nothing for a repetition); listeners are told at once."""
        return [*self.take(key), *self._made(key, uid, reason, message, kind)]

    def _made(self, key: Key, uid: str, reason: str, message: str, kind: Literal["Normal", "Warning"]) -> list[AddEvent]:
        if self._last.get(key) == (reason, message):
            return []
        self._last[key] = (reason, message)
        made = Event(key=key, uid=uid, type=kind, reason=reason, message=message[:2048], at=self._clock.now())
        for listener in tuple(self._listeners):
            listener(made)
        return [AddEvent(made)]

    def note(self, key: Key, uid: str, reason: str, message: str, kind: Literal["Normal", "Warning"] = "Normal") -> None:
        """As `event`, written together with the next status."""
        self._pending.setdefault(key, []).extend(self._made(key, uid, reason, message, kind))

    def take(self, key: Key) -> list[AddEvent]:
        """The noted events that still have to be written."""
        return self._pending.pop(key, [])

    def forget(self, key: Key) -> None:
        self._last.pop(key, None)
