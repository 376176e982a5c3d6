"""What agents keep between conversations: entries with ids, merged one by one, so that two who write lose nothing. Pure."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reconciler.core.keys import Key, lieutenant

Scope = Literal["Agent", "Global"]
SCOPES: tuple[Scope, ...] = ("Agent", "Global")

LONGEST = 4_000
"""Characters of one entry; a keeper takes no longer ones."""
MOST = 10_000
"""Entries of one memory, the newest,"""
MOST_CHARACTERS = 1 << 20
"""and characters that they may come to."""
MOST_GONE = 1_000
"""Entries that a person removed and that are remembered, so that no machine brings them back; the latest."""


@dataclass(frozen=True, slots=True, order=True)
class MemoryEntry:
    """One entry. `by`: who wrote it; `gone_at`: when `gone_by` removed it, 0 while it is there."""

    at: float
    id: str
    text: str
    by: str = ""
    gone_at: float = 0.0
    gone_by: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Whose:
    """Names one memory. `owner`: the name of its lieutenant, '' for the one that all agents of the namespace share."""

    namespace: str
    owner: str = ""

    @property
    def tag(self) -> str:
        """As a machine says whose memory is on it."""
        return f"{self.namespace}/{self.owner}"

    def __str__(self) -> str:
        return f"memory of {self.owner}" if self.owner else "global memory"


def memory_of(key: Key, scope: Scope) -> Whose:
    """The memory that a lieutenant means by a scope."""
    return Whose(key.namespace, key.name if scope == "Agent" else "")


def agent_key(whose: Whose) -> Key:
    """What changes of a memory are told about: its lieutenant; for one that is shared, itself."""
    return lieutenant(whose.namespace, whose.owner) if whose.owner else Key("Memory", whose.namespace, "global")


@dataclass(frozen=True, slots=True)
class Book:
    """One memory, with what was removed from it. `entries`: oldest first."""

    entries: tuple[MemoryEntry, ...] = ()
    gone: tuple[MemoryEntry, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[MemoryEntry]) -> Book:
        every = sorted(rows)
        return cls(tuple(row for row in every if not row.gone_at), tuple(row for row in every if row.gone_at))

    @property
    def digest(self) -> str:
        """Names the entries that are there, as a keeper does; '' is for a memory that nobody has."""
        return digest_of(entry.id for entry in self.entries)

    @property
    def lines(self) -> int:
        return sum(entry.text.count("\n") + 1 for entry in self.entries)

    @property
    def characters(self) -> int:
        return sum(len(entry.text) for entry in self.entries)


def digest_of(ids: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]


NOTHING = digest_of(())


@dataclass(frozen=True, slots=True)
class Change:
    """A book after a change: rows to write, and ids of rows that are dropped for good."""

    book: Book
    written: tuple[MemoryEntry, ...] = ()
    dropped: tuple[str, ...] = ()


def merged(book: Book, found: Iterable[MemoryEntry], now: float) -> Change:
    """With what was found on a machine: entries that are not known are added, unless they were removed. No entry is from the future."""
    known = {entry.id for entry in (*book.entries, *book.gone)}
    news = {entry.id: replace(entry, at=min(entry.at, now), text=entry.text[:LONGEST]) for entry in found if entry.id not in known}
    return _bounded(book, (*book.entries, *news.values()), book.gone, news.values())


def edited(book: Book, add: Sequence[str], remove: Collection[str], by: str, now: float) -> Change:
    """As a person wants it: these texts are added, entries with these ids go. What others wrote meanwhile stays."""
    removed = [replace(entry, gone_at=now, gone_by=by) for entry in book.entries if entry.id in remove]
    kept = [entry for entry in book.entries if entry.id not in remove]
    start = max([now, *(entry.at for entry in kept[-1:])])
    added = [MemoryEntry(start + number * 1e-6, str(uuid.uuid4()), text[:LONGEST], by) for number, text in enumerate(add)]
    return _bounded(book, (*kept, *added), (*book.gone, *removed), (*added, *removed))


def _bounded(before: Book, entries: Iterable[MemoryEntry], gone: Iterable[MemoryEntry], written: Iterable[MemoryEntry]) -> Change:
    """The newest that there is room for. What is dropped was in the store before, or is never written."""
    kept: list[MemoryEntry] = []
    room = MOST_CHARACTERS
    for entry in sorted(entries, reverse=True)[:MOST]:
        room -= len(entry.text)
        if room < 0:
            break
        kept.append(entry)
    remembered = sorted(gone, key=lambda entry: entry.gone_at)[-MOST_GONE:]
    stays = {entry.id for entry in (*kept, *remembered)}
    rows = tuple(row for row in written if row.id in stays)
    dropped = tuple(entry.id for entry in (*before.entries, *before.gone) if entry.id not in stays)
    return Change(Book.of((*kept, *remembered)), rows, dropped)


# --- what a machine has -----------------------------------------------------------------------------------------------------------


def belongs(owner: str, own: Whose, inherits: Collection[str]) -> bool:
    """Whether what a machine keeps for this owner is this agent's: its own, that of the one that it is a copy of, or nobody's yet."""
    return owner in ("", own.tag, *inherits)


# --- as text ----------------------------------------------------------------------------------------------------------------------


def as_text(entries: Iterable[MemoryEntry]) -> str:
    """For people to read and edit: an entry begins at the margin, its further lines are indented."""
    return "".join(f"- {entry.text}".replace("\n", "\n  ") + "\n" for entry in entries)


def from_text(text: str) -> list[str]:
    """The entries of such a text; a hyphen at the margin may be left out. Raises `ValueError` for one that is too long."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        if line[:1].isspace() and found:
            found[-1].append(line.removeprefix("  ").rstrip())
        else:
            found.append([line.removeprefix("- ").strip()])
    texts = ["\n".join(lines) for lines in found]
    for number, one in enumerate(texts, start=1):
        if len(one) > LONGEST:
            raise ValueError(f"entry {number} has {len(one)} characters, at most {LONGEST} are kept")
    return texts


def differences(book: Book, texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """What turns a memory into these texts: texts to add, and ids to remove."""
    left = list(texts)
    remove: list[str] = []
    for entry in book.entries:
        if entry.text in left:
            left.remove(entry.text)
        else:
            remove.append(entry.id)
    return left, remove


def history(book: Book) -> Iterator[tuple[float, str, str, MemoryEntry]]:
    """What was written and removed, as time, who, what was done and the entry; oldest first."""
    told = [(entry.at, entry.by, "added", entry) for entry in (*book.entries, *book.gone)]
    told += [(entry.gone_at, entry.gone_by, "removed", entry) for entry in book.gone]
    yield from sorted(told, key=lambda one: (one[0], one[2] == "added"))
