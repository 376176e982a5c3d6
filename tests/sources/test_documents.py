"""Texts to documents: places, ambiguities, broken text, lists, caps."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.keys import JsonValue
from reconciler.sources.documents import jsontext, plainyaml, yamltext
from reconciler.sources.documents.located import MAX_DEPTH, Flaw, Mark, Trap
from reconciler.sources.documents.reader import MAX_DOCUMENTS, Reader, decode, read

HEAD = "apiVersion: fleet.vers.sh/v1alpha1\nkind: Lieutenant\nmetadata: {name: a}\nspec:\n  profileRef: {name: full}\n"


def findings(text: str, file: str = "a.yaml") -> list[str]:
    return [str(one) for doc in read(text, file) for one in doc.findings]


# --- scalars as kubectl reads them ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "trap"),
    [
        ("yes", True, Trap.BOOLEAN),
        ("Off", False, Trap.BOOLEAN),
        ("y", True, Trap.BOOLEAN),
        ("N", False, Trap.BOOLEAN),
        ("true", True, None),
        ("False", False, None),
        ("yES", "yES", None),
        ("", None, None),
        ("~", None, None),
        ("null", None, None),
        ("12", 12, None),
        ("-12", -12, None),
        ("0x1F", 31, None),
        ("0o17", 15, None),
        ("0b101", 5, None),
        ("0", 0, None),
        ("012", 10, Trap.OCTAL),
        ("-012", -10, Trap.OCTAL),
        ("089", 89, Trap.OCTAL),
        ("1_000", 1000, Trap.UNDERSCORE),
        ("1:30", "1:30", Trap.SEXAGESIMAL),
        ("12:30:45", "12:30:45", Trap.SEXAGESIMAL),
        ("1.5", 1.5, None),
        ("1e3", 1000.0, None),
        (".5", 0.5, None),
        ("1.2.3", "1.2.3", None),
        ("2026-01-01", "2026-01-01", None),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", None),
        ("golden:latest", "golden:latest", None),
        ("a_b", "a_b", None),
        ("-", "-", None),
        ("9" * 60, "9" * 60, None),
    ],
)
def test_plain_scalars(text: str, value: JsonValue, trap: Trap | None) -> None:
    found, caught = yamltext.resolve(text)
    assert (found, type(found), caught) == (value, type(value), trap)


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".nan", "1e999"])
def test_numbers_that_json_cannot_carry(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        yamltext.resolve(text)
    assert "quote it" in findings(HEAD + f"  role: {text}\n")[0]


@pytest.mark.guarantee("G-42")
@pytest.mark.parametrize("word", ["yes", "No", "on", "OFF", "y", "n", "012", "1:30", "1_000", "12", "1.5", "true"])
def test_a_string_that_yaml_takes_for_something_else_must_be_quoted(word: str) -> None:
    [told] = findings(HEAD + f"  role: {word}\n")
    assert told.startswith("a.yaml:6:3: spec.role: ")
    assert told.endswith("quote it")
    for quoted in (f'"{word}"', f"'{word}'", f"!!str {word}", f"|\n    {word}"):
        assert findings(HEAD + f"  role: {quoted}\n") == []


def test_an_enum_word_that_yaml_takes_for_a_boolean_must_be_quoted() -> None:
    [told] = findings(HEAD + "  role: x\n  model: {provider: a, id: b, thinking: off}\n")
    assert "spec.model.thinking" in told
    assert told.endswith("quote it")


def test_an_octal_number_is_refused_where_a_number_is_wanted() -> None:
    [told] = findings(HEAD + "  role: x\n  queue: {maxPending: 010}\n")
    assert "a.yaml:7:11: spec.queue.maxPending: is ambiguous" in told


def test_an_old_boolean_is_a_boolean_where_one_is_wanted() -> None:
    [doc] = read(HEAD + "  role: x\n  idle: {wakeOnTask: off}\n", "a.yaml")
    assert doc.findings == ()
    assert doc.raw["spec"] == {"profileRef": {"name": "full"}, "role": "x", "idle": {"wakeOnTask": False}}


def test_nulls_are_left_out_and_status_is_not_read() -> None:
    [doc] = read(HEAD + "  role: x\n  mode:\n  limits: {maxTurns: ~}\nstatus: {time: 1:30, count: 012}\n", "a.yaml")
    assert doc.findings == ()
    assert doc.raw["spec"] == {"profileRef": {"name": "full"}, "role": "x", "limits": {}}


# --- places -----------------------------------------------------------------------------------------------------------


def test_places_of_keys_items_and_missing_things() -> None:
    text = "# one\n---\n" + HEAD + "  role: x\n  env:\n  - name: A\n    value: b\n  - {name: B}\n"
    [doc] = read(text, "a.yaml")
    assert doc.line == 3
    assert doc.at(("spec",)) == Mark(6, 1)
    assert doc.at(("spec", "env", 0)) == Mark(10, 5)
    assert doc.at(("spec", "env", 0, "value")) == Mark(11, 5)
    assert doc.at(("spec", "env", 1, "value")) == Mark(12, 5)
    assert doc.at(("spec", "mode")) == Mark(6, 1)
    assert [str(one) for one in doc.findings] == ["a.yaml:12:5: spec.env[1]: must have exactly one of `value`, `valueFrom`; add one"]


def test_places_of_a_good_document_are_found_when_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    load = yamltext.load
    monkeypatch.setattr(yamltext, "load", lambda text: asked.append(text) or load(text))  # type: ignore[func-returns-value]
    [good] = read("# one\n---\n" + HEAD + "  role: x\n  env:\n  - name: A\n    value: b\n", "a.yaml")
    assert (good.line, asked) == (3, [])
    assert (good.at(("spec", "env", 0, "value")), good.at(("spec", "mode"))) == (Mark(11, 5), Mark(6, 1))
    assert asked


def test_text_that_is_refused_late_is_not_read_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = "a: [1,\n" * 3 + "b: }\n"
    slow = yamltext.load(bad)
    monkeypatch.setattr(yamltext, "YAML", None)  # whoever uses it fails
    patience = yamltext.Patience(len(bad) - 1)
    fast = yamltext.load(bad, patience)
    assert (fast.value, fast.whole, patience.left) == (None, False, len(bad) - 1)
    assert [(flaw.mark, flaw.path) for flaw in fast.flaws] == [(flaw.mark, flaw.path) for flaw in slow.flaws]
    assert "is not YAML" in fast.flaws[0].message
    [broken] = yamltext.load("a: \x01\n" * 2, yamltext.Patience(0)).flaws
    assert "remove the character" in broken.message


def test_what_the_slow_parser_reads_is_bounded_for_all_documents_of_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamltext.Patience, "__init__", lambda self: setattr(self, "left", 100))
    slow: list[int] = []
    parser = yamltext.YAML
    monkeypatch.setattr(yamltext, "YAML", lambda **how: slow.append(1) or parser(**how))  # type: ignore[func-returns-value]
    reader = Reader()
    many = "---\n".join(f"a: [{n}\n" for n in range(100, 150))
    assert all("is not YAML" in doc.findings[0].message for doc in reader.read(many, "a.yaml"))
    assert 5 < len(slow) < 15
    reader.sweep()
    reader.read("b: [1\n", "b.yaml")
    assert len(slow) > 5


def test_lines_count_across_documents_and_line_ends() -> None:
    good, bad = HEAD + "  role: x\n", HEAD.replace("name: a", "name: b") + "  rolle: x\n"
    for text in (f"{good}---\n{bad}", f"{good}---\n{bad}".replace("\n", "\r\n"), f"\ufeff{good}---\n{bad}"):
        whole = decode(text.encode())
        assert isinstance(whole, str)
        assert [told.split(": ")[0] for told in findings(whole)] == ["a.yaml:11:1", "a.yaml:13:3"]


@pytest.mark.guarantee("G-42")
def test_a_document_that_cannot_be_parsed_takes_no_other_with_it() -> None:
    docs = read(f"{HEAD}  role: x\n---\na: [1, 2\nb: }}\n--- # next\n{HEAD.replace('name: a', 'name: c')}  role: z\n", "a.yaml")
    assert [(doc.identity, bool(doc.flaws)) for doc in docs] == [
        (("Lieutenant", "", "a"), False),
        (None, True),
        (("Lieutenant", "", "c"), False),
    ]
    [told] = docs[1].findings
    assert told.line in (8, 9)
    assert "is not YAML" in told.message


def test_document_markers_inside_a_block_of_text_are_text() -> None:
    [doc] = read(HEAD + "  role: |\n    a\n    ---\n    b\n", "a.yaml")
    assert doc.findings == ()


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "---\n---\n# x\n...\n", "%YAML 1.2\n---\n"])
def test_texts_without_documents(text: str) -> None:
    assert read(text, "a.yaml") == []


def test_tabs_are_told_and_allowed_where_they_are_text() -> None:
    assert findings(HEAD + "\trole: x\n") == ["a.yaml:6:1: -: a tab in the indentation; YAML wants spaces"]
    assert findings(HEAD + "  role: |\n    \tx\n") == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: &x [*x]\n", "no anchor"),
        ("a: *nobody\n", "no anchor"),
        ("a: !!python/object:os.system x\n", "tag"),
        ("? [a]\n: b\n", "key must be a string"),
        ("1: a\n", "not a string to kubectl"),
        ("yes: a\n", "not a string to kubectl"),
        ("a: {b: 1, b: 2}\n", "duplicate"),
        ("a: [" * (MAX_DEPTH + 2), "deeper"),
        ("<<: 5\n", "map"),
        ("a: \x01\n", "not YAML"),
        ("just text\n", "must be a map"),
        ("- a\n", "must be a map"),
    ],
)
def test_text_that_is_refused(text: str, word: str) -> None:
    assert any(word in told for told in findings(text)), findings(text)


@pytest.mark.guarantee("G-65")
def test_aliases_cannot_blow_up() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert any("values in one document" in told for told in findings("\n".join(levels)))


def test_anchors_and_merges_mean_what_they_mean_to_kubectl() -> None:
    text = HEAD + "  role: x\n  env:\n  - &one {name: A, value: b}\n  - {<<: *one, name: B}\n  - {<<: [{name: C}, *one]}\n"
    [doc] = read(text, "a.yaml")
    assert doc.findings == ()
    assert doc.raw["spec"]["env"] == [{"name": "A", "value": "b"}, {"name": "B", "value": "b"}, {"name": "C", "value": "b"}]  # type: ignore[index,call-overload]


# --- lists, identity, memory ------------------------------------------------------------------------------------------


def test_a_list_is_its_items_with_places_of_their_own() -> None:
    items = "".join(
        f"- apiVersion: fleet.vers.sh/v1alpha1\n  kind: Task\n  metadata: {{name: t{n}}}\n  spec: {{prompt: x}}\n" for n in range(2)
    )
    docs = read(f"apiVersion: v1\nkind: List\nitems:\n{items}", "a.yaml")
    assert [doc.identity for doc in docs] == [("Task", "", "t0"), ("Task", "", "t1")]
    assert [(doc.findings[0].line, doc.findings[0].field) for doc in docs] == [(7, "spec.lieutenantRef"), (11, "spec.lieutenantRef")]


@pytest.mark.parametrize("head", ["apiVersion: v1\nkind: List\n", "kind: List\nitems: []\n", "apiVersion: v1\nkind: List\nitems: {}\n"])
def test_a_broken_list_is_told(head: str) -> None:
    assert len(findings(head)) == 1


def test_a_file_with_too_many_documents_says_so() -> None:
    docs = read("---\na: 1\n" * (MAX_DOCUMENTS + 5), "a.yaml")
    assert len(docs) == MAX_DOCUMENTS + 1
    assert "split it" in docs[-1].findings[0].message


def test_unchanged_documents_are_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    load = plainyaml.load
    monkeypatch.setattr(plainyaml, "load", lambda text: parsed.append(text) or load(text))  # type: ignore[func-returns-value]
    reader = Reader()
    first, second = HEAD + "  role: x\n", HEAD.replace("name: a", "name: b") + "  role: other\n"
    reader.read(f"{first}---\n{second}", "a.yaml")
    reader.sweep()
    assert len(parsed) == 2
    moved = reader.read(f"# a new line above\n---\n{first.replace('role: x', 'role: z')}---\n{second}", "b.yaml")
    assert len(parsed) == 3
    assert [(doc.file, doc.line, doc.findings) for doc in moved] == [("b.yaml", 3, ()), ("b.yaml", 10, ())]


def test_bytes_that_are_no_text() -> None:
    told = decode(b"ok\nab\xff")
    assert isinstance(told, Flaw)
    assert told.mark == Mark(2, 3)
    assert isinstance(decode(b"a" * (8 << 20)), str)
    assert isinstance(decode(b"a" * ((8 << 20) + 1)), Flaw)


# --- JSON -------------------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_reads_what_the_standard_reader_reads(value: JsonValue, indent: int | str | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    found = jsontext.load(text)
    assert found.flaws == []
    assert found.value == json.loads(text)


@given(st.text(alphabet='{}[]",:0123456789truefalsn \\\n\t-.eE', max_size=40))
def test_json_refuses_what_the_standard_reader_refuses(text: str) -> None:
    try:
        expected = json.loads(text, object_pairs_hook=_no_duplicates)
    except ValueError:
        assert jsontext.load(text).flaws
        return
    if isinstance(expected, float) and not math.isfinite(expected):
        return
    assert jsontext.load(text).value == expected or jsontext.load(text).flaws


def _no_duplicates(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("duplicate")
    return dict(pairs)


@given(st.text(alphabet="{}[]\",:'&*!|>-? abc01\n\t#%@`", max_size=60))
def test_no_text_makes_the_yaml_reader_raise(text: str) -> None:
    for _, chunk in yamltext.split(text):
        found = yamltext.load(chunk)
        assert found.flaws or json.dumps(found.value) is not None
    assert all(doc.line >= 1 for doc in read(text, "a.yaml"))


def test_json_says_where() -> None:
    text = (
        '{\n "apiVersion": "fleet.vers.sh/v1alpha1",\n "kind": "Task",\n "metadata": {"name": "a"},\n "spec": {"prompt": 5, "prompt": 6}\n}'
    )
    assert [told.split(": ")[0:2] for told in findings(text, "a.json")] == [
        ["a.json:5:2", "spec.lieutenantRef"],
        ["a.json:5:11", "spec.prompt"],
        ["a.json:5:24", "spec.prompt"],
    ]


@pytest.mark.parametrize(
    ("text", "where", "word"),
    [
        ("{'a': 1}", "1:2", "double quotes"),
        ('{"a": 1,\n}', "2:1", "before"),
        ('{"a" 1}', "1:6", ":"),
        ('{"a": 1', "1:8", "add it"),
        ('["a\n"]', "1:2", "not closed"),
        ("{} {}", "1:4", "List"),
        ('{"a": 01}', "1:7", "value"),
        ('{"a": // c\n1}', "1:7", "comments"),
        ("[" * 100, "1:66", "deeper"),
        ("", "1:1", "too early"),
    ],
)
def test_broken_json(text: str, where: str, word: str) -> None:
    [told] = findings(text, "a.json")
    assert told.startswith(f"a.json:{where}: ")
    assert word in told
