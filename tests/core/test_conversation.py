"""Session files, read as they grow. The bytes are those of a real one where it matters."""
# ruff: noqa: E501

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.conversation import CUT, TEXT_LIMIT, compactions, parse, usages
from reconciler.core.messages import Compaction, Usage

REAL = rb"""{"type":"session","version":3,"id":"01a1","timestamp":"2026-11-21T08:17:36.846Z","cwd":"/root/workspace"}
{"type":"model_change","id":"a1","parentId":null,"timestamp":"2026-11-21T08:17:37.000Z","provider":"p","modelId":"m"}
{"type":"message","id":"b1","parentId":"a1","timestamp":"2026-11-21T08:17:38.000Z","message":{"role":"system","content":"","sections":{"preamble":"You are"}}}
{"type":"message","id":"b2","parentId":"b1","timestamp":"2026-11-21T08:17:38.500Z","message":{"role":"user","content":[{"type":"text","text":"[m] say "},{"type":"image","data":"x"},{"type":"text","text":"hi"}],"timestamp":1795249059721}}
{"type":"message","id":"b3","parentId":"b2","timestamp":"2026-11-21T08:17:39.250Z","message":{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"hi"}],"provider":"p","model":"m","usage":{"input":100,"output":10,"cacheRead":3,"cacheWrite":4,"totalTokens":117,"cost":{"input":0.1,"total":0.00012}},"stopReason":"stop","timestamp":1795249059748}}
{"type":"context_edit","id":"c1","parentId":"b3","hide":["b3"]}
{"type":"message","id":"b4","parentId":"c1","timestamp":"2026-11-21T08:17:40.000Z","message":{"role":"assistant","content":[],"stopReason":"error","errorMessage":"529 overloaded"}}
"""


def line(message: object, **entry: object) -> bytes:
    return json.dumps({"type": "message", "id": "x", "message": message, **entry}).encode() + b"\n"


def test_messages_of_a_session_file() -> None:
    messages, consumed = parse(REAL, 1000)
    assert consumed == len(REAL)
    assert [(m.entry_id, m.role, m.text, m.stop_reason, m.error) for m in messages] == [
        ("b1", "system", "", "", ""),
        ("b2", "user", "[m] say hi", "", ""),
        ("b3", "assistant", "hi", "stop", ""),
        ("b4", "assistant", "", "error", "529 overloaded"),
    ]
    assert messages[2].usage == Usage(100, 10, 3, 4, Decimal("0.00012"))
    assert messages[2].at == pytest.approx(1795249059.25)
    assert [REAL[m.offset - 1000 :].split(b'"id":"')[1][:2].decode() for m in messages] == ["b1", "b2", "b3", "b4"]


@given(st.lists(st.integers(0, len(REAL)), max_size=6))
def test_pieces_of_any_size_give_the_same_messages(cuts: list[int]) -> None:
    whole, _ = parse(REAL, 0)
    found: list[object] = []
    rest, base = b"", 0
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(REAL)], strict=True):
        rest += REAL[start:end]
        messages, consumed = parse(rest, base)
        found += messages
        rest, base = rest[consumed:], base + consumed
    assert (tuple(found), rest) == (whole, b"")


def test_an_unfinished_last_line_waits_for_its_end() -> None:
    assert parse(REAL[:-1], 0)[1] == REAL[:-1].rfind(b"\n") + 1
    assert parse(b'{"type":"message"', 0) == ((), 0)
    assert parse(b"", 0) == ((), 0)


def test_long_texts_are_cut_and_say_so() -> None:
    [message], _ = parse(line({"role": "user", "content": "a" + "é" * TEXT_LIMIT + "z"}), 0)
    half = TEXT_LIMIT // 2
    assert message.text == "a" + "é" * (half - 1) + CUT + "é" * (half - 1) + "z", "its beginning and its end"
    assert message.text_bytes == 2 * TEXT_LIMIT + 2
    [message], _ = parse(line({"role": "user", "content": "é" * TEXT_LIMIT}), 0)
    assert message.text == "é" * TEXT_LIMIT


HOSTILE = [
    b"not json\n",
    b"\n",
    b"null\n[]\n1\n\xff\xfe\n",
    b"[" * 100_000 + b"\n",
    b'{"type":"message"}\n{"type":"message","message":null}\n{"type":"message","message":[]}\n{"type":"news","message":{}}\n',
]


