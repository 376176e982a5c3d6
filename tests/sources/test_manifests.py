"""The example manifests: accepted and refused as they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from reconciler.api.meta import Json, JsonValue
from reconciler.api.parsing import load_spec
from reconciler.api.registry import BY_NAME
from reconciler.api.schema import for_editors, structural
from reconciler.sources.documents.reader import read
from reconciler.sources.files.scan import scan

MANIFESTS = Path(__file__).resolve().parents[1] / "manifests"
ROOT = MANIFESTS.parents[1]
VALID, INVALID = sorted((MANIFESTS / "valid").iterdir()), sorted((MANIFESTS / "invalid").iterdir())
SHIPPED = sorted(path for path in (ROOT / "examples").rglob("*.yaml") if "/." not in str(path)) + sorted(
    (ROOT / "specs" / "profiles").glob("*.yaml")
)


def reordered(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: reordered(inner) for key, inner in reversed(value.items())}
    return [reordered(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("file", [*VALID, *SHIPPED], ids=lambda file: file.name)
def test_valid_ones_are_accepted_by_models_and_schemas(file: Path) -> None:
    docs = read(file.read_text("utf-8"), file.name)
    assert docs
    for doc in docs:
        assert doc.findings == ()
        kind = BY_NAME[str(doc.raw["kind"])]
        Draft202012Validator(for_editors(kind)).validate(doc.raw)
        Draft202012Validator(structural(kind.spec)).validate(doc.raw["spec"])


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.name)
def test_valid_ones_mean_the_same_reordered_and_as_json(file: Path) -> None:
    docs = read(file.read_text("utf-8"), file.name)
    listed: Json = {"apiVersion": "v1", "kind": "List", "items": [reordered(doc.raw) for doc in docs]}
    for name in ("other.json", "other.yaml"):  # JSON is YAML too
        again = read(json.dumps(listed, indent=1), name)
        assert [one.raw for one in again] == [doc.raw for doc in docs]
        assert [one.findings for one in again] == [()] * len(docs)
    for doc in docs:
        kind, spec = str(doc.raw["kind"]), doc.raw["spec"]
        assert isinstance(spec, dict)
        other = reordered(spec)
        assert isinstance(other, dict)
        assert load_spec(kind, spec) == load_spec(kind, other)


@pytest.mark.guarantee("G-42")
@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.name)
def test_invalid_ones_are_refused_as_their_first_line_says(file: Path) -> None:
    text = file.read_text("utf-8")
    head, line, field, word = text.split("\n", 1)[0].removeprefix("# ").split(" ", 3)
    assert head == "expect:"
    found = [one for doc in read(text, file.name) for one in doc.findings]
    hits = [one for one in found if one.line == int(line) and field in ("-", one.field) and word in one.message]
    assert hits, [str(one) for one in found]
    for one in found:
        place, _, rest = str(one).partition(": ")
        assert place == f"{file.name}:{one.line}:{one.column}"
        assert rest.partition(": ")[0] == (one.field or "-")
        assert ";" in rest, "what; remedy"


@pytest.mark.guarantee("G-42")
def test_invalid_ones_do_not_hold_up_valid_ones() -> None:
    look = scan([MANIFESTS])
    assert {path.name for path in look.broken} == {file.name for file in INVALID}
    assert {Path(one.file).name for one in look.objects} == {file.name for file in VALID}
    assert not look.clean


# `# cluster: refused`: the schema refuses by itself. These are CEL's to refuse, or the API server's own business.
BY_RULE = {"local-with-adopt.yaml", "tree-branch-root.yaml", "tree-ghost-parent.yaml", "tree-self-parent.yaml", "two-sources.yaml"}
BY_SERVER = {"bad-name.yaml", "tree-twin-nodes.yaml", "typo-field.yaml", "unknown-kind.yaml", "unknown-version.yaml"}


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.name)
def test_the_cluster_refuses_what_it_should_and_lets_later_ones_pass(file: Path) -> None:
    text = file.read_text("utf-8")
    [doc] = read(text, file.name)
    if file.name in BY_SERVER or not doc.raw:
        return
    schema = structural(BY_NAME[str(doc.raw["kind"])].spec)
    accepted = Draft202012Validator(schema).is_valid(doc.raw["spec"])
    refused = "# cluster: refused" in text and file.name not in BY_RULE
    assert accepted is not refused
