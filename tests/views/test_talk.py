"""Conversations a page at a time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.views import talk as module
from reconciler.views.talk import size_of, talk, turns
from tests.serve.rig import said
from tests.views.doubles import Mirrors


def mirror(data: bytes) -> Mirrors:
    return Mirrors([], {"s": data})


@given(st.lists(st.integers(0, 300), max_size=30), st.integers(1, 7), st.integers(1, 400))
@settings(max_examples=60, deadline=None)
async def test_pages_from_the_end_are_the_whole_conversation(lengths: list[int], limit: int, window: int) -> None:
    data = b"".join(said("assistant", f"{number}:" + "x" * length) for number, length in enumerate(lengths))
    store = mirror(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW", window)
        found: list[str] = []
        before: int | None = await size_of(store, "s")
        assert before == len(data)
        while before:
            page = await talk(store, "s", len(data), before, limit)
            assert len(page.messages) <= limit
            assert page.skipped == 0
            assert page.start < before
            found[:0] = [one.text for one in page.messages]
            before = page.start
    assert [text.partition(":")[0] for text in found] == [str(number) for number in range(len(lengths))]


async def test_a_line_that_is_too_long_is_passed_over_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 256)
    monkeypatch.setattr(module, "MOST_READ", 1024)
    data = said("user", "first") + said("toolResult", "y" * 5000) + said("assistant", "last")
    page = await talk(mirror(data), "s", len(data))
    seen, skipped, steps = [one.text for one in page.messages], 0, 0
    while page.start:
        page = await talk(mirror(data), "s", len(data), page.start)
        seen[:0] = [one.text for one in page.messages]
        skipped += page.skipped
        steps += 1
        assert steps < 20
    assert seen == ["first", "last"]
    assert skipped > 4000


async def test_texts_of_a_page_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_TEXT", 1000)
    data = b"".join(said("assistant", f"{number} " + "x" * 400) for number in range(9))
    page = await talk(mirror(data), "s", len(data))
    assert [one.text.split()[0] for one in page.messages] == ["7", "8"]
    assert page.start == page.messages[0].offset


async def test_nothing_was_said() -> None:
    assert await size_of(mirror(b""), "s") == 0
    assert await size_of(mirror(b""), "") == 0
    page = await talk(mirror(b""), "s", 0)
    assert (page.messages, page.start) == ((), 0)


async def test_results_stand_beside_their_calls() -> None:
    data = said("assistant", "I look", calls=[{"id": "a", "name": "read"}, {"id": "b", "name": "bash"}])
    data += said("toolResult", "it says", toolCallId="a") + said("toolResult", "of another page", toolCallId="z")
    found = turns((await talk(mirror(data), "s", len(data))).messages)
    assert [turn.said.role for turn in found] == ["assistant", "toolResult"]
    assert [(one.call.tool, one.result.text if one.result else None) for one in found[0].calls] == [("read", "it says"), ("bash", None)]
