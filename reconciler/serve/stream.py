"""What happens, to those who follow it: numbered messages, kept for a while, so that a connection that broke goes on where it was.

Everybody gets a queue with bounds; whoever does not keep up is let go of, and comes back for what he missed."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal

from reconciler.core.keys import Json, Key
from reconciler.engine.ports import Event, StoredObject
from reconciler.engine.view import EngineView
from reconciler.views.board import Board
from reconciler.views.documents import event_document

KEPT = 4096
"""Messages that are kept for those who come back."""
BEHIND = 512
"""Messages that somebody may be behind."""
FOLLOWERS = 64
BEAT = 15.0
"""Seconds after which something is said, so that whoever is gone is noticed."""

What = Literal["change", "gone", "event", "platform", "reset"]


@dataclass(frozen=True, slots=True)
class Told:
    """One message. `key`: whom it is about; None: everybody."""

    seq: int
    what: What
    key: Key | None
    document: Json


@dataclass(frozen=True, slots=True)
class Interest:
    """'' stands for every one."""

    kind: str = ""
    namespace: str = ""
    name: str = ""

    def __contains__(self, told: Told) -> bool:
        if told.key is None:
            return True
        wanted = ((self.kind, told.key.kind), (self.namespace, told.key.namespace), (self.name, told.key.name))
        return all(not one or one == is_ for one, is_ in wanted)


@dataclass(eq=False)
class Follower:
    """One connection."""

    interest: Interest
    waiting: deque[Told] = field(default_factory=deque)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: bool = False


class TooMany(Exception):
    """Nobody else can follow now."""


class Hub:
    """Tells followers of an engine's changes and events. `board`: rows of its objects, kept up to date with it. `life`: names this
    process, whose numbers mean nothing to another one."""

    def __init__(self, engine: EngineView, board: Board) -> None:
        self.board = board
        self.life = secrets.token_hex(4)
        self.dropped = 0
        self._seq = 0
        self._kept: deque[Told] = deque(maxlen=KEPT)
        self._followers: set[Follower] = set()
        self._closed = False
        for key in engine.table.all_keys():
            if (item := engine.table.get(key)) is not None:
                board.change(key, item.obj)
        self._stop: Callable[[], None] = engine.subscribe(events=self._event, changes=self._change, platform=self._platform)

    def close(self) -> None:
        """The engine acts no more."""
        self.release()
        self._stop()

    def release(self) -> None:
        """Everybody is let go of, and nobody else may follow."""
        self._closed = True
        for one in list(self._followers):
            one.dropped = True
            one.woken.set()

    @property
    def followers(self) -> int:
        return len(self._followers)

    def _change(self, key: Key, before: StoredObject | None, after: StoredObject | None) -> None:
        for row in self.board.change(key, after):
            self._tell("change", row.key, row.document)
        if after is None:
            self._tell("gone", key, {"kind": key.kind, "namespace": key.namespace, "name": key.name})

    def _event(self, event: Event) -> None:
        self._tell("event", event.key, event_document(event))

    def _platform(self, message: str) -> None:
        self._tell("platform", None, {"up": not message, "message": message})

    def _tell(self, what: What, key: Key | None, document: Json) -> None:
        self._seq += 1
        told = Told(self._seq, what, key, document)
        self._kept.append(told)
        for one in list(self._followers):
            if told in one.interest:
                self._hand(one, told)

    def _hand(self, one: Follower, told: Told) -> None:
        if len(one.waiting) >= BEHIND:
            one.dropped = True
            one.waiting.clear()
            self._followers.discard(one)
            self.dropped += 1
        else:
            one.waiting.append(told)
        one.woken.set()

    async def follow(self, interest: Interest, last: str) -> AsyncIterator[Told | None]:
        """Messages from now on; `last`: after the one of this id. What can't be resumed begins with `reset`: everything may have
        changed. None: nothing happened for a while. Ends when the hub closes, or when the follower falls behind. Raises `TooMany`."""
        if len(self._followers) >= FOLLOWERS or self._closed:
            raise TooMany
        one = Follower(interest)
        for told in self._missed(last):
            if told in interest:
                one.waiting.append(told)
        self._followers.add(one)
        try:
            while not one.dropped:
                if one.waiting:
                    yield one.waiting.popleft()
                    continue
                one.woken.clear()
                try:
                    async with asyncio.timeout(BEAT):
                        await one.woken.wait()
                except TimeoutError:
                    yield None
        finally:
            self._followers.discard(one)

    def _missed(self, last: str) -> list[Told]:
        """What was told after the message of this id."""
        life, _, number = last.partition("-")
        if not last:
            return []
        seen = int(number) if number.isdecimal() and len(number) < 16 else -1
        oldest = self._kept[0].seq if self._kept else self._seq + 1
        if life == self.life and oldest - 1 <= seen <= self._seq:
            missed = [told for told in self._kept if told.seq > seen]
            if len(missed) < BEHIND:
                return missed
        return [Told(self._seq, "reset", None, {})]

    def id_of(self, told: Told) -> str:
        return f"{self.life}-{told.seq}"

    @property
    def here(self) -> str:
        """The id of the last message so far."""
        return f"{self.life}-{self._seq}"
