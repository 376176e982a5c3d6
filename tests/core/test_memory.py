"""Memories are merged entry by entry, bounded, and are the same text when they are written and read again."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.governance.memory import (
    LONGEST,
    MOST,
    MOST_CHARACTERS,
    MOST_GONE,
    Book,
    MemoryEntry,
    as_text,
    differences,
    edited,
    from_text,
    history,
    merged,
)

ENTRIES = [MemoryEntry(float(n), f"id-{n}", f"fact {n}") for n in range(6)]
lists = st.lists(st.sampled_from(ENTRIES), max_size=6)


def test_two_who_write_lose_nothing_whoever_is_first() -> None:
    one, two = ENTRIES[:3], ENTRIES[2:]
    books = [merged(merged(Book(), first, 9.0).book, second, 9.0).book for first, second in ((one, two), (two, one))]
    assert books[0] == books[1] == Book.of(ENTRIES)
    assert books[0].digest == books[1].digest


@given(st.lists(lists, max_size=4), st.lists(st.sampled_from([entry.id for entry in ENTRIES]), max_size=3, unique=True))
def test_order_and_repetition_change_nothing_and_what_was_removed_stays_so(found: list[list[MemoryEntry]], removed: list[str]) -> None:
    start = edited(merged(Book(), ENTRIES, 9.0).book, [], removed, "ada", 10.0).book
    results = set()
    for order in itertools.permutations(found):
        book = start
        for entries in order:
            book = merged(book, entries, 11.0).book
            assert not merged(book, entries, 12.0).written
        results.add(book.digest)
    assert results == {start.digest} or not found
    assert not {entry.id for entry in start.entries} & set(removed)


def test_only_the_newest_stay_and_what_is_dropped_is_not_brought_back() -> None:
    many = [MemoryEntry(float(n), f"{n:06}", "x") for n in range(MOST + 5)]
    change = merged(Book.of(many[:MOST]), many[MOST:], 1e9)
    assert len(change.book.entries) == MOST
    assert change.dropped == tuple(f"{n:06}" for n in range(5))
    again = merged(change.book, many, 1e9)
    assert (again.written, again.dropped, again.book) == ((), (), change.book)
    long = [MemoryEntry(float(n), f"{n:06}", "y" * LONGEST) for n in range(300)]
    assert merged(Book(), long, 1e9).book.characters <= MOST_CHARACTERS


def test_no_entry_is_from_the_future_or_too_long() -> None:
    (entry,) = merged(Book(), [MemoryEntry(1e12, "id", "z" * (LONGEST + 1))], 50.0).book.entries
    assert (entry.at, len(entry.text)) == (50.0, LONGEST)


def test_what_was_removed_is_remembered_up_to_a_bound() -> None:
    many = [MemoryEntry(float(n), f"{n:06}", "x") for n in range(MOST_GONE + 3)]
    change = edited(Book.of(many), [], [entry.id for entry in many], "ada", 5e3)
    assert len(change.book.gone) == MOST_GONE
    assert len(change.dropped) == 3


lines = st.text("ab -#", min_size=1, max_size=8).map(str.strip).filter(lambda text: text and not text.startswith("-"))
texts = st.lists(st.lists(lines, min_size=1, max_size=3).map("\n".join), max_size=5, unique=True)


@given(texts)
def test_what_is_shown_is_read_again_as_it_was(found: list[str]) -> None:
    book = edited(Book(), found, (), "ada", 1.0).book
    assert [entry.text for entry in book.entries] == found
    assert from_text(as_text(book.entries)) == found
    assert differences(book, from_text(as_text(book.entries))) == ([], [])


def test_an_edit_keeps_what_was_written_meanwhile() -> None:
    seen = Book.of(ENTRIES[:2])
    add, remove = differences(seen, ["fact 1", "by hand"])
    book = edited(merged(seen, ENTRIES[2:3], 9.0).book, add, remove, "ada", 10.0).book
    assert [entry.text for entry in book.entries] == ["fact 1", "fact 2", "by hand"]
    assert [(what, entry.text, who) for _, who, what, entry in history(book)][-2:] == [
        ("removed", "fact 0", "ada"),
        ("added", "by hand", "ada"),
    ]


def test_an_entry_that_is_too_long_is_refused_with_its_number() -> None:
    with pytest.raises(ValueError, match="entry 2 has 4001 characters"):
        from_text("short\n" + "x" * (LONGEST + 1))
