"""`logs`, and the search in what agents said: by lines, with their surroundings, and bounded whatever the expression is."""

from __future__ import annotations

import json
import re
import signal
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli import grep
from reconciler.cli.grep import Search, search
from reconciler.engine.ports import AppendSession
from reconciler.errors import UsageError
from tests.cli.conftest import Run
from tests.cli.test_cli_conversation import SECOND, change, line, state

__all__ = ["state"]
WORK = (
    line("assistant", "first\nthe port is 8081\nand the host is Local.example\nlast\nfifth\nport again")
    + json.dumps(
        {
            "type": "message",
            "id": "call",
            "timestamp": "2026-01-31T12:00:00Z",
            "message": {
                "role": "assistant",
                "content": [{"type": "toolCall", "id": "c1", "name": "bash", "arguments": {"command": "cat server.js"}}],
            },
        }
    ).encode()
    + b"\n"
    + json.dumps(
        {
            "type": "message",
            "id": "result",
            "message": {
                "role": "toolResult",
                "toolCallId": "c1",
                "toolName": "bash",
                "content": [{"type": "text", "text": "listen(8081)\n--- user ---\nend"}],
            },
        }
    ).encode()
    + b"\n"
)


@pytest.fixture
def talked(run: Run, state: Path) -> Run:
    change(state, lambda obj: obj, AppendSession("s-g2", len(SECOND), WORK))
    return run


def test_everything_of_a_conversation_is_printed_below_who_said_it(talked: Run) -> None:
    lines = talked("logs", "api").out.splitlines()
    assert lines[:6] == ["--- user ---", "anew", "--- agent ---", "one", "--- agent ---", "two"]
    titles = [one for one in lines if one.startswith("--- ")]
    assert titles == ["--- user ---", *["--- agent ---"] * 3, "--- agent 2026-01-31T12:00:00Z ---", "--- tool bash ---"]
    assert "> bash: cat server.js" in lines
    assert lines[-3:] == ["listen(8081)", " --- user ---", "end"], "what a tool gave can't look like a title"
    assert talked("logs", "api", "--tail", "1").out == "end\n"
    earlier = talked("logs", "lt/api", "--earlier").out.splitlines()
    assert earlier[:4] == ["--- user ---", "[m] tell", "--- agent ---", "told of old"]
    assert earlier[4:] == lines
    assert talked("logs", "-l", "none=here").err == "nothing found\n"


@pytest.mark.parametrize("words", [("task/old",), ("task", "old"), ("api", "--task", "old")])
def test_a_task_has_its_part_of_the_conversation(talked: Run, words: tuple[str, ...]) -> None:
    assert talked("logs", *words).out == "--- user ---\n[m] tell\n--- agent ---\ntold of old\n"
    assert talked("logs", *words, "--grep", "of o").out == "--- agent ---\n1:told of old\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("8081",), "--- agent ---\n2:the port is 8081\n--- tool bash ---\n1:listen(8081)\n"),
        (
            ("PORT", "-i", "-C", "1"),
            "--- agent ---\n1-first\n2:the port is 8081\n3-and the host is Local.example\n--\n5-fifth\n6:port again\n",
        ),
        (
            ("port", "-C", "2"),
            "--- agent ---\n1-first\n2:the port is 8081\n3-and the host is Local.example\n4-last\n5-fifth\n6:port again\n",
        ),
        ((r"^l\w+\(",), "--- tool bash ---\n1:listen(8081)\n"),
        (("listen(", "-F"), "--- tool bash ---\n1:listen(8081)\n"),
        (("told",), "--- agent ---\n1:told of old\n"),
        (("nowhere",), ""),
    ],
)
def test_lines_are_found_with_their_numbers_and_surroundings(talked: Run, words: tuple[str, ...], said: str) -> None:
    found = talked("logs", "api", "--grep", *words)
    assert (found.code, found.out) == (0, said)
    assert ("nothing found" in found.err) == (not said)


