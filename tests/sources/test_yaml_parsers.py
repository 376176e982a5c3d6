"""Two parsers read YAML here, one for its speed and one for its messages: what both accept means the same to both, at the same places."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.sources.documents import plainyaml, yamltext
from reconciler.sources.documents.located import Located

MANIFESTS = Path(__file__).resolve().parents[1] / "manifests"
PIECES = [
    "a",
    "b: ",
    "- ",
    "\n",
    "  ",
    "'x'",
    '"y"',
    "{",
    "}",
    "[",
    "]",
    ", ",
    "|\n",
    ">-\n",
    "&n ",
    "*n",
    "!!str ",
    "# c\n",
    "0x1f",
    "yes",
    "~",
    "é",
    "<<: ",
]


AHEAD = (
    "!!str &n ",
    "!!str &n a",
    "&n !!str a",
    "- !!str &n",
    "!!str # c\n  &n a",
    "[b, !!str &n a]",
    "!!str\r\n &n [a]",
    "é: {b: !!str &n a}",
)


def both(text: str, patch: pytest.MonkeyPatch) -> tuple[Located, Located]:
    fast = yamltext.load(text)
    with patch.context() as patched:
        patched.setattr(yamltext, "_FAST", None)
        return fast, yamltext.load(text)


def plainly(text: str, full: Located) -> bool:
    """Whether the plain reader leaves this to the other one, or reads the same, with nothing to say about it."""
    plain = plainyaml.load(text)
    return plain is None or (repr(plain.value), plain.start, [], {}) == (repr(full.value), full.start, full.flaws, full.traps)


def same(fast: Located, slow: Located) -> bool:
    return (fast.value, fast.marks, fast.traps, fast.start, fast.flaws) == (slow.value, slow.marks, slow.traps, slow.start, slow.flaws)


@pytest.mark.parametrize("text", AHEAD)
def test_what_has_a_tag_and_an_anchor_begins_with_the_first_of_them(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = both(text, monkeypatch)
    assert same(fast, slow)


@pytest.mark.parametrize("file", sorted(MANIFESTS.rglob("*.yaml")), ids=lambda file: file.name)
def test_manifests_mean_the_same_to_both(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        pytest.skip("no text for a parser")
    for _, chunk in yamltext.split(text):
        fast, slow = both(chunk, monkeypatch)
        assert same(fast, slow)
        assert plainly(chunk, fast)


def test_nearly_all_good_documents_are_plain() -> None:
    texts = [chunk for file in (MANIFESTS / "valid").rglob("*.yaml") for _, chunk in yamltext.split(file.read_text())]
    plain = [text for text in texts if plainyaml.load(text) is not None]
    assert len(plain) > 0.8 * len(texts)


@example("a: *n\n")
@example("b: {a, a: 1}\n")
@example("- &n a\n- *n\n")
@example("|\n# c\n")
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(max_examples=300, deadline=None)
def test_whatever_both_accept_means_the_same_to_both(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fast, slow = both(text, patch)
    assert plainly(text, fast)
    if fast.whole and slow.whole:
        assert same(fast, slow)
    elif slow.whole:
        raise AssertionError("what the slow one accepts the fast one hands on to it")
