"""Tables fold at the width of a terminal, and nothing of them is ever cut off (G-67)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.output import table_lines

ID = "01aa32f0-c77d-4cab-99ff-e3bc216353a7"
ROWS = [["api", ID, "It waits for room: the platform has no machine of that size, and it is tried again in a while."], ["b", "", "short"]]
HEADER = ["NAME", "VM", "MESSAGE"]

words = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=9)
cells = st.lists(words, max_size=12).map(" ".join)


@pytest.mark.guarantee("G-67")
def test_a_row_too_wide_for_the_terminal_is_folded_at_blanks() -> None:
    lines = table_lines(HEADER, ROWS, 80)
    assert max(map(len, lines)) <= 80
    assert sum(ID in line for line in lines) == 1, "an id stays whole"
    assert len(lines) > 3
    assert [line[4:].split() for line in lines if line.startswith("b")] == [["short"]]
    second = next(line for line in lines if line.startswith(" "))
    assert second.index(second.split()[0]) == lines[0].index("MESSAGE"), "folded below its own column"


def test_what_fits_and_what_is_piped_is_a_line_a_row() -> None:
    assert len(table_lines(HEADER, ROWS, 0)) == 3
    assert table_lines(HEADER, ROWS, 500) == table_lines(HEADER, ROWS, 0)


@pytest.mark.guarantee("G-67")
@given(st.lists(st.tuples(cells, cells, cells), max_size=6), st.integers(1, 120))
def test_every_word_is_shown_whatever_the_width(rows: list[tuple[str, str, str]], width: int) -> None:
    lines = table_lines(HEADER, rows, width)
    assert sorted(" ".join(lines).split()) == sorted(" ".join([*HEADER, *(cell for row in rows for cell in row)]).split())
    longest = sum(max((len(word) for row in rows for word in row[i].split()), default=0) for i in range(3))
    assert max(map(len, lines)) <= max(width, longest + 3 * 12 + 6)
