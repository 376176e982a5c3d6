"""The outbox: notices that wait to be delivered, written in the transaction of what they tell of, and bounded.

Each sink has so many rows of the store's own (`notice/SINK/NNN`), so that a sink that does not answer takes no room from another one.
When all are taken, the oldest notice is dropped for the new one, and counted. A row is cleared when its notice was delivered: whatever
happens in between, it is delivered again, with the same id."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.core.fleet.breaker import BREAKER
from reconciler.core.keys import Key
from reconciler.core.notices import (
    PRUNES,
    REPOSITORY,
    Filter,
    Notice,
    Standing,
    fleet_breaker_news,
    news,
    provider_breaker_news,
    prune_news,
    repository_news,
    stale,
    standing,
)
from reconciler.core.provider.breaker import PROVIDERS
from reconciler.engine.ports import DropObject, Image, PutMeta, PutObject, Store, Write

SLOTS = 500
"""Notices that wait for one sink at most."""
ROW, KNOWN = "notice/", "notices/"
_News = Callable[[str, str, float], list[Notice]]
_NEWS: Mapping[str, _News] = {BREAKER: fleet_breaker_news, PROVIDERS: provider_breaker_news, PRUNES: prune_news}
_NOTHING: Standing = {}


@dataclass(frozen=True, slots=True)
class Want:
    """What one sink is to be told. `hold`: seconds for which trouble must last before it is told of; `slots`: notices that may wait."""

    name: str
    filter: Filter = field(default_factory=Filter)
    hold: float = 10.0
    slots: int = SLOTS


@dataclass(slots=True, eq=False)
class Row:
    """A notice in its row. `due`: controller clock; `tried`: it is being delivered, or was; `withdrawn`: its clearing is on its way."""

    slot: int
    notice: Notice
    due: float
    tried: bool = False
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one sink. `oldest`: seconds that the first notice has waited; `counts`: by `delivered`, `failed` (tries), `refused`, `dropped`."""

    waiting: int
    oldest: float
    counts: Mapping[str, int]


@dataclass(slots=True, eq=False)
class _Book:
    """The rows of one sink. `on_its_way`: ids whose rows are being written; `doubtful`: rows whose writing may have failed."""

    want: Want
    free: list[int]
    waiting: dict[str, Row] = field(default_factory=dict)
    on_its_way: set[str] = field(default_factory=set)
    doubtful: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    known: bool = True

    def name(self, slot: int) -> str:
        return f"{ROW}{self.want.name}/{slot:03d}"

    def row(self, slot: int, notice: Notice) -> Row:
        return Row(slot, notice, notice.at + (self.want.hold if notice.passing else 0.0))

    def has(self, notice: Notice) -> bool:
        return notice.id in self.waiting or notice.id in self.on_its_way

    def put(self, row: Row) -> None:
        self.waiting[row.notice.id] = row
        self.more.set()

    def oldest_idle(self) -> Row | None:
        return next((row for row in self.waiting.values() if not row.tried and not row.withdrawn), None)


@dataclass(slots=True, eq=False)
class Prepared:
    """Rows that go with a write, and what is true once it is durable."""

    writes: list[PutMeta] = field(default_factory=list)
    puts: list[tuple[_Book, Row]] = field(default_factory=list)
    clears: list[tuple[_Book, Row]] = field(default_factory=list)
    dropped: list[tuple[_Book, Row]] = field(default_factory=list)
    before: dict[Key, Standing] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)


