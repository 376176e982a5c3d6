"""What happened, for people: stored with the change it tells of, and handed to whoever listens (a terminal, a log)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from reconciler.core.keys import Key
from reconciler.engine.ports import AddEvent, Clock, Event
from reconciler.engine.subscriptions import Unsubscribe, subscribed

Listener = Callable[[Event], None]


SERIES_SECONDS = 600.0
"""A repetition within this time of the first one is counted on it; later it is news again."""
SERIES_KEPT = 2000
"""After so many new ones those that are over are forgotten."""
_NUMBER = re.compile(r"\d+")
News = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Series:
    id: str
    first: float
    count: int = 1


class Recorder:
    """Makes events. The same reason and message for the same object, again without another between, is no event; with other numbers in
    it, it is the news that the first was, and counted: one event of every sink, a store's row and a cluster's Event alike."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[Key, tuple[str, str]] = {}
        self._series: dict[Key, dict[News, _Series]] = {}
        self._made_so_far = 0
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
        now = self._clock.now()
        series = self._counted(key, (uid, reason, _NUMBER.sub("#", message)), now)
        made = Event(key, uid, kind, reason, message[:2048], now, series=series.id, count=series.count, first=series.first)
        for listener in tuple(self._listeners):
            listener(made)
        return [AddEvent(made)]

    def _counted(self, key: Key, news: News, now: float) -> _Series:
        """The series that this news belongs to, with it. The id says nothing about the words, which may be secret."""
        of_key = self._series.setdefault(key, {})
        known = of_key.pop(news, None)
        if known is not None and now - known.first <= SERIES_SECONDS:
            series = replace(known, count=known.count + 1)
        else:
            self._made_so_far += 1
            if self._made_so_far % SERIES_KEPT == 0:
                self._forget_old(now)
                of_key = self._series.setdefault(key, {})
            told = f"{key} {news[0]} {now} {self._made_so_far}"
            series = _Series(hashlib.sha256(told.encode()).hexdigest()[:16], now)
        of_key[news] = series
        return series

    def _forget_old(self, now: float) -> None:
        fresh = {key: {news: one for news, one in some.items() if now - one.first <= SERIES_SECONDS} for key, some in self._series.items()}
        self._series = {key: some for key, some in fresh.items() if some}

    def note(self, key: Key, uid: str, reason: str, message: str, kind: Literal["Normal", "Warning"] = "Normal") -> None:
        """As `event`, written together with the next status."""
        self._pending.setdefault(key, []).extend(self._made(key, uid, reason, message, kind))

    def now(self) -> float:
        """The time that events bear."""
        return self._clock.now()

    def take(self, key: Key) -> list[AddEvent]:
        """The noted events that still have to be written."""
        return self._pending.pop(key, [])

    def forget(self, key: Key) -> None:
        self._last.pop(key, None)
        self._series.pop(key, None)