def test_answers_are_searched_in_all_conversations_and_keep_their_numbers(talked: Run) -> None:
    assert talked("output", "api", "--grep", "t[w]").out == "--- answer 3 of 4 ---\n1:two\n"
    assert talked("output", "api", "--grep", "^told|last").out == "--- answer 1 of 4 ---\n1:told of old\n\n--- answer 4 of 4 ---\n4:last\n"
    assert talked("output", "api", "--history", "1", "--grep", "two").err == "nothing found\n"
    assert talked("output", "api", "--task", "old", "--grep", "old").out == "1:told of old\n"
    assert talked("output", "-l", "none=here", "--grep", "two").code == 0


@pytest.mark.guarantee("G-60")
def test_a_secret_is_not_found(talked: Run, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERS_API_KEY", "hunter2hunter2")
    change(state, lambda obj: obj, AppendSession("s-g2", len(SECOND) + len(WORK), line("assistant", "key: hunter2hunter2")))
    assert talked("logs", "api", "--grep", "hunter").out == ""
    assert "hunter" not in talked("logs", "api", "--grep", "key:").out


@pytest.mark.parametrize(
    "words",
    [
        ("logs",),
        ("logs", "api", "-l", "a=b"),
        ("logs", "bp/lightweight"),
        ("logs", "api", "--grep", "("),
        ("logs", "api", "--grep", "a{99999999999}"),
        ("logs", "api", "--grep", "a" * 1001),
        ("logs", "api", "--grep", ""),
        ("output", "api", "--grep", "", "-F"),
        ("logs", "api", "-F"),
        ("logs", "api", "-C", "1"),
        ("output", "api", "-i"),
        ("output", "api", "--grep", "a", "--raw"),
    ],
)
def test_what_can_not_be_searched_is_wrong_usage(talked: Run, words: tuple[str, ...]) -> None:
    assert talked(*words).code == 64


def test_an_expression_that_goes_back_for_ever_ends_and_says_so(run: Run, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is of a processor's time, so a busy machine ends nothing that would have ended."""
    monkeypatch.setattr(grep, "SECONDS", 0.2)
    change(state, lambda obj: obj, AppendSession("s-g2", len(SECOND), line("assistant", "a" * 64 + "b")))
    before = signal.getsignal(signal.SIGVTALRM)
    for command in ("logs", "output"):
        ended = run(command, "api", "--grep", "(a+)+$")
        assert ended.code == 64
        assert ended.out == ""
        assert "takes too long (--grep): write one without repetitions inside of repetitions" in ended.err
    assert signal.getsignal(signal.SIGVTALRM) == before
    assert run("logs", "api", "--grep", "(a+)+$", "-F").err == "nothing found\n"


@given(st.lists(st.text("ab", max_size=3), max_size=12), st.sampled_from("ab"), st.integers(0, 4))
def test_what_is_shown_is_every_hit_and_its_surroundings_once_and_in_order(lines: list[str], wanted: str, around: int) -> None:
    made = search(wanted, fixed=True, ignore_case=False, around=around)
    assert isinstance(made, Search)
    shown = [
        (int(number), sign, text) for number, sign, text in re.findall(r"(?m)^(\d+)([:-])(.*)$", "\n".join(made.lines("\n".join(lines))))
    ]
    told = "\n".join(lines).split("\n")
    hits = {number for number, line in enumerate(told, 1) if wanted in line}
    near = {at for hit in hits for at in range(max(1, hit - around), min(len(told), hit + around) + 1)}
    assert shown == [(at, ":" if at in hits else "-", told[at - 1]) for at in sorted(near)]


def test_nothing_is_searched_without_a_pattern() -> None:
    assert search(None, fixed=False, ignore_case=False, around=0) is None
    with pytest.raises(UsageError, match="nothing to search for"):
        search(None, fixed=True, ignore_case=False, around=0)


def test_an_empty_pattern_is_what_a_script_did_not_mean(talked: Run) -> None:
    refused = talked("logs", "api", "--grep", "")
    assert (refused.code, refused.out) == (64, "")
    assert refused.err == "error: PATTERN is empty (--grep): say what is looked for (^ is found in every line), or leave --grep out\n"
    assert "2:the port is 8081" in talked("logs", "api", "--grep", "^").out


def test_what_other_expressions_know_warns_nobody(talked: Run) -> None:
    """Python tells programmers that `[[` may mean something else one day."""
    re.purge()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert talked("logs", "api", "--grep", "[[:alpha:]]").err == "nothing found\n"
    assert told == []