@pytest.mark.guarantee("G-65")
@pytest.mark.parametrize("lines", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_message_is_passed_over(lines: bytes) -> None:
    messages, consumed = parse(lines + REAL, 0)
    assert len(messages) == 4
    assert messages[0].offset == len(lines) + REAL.index(b'{"type":"message"')
    assert consumed == len(lines) + len(REAL)


@pytest.mark.guarantee("G-65")
def test_odd_values_in_a_message_read_as_nothing() -> None:
    usage = {"input": "many", "output": float("inf"), "cacheRead": float("nan"), "cacheWrite": 10**400, "cost": {"total": [1]}}
    odd = {"role": ["user"], "content": {"a": 1}, "usage": usage, "stopReason": 5, "errorMessage": {}}
    [message], _ = parse(line(odd, timestamp="0001-01-01T00:00:00"), 0)
    assert (message.text, message.usage, message.stop_reason) == ("", Usage(), "5")
    [message], _ = parse(line({"role": "user", "content": [1, None, {"type": "text", "text": 7}]}, id=None, timestamp=None), 0)
    assert (message.text, message.at) == ("7", 0.0)


@pytest.mark.guarantee("G-65")
def test_text_that_nothing_can_store_is_made_storable() -> None:
    [message], _ = parse(b'{"type":"message","id":"x","message":{"role":"user","content":"a\\ud83d b\\u0000c \\ud83d\\ude00"}}\n', 0)
    assert message.text == "a? b\ufffdc \U0001f600"
    assert message.text.encode()
    [message], _ = parse(b'{"type":"message","id":"x","message":{"role":"user","content":"broken \xff\xfe bytes"}}\n', 0)
    assert message.text == "broken \ufffd\ufffd bytes"


SHORTENED = rb"""{"type":"compaction","id":"d1","parentId":"b4","timestamp":"2026-11-21T08:17:41.500Z","summary":"It said \"compaction\".","firstKeptEntryId":"b3","tokensBefore":9000}
"""


def test_that_it_was_shortened_is_an_entry_and_no_message() -> None:
    whole = REAL + SHORTENED + line({"role": "user", "content": '{"type":"compaction","id":"no"}'})
    assert compactions(whole, 7) == (Compaction("d1", len(REAL) + 7, 1795249061.5),)
    assert [m.role for m in parse(whole, 0)[0]][-1] == "user"
    assert compactions(REAL, 0) == ()
    assert compactions(SHORTENED[:-1], 0) == ()


@pytest.mark.parametrize(
    "damaged", [b'"compaction"\n', b'{"type":"compaction"\n', b'["compaction"]\n', b'{"type":"message","x":"compaction"}\n']
)
def test_what_only_looks_like_it_is_none(damaged: bytes) -> None:
    assert compactions(damaged, 0) == ()
    assert [one.entry_id for one in compactions(damaged + SHORTENED, 0)] == ["d1"]


PAID = rb"""{"type":"usage","id":"u1","parentId":"b4","timestamp":"2026-11-21T08:17:41.500Z","kind":"reconciler-facts","provider":"acme","model":"small","usage":{"input":7,"output":2,"cacheRead":0,"cacheWrite":0,"totalTokens":9,"cost":{"total":0.25}}}
"""


@pytest.mark.guarantee("G-29")
def test_what_was_paid_for_beside_the_messages_is_told_and_is_no_message() -> None:
    whole = REAL + PAID + line({"role": "user", "content": '{"type":"usage"}'})
    (spent,) = usages(whole, 7)
    assert (spent.entry_id, spent.offset, spent.model, spent.usage.input, spent.usage.cost) == (
        "u1", len(REAL) + 7, "acme/small", 7, Decimal("0.25"),
    )  # fmt: skip
    assert "u1" not in [message.entry_id for message in parse(whole, 0)[0]]
    (summary,) = usages(b'{"type":"compaction","id":"d1","summary":"s","usage":{"input":5,"output":1,"cost":{"total":0.5}}}\n', 0)
    assert (summary.entry_id, summary.model, summary.usage.input, summary.usage.cost) == ("d1", "", 5, Decimal("0.5"))
    assert usages(SHORTENED, 0) == (), "an earlier pi does not tell what it cost"
    assert usages(PAID[:-1], 0) == usages(REAL, 0) == usages(b'{"type":"usage"\n', 0) == ()