class Outbox:
    """`wants`: one for each sink, by different names. `slots`: rows of one."""

    def __init__(self, wants: Sequence[Want]) -> None:
        self._books = {want.name: _Book(want, list(range(want.slots))) for want in wants}
        self._standing: dict[Key, Standing] = {}
        self._uids: dict[Key, str] = {}
        self._kept: dict[str, str] = {}
        self._strays: list[str] = []
        self._now: Callable[[], float] = lambda: 0.0
        self._redact: Callable[[str], str] = lambda text: text

    def begin(self, image: Image, now: Callable[[], float], redact: Callable[[str], str]) -> None:
        """Take up what the store holds. `now`: the controller's clock; `redact` takes known secrets out of a text."""
        self._now, self._redact = now, redact
        for obj in image.objects:
            self._note(obj.key, obj.uid, standing(obj.status, obj.record))
        self._kept = {name: value for name, value in image.meta.items() if _news_of(name)}
        found: list[tuple[_Book, Row]] = []
        for name, value in image.meta.items():
            if name.startswith(ROW) and value:
                sink, _, number = name.removeprefix(ROW).rpartition("/")
                book, notice = self._books.get(sink), Notice.load(value)
                if book is None or notice is None or not number.isdecimal() or int(number) not in book.free or book.has(notice):
                    self._strays.append(name)
                    continue
                book.free.remove(int(number))
                found.append((book, book.row(int(number), notice)))
        for book, row in sorted(found, key=lambda one: (one[1].notice.at, one[1].slot)):
            book.put(row)
        for book in self._books.values():
            book.known = bool(image.meta.get(f"{KNOWN}{book.want.name}"))

    # --- what goes with a write ---------------------------------------------------------------------------------------------------

    def prepare(self, batch: Sequence[Write]) -> Prepared | None:
        """The rows that are to be written with this batch; None when nothing that anybody is told of changes."""
        prepared, now = Prepared(), self._now()
        for write in batch:
            if isinstance(write, PutObject):
                obj = write.obj
                after, before = standing(obj.status, obj.record), self._standing.get(obj.key, _NOTHING)
                if after != before:
                    found = news(obj.key, obj.uid, before, after, obj.version, now)
                    self._tell(prepared, [one for one in found if write.expect or not stale(one, after, now)])
                    self._stands(prepared, obj.key, obj.uid, after)
            elif isinstance(write, DropObject) and (before := self._standing.get(write.key, _NOTHING)):
                found = news(write.key, self._uids.get(write.key, ""), before, _NOTHING, 0, now)
                self._tell(prepared, [one for one in found if one.event == "attention"])
                self._stands(prepared, write.key, "", _NOTHING)
            elif isinstance(write, PutMeta) and (told := _news_of(write.name)) and write.value != (kept := self._kept.get(write.name, "")):
                self._tell(prepared, told(kept, write.value, now))
                prepared.kept.setdefault(write.name, kept)
                self._kept[write.name] = write.value
        return prepared if prepared.writes or prepared.before or prepared.kept else None

    def landed(self, prepared: Prepared) -> None:
        """The write is durable."""
        for book, row in (*prepared.clears, *prepared.dropped):
            book.waiting.pop(row.notice.id, None)
        for book, row in prepared.clears:
            book.free.append(row.slot)
        for book, row in prepared.puts:
            book.on_its_way.discard(row.notice.id)
            book.put(row)
        for book, _ in prepared.dropped:
            book.counts["dropped"] += 1

    def doubt(self, prepared: Prepared) -> None:
        """The write failed, or nobody can tell: its rows are looked at before they are used again."""
        for _, row in prepared.clears:
            row.withdrawn = False
        for book, row in prepared.dropped:
            book.waiting.pop(row.notice.id, None)
        for book, row in prepared.puts:
            book.on_its_way.discard(row.notice.id)
            book.doubtful.append(row.slot)
            book.more.set()
        for key, before in prepared.before.items():
            self._note(key, self._uids.get(key, ""), before)
        self._kept.update(prepared.kept)

    def _stands(self, prepared: Prepared, key: Key, uid: str, after: Standing) -> None:
        prepared.before.setdefault(key, self._standing.get(key, _NOTHING))
        self._note(key, uid, after)

    def _note(self, key: Key, uid: str, after: Standing) -> None:
        if after:
            self._standing[key], self._uids[key] = after, uid
        else:
            self._standing.pop(key, None)
            self._uids.pop(key, None)

    def _tell(self, prepared: Prepared, notices: Iterable[Notice]) -> None:
        for notice in notices:
            notice = replace(notice, message=self._redact(notice.message))
            for book in self._books.values():
                if book.want.filter.wants(notice):
                    self._tell_one(prepared, book, notice)

    def _tell_one(self, prepared: Prepared, book: _Book, notice: Notice) -> None:
        if book.has(notice):
            return
        held = next(
            (row for row in book.waiting.values() if notice.uid and row.notice.passing and row.notice.uid == notice.uid and not row.tried),
            None,
        )
        if held is not None and notice.event == "attention" and not held.withdrawn and self._now() < held.due:
            held.withdrawn = True
            prepared.clears.append((book, held))
            prepared.writes.append(PutMeta(book.name(held.slot), ""))
            if notice.ends == held.notice.id:
                return  # it was over before anybody was told
        if book.free:
            slot = book.free.pop(0)
        elif (oldest := book.oldest_idle()) is not None:
            slot, oldest.withdrawn = oldest.slot, True
            prepared.dropped.append((book, oldest))
        else:
            book.counts["dropped"] += 1
            return
        book.on_its_way.add(notice.id)
        prepared.puts.append((book, book.row(slot, notice)))
        prepared.writes.append(PutMeta(book.name(slot), notice.dump()))

    # --- delivery -----------------------------------------------------------------------------------------------------------------

    async def settle(self, store: Store) -> int:
        """Before the first delivery: rows of sinks that are gone are cleared (returns how many), and a sink that is new is told what needs
        somebody now; what happened before it was there is not told."""
        gone, now = len(self._strays), self._now()
        await store.write([PutMeta(name, "") for name in self._strays])
        self._strays = []
        for book in [one for one in self._books.values() if not one.known]:
            prepared = Prepared([PutMeta(f"{KNOWN}{book.want.name}", "1")])
            for key, holds in self._standing.items():
                current: Standing = {event: one for event, one in holds.items() if event in ("attention", "budget")}
                for notice in news(key, self._uids[key], _NOTHING, current, 0, now):
                    self._tell_new(prepared, book, notice)
            for name, kept in self._kept.items():
                told = _news_of(name)
                for notice in told("", kept, now) if told is not None else ():
                    self._tell_new(prepared, book, notice)
            await self.write(store, prepared)
            book.known = True
        return gone

    def _tell_new(self, prepared: Prepared, book: _Book, notice: Notice) -> None:
        if book.want.filter.wants(notice):
            self._tell_one(prepared, book, replace(notice, message=self._redact(notice.message)))

    async def write(self, store: Store, prepared: Prepared, batch: Sequence[Write] = ()) -> None:
        """What was prepared, in one transaction with `batch`. Raises what the store says; what then holds is found out later."""
        try:
            await store.write([*batch, *prepared.writes])
        except BaseException:
            self.doubt(prepared)
            raise
        self.landed(prepared)

    async def next(self, sink: str, store: Store) -> Row:
        """The oldest notice that is due; waits for one. Its row stays until `done`."""
        book = self._books[sink]
        while True:
            book.more.clear()
            await self._look_again(book, store)
            now = self._now()
            rows = [row for row in book.waiting.values() if not row.withdrawn]
            due = next((row for row in rows if row.due <= now), None)
            if due is not None:
                due.tried = True
                return due
            soonest = min((row.due for row in rows), default=None)
            try:
                async with asyncio.timeout(None if soonest is None else max(soonest - now, 0.001)):
                    await book.more.wait()
            except TimeoutError:
                continue

    async def _look_again(self, book: _Book, store: Store) -> None:
        """What became of rows whose writing failed. Every write that was handed in is through before one that comes later."""
        if not book.doubtful:
            return
        await store.write([PutMeta(f"{KNOWN}{book.want.name}", "1")])
        while book.doubtful:
            slot = book.doubtful[0]
            notice = Notice.load(await store.meta(book.name(slot)) or "")
            book.doubtful.pop(0)
            if notice is None or book.has(notice):
                book.free.append(slot)
            else:
                book.put(book.row(slot, notice))

    async def done(self, sink: str, row: Row, store: Store) -> None:
        """It was delivered, or never will be: its row is free. Raises what the store says; then it is to be tried again."""
        book = self._books[sink]
        await store.write([PutMeta(book.name(row.slot), "")])
        if book.waiting.pop(row.notice.id, None) is not None:
            book.free.append(row.slot)

    def count(self, sink: str, outcome: str) -> None:
        self._books[sink].counts[outcome] += 1

    def figures(self) -> Mapping[str, Figures]:
        """By sink."""
        now, found = self._now(), {}
        for name, book in self._books.items():
            first = min((row.notice.at for row in book.waiting.values()), default=now)
            found[name] = Figures(len(book.waiting), max(now - first, 0.0), dict(book.counts))
        return found


def _news_of(row: str) -> _News | None:
    """What is told of a change of this row of the store, None where nothing is."""
    return repository_news if row.startswith(REPOSITORY) else _NEWS.get(row)


class NotedStore:
    """A `Store` whose every write also carries the notices that follow from it."""

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self._store, self._outbox = store, outbox
        self.events, self.session, self.aclose = store.events, store.session, store.aclose
        self.meta, self.metas = store.meta, store.metas
        self.load, self.objects, self.audit, self.memory = store.load, store.objects, store.audit, store.memory

    async def write(self, batch: Sequence[Write]) -> None:
        prepared = self._outbox.prepare(batch)
        if prepared is None:
            await self._store.write(batch)
            return
        await self._outbox.write(self._store, prepared, batch)
