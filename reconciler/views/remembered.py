"""One memory as a document: as `reconciler memory` prints its entries and as it travels over HTTP. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.governance.memory import Book, MemoryEntry, Whose
from reconciler.core.keys import Json, JsonValue, as_maps
from reconciler.core.times import seconds, timestamp, timestamp_us


def entry_document(entry: MemoryEntry) -> Json:
    """As people read it, with whole seconds."""
    return {"id": entry.id, "at": timestamp(entry.at), "by": entry.by, "text": entry.text}


def book_document(whose: Whose, book: Book) -> Json:
    """All of it. `gone`: what people removed, with who did so and when."""
    entries: list[JsonValue] = [_travelling(entry) for entry in book.entries]
    gone: list[JsonValue] = [{**_travelling(entry), "goneAt": timestamp_us(entry.gone_at), "goneBy": entry.gone_by} for entry in book.gone]
    return {"namespace": whose.namespace, "lieutenant": whose.owner, "hash": book.digest, "entries": entries, "gone": gone}


def book_of(document: Mapping[str, JsonValue]) -> Book:
    """What such a document says, in its order."""
    entries, gone = (tuple(_entry(one) for one in as_maps(document.get(name))) for name in ("entries", "gone"))
    return Book(entries, gone)


def _travelling(entry: MemoryEntry) -> Json:
    return {**entry_document(entry), "at": timestamp_us(entry.at)}


def _entry(told: Json) -> MemoryEntry:
    identity, text, by, gone_by = (str(told.get(name) or "") for name in ("id", "text", "by", "goneBy"))
    return MemoryEntry(seconds(told.get("at")) or 0.0, identity, text, by, seconds(told.get("goneAt")) or 0.0, gone_by)
