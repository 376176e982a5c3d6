"""Every field of every kind: known, bounded, described, judged; unknown ones refused."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from reconciler.api.docs import fields
from reconciler.api.meta import Json, JsonValue
from reconciler.api.parsing import load_spec, parse, plain
from reconciler.api.registry import BY_NAME, KINDS
from reconciler.api.resources import Resource
from reconciler.api.schema import for_editors, structural
from reconciler.errors import InvalidSpec
from tests.api.samples import ON_A_HOST, SAMPLES, Path, document, paths, replaced, shape

EVERY = {kind: [*specs, *ON_A_HOST.get(kind, ())] for kind, specs in SAMPLES.items()}
CASES = [(kind, spec) for kind, specs in EVERY.items() for spec in specs]


def problems(kind: str, spec: JsonValue) -> list[str]:
    outcome = parse(document(kind, spec))
    return [str(problem) for problem in outcome] if isinstance(outcome, list) else []


def node_at(schema: Json, path: Path) -> Json:
    here: JsonValue = schema
    for step in path:
        assert isinstance(here, dict)
        here = here["items"] if isinstance(step, int) else here["properties"][step]  # type: ignore[index,call-overload]
    assert isinstance(here, dict)
    return here


@pytest.mark.parametrize(("kind", "spec"), CASES)
def test_samples_are_accepted_by_models_and_schemas(kind: str, spec: Json) -> None:
    assert problems(kind, spec) == []
    Draft202012Validator(structural(BY_NAME[kind].spec)).validate(spec)
    Draft202012Validator(for_editors(BY_NAME[kind])).validate(document(kind, spec))


@pytest.mark.guarantee("G-44")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_samples_set_every_field(kind: object) -> None:
    assert isinstance(kind, type(KINDS[0]))
    known = {field.path.removesuffix("[]").removeprefix("spec.") for field in fields(kind)}
    used = {shape(path).removesuffix("[]") for spec in EVERY[kind.name] for path, _ in paths(spec)}
    # In a list of scalars the items are places too, but no fields.
    assert known - used == set()


@pytest.mark.guarantee("G-44")
@pytest.mark.parametrize(("kind", "spec"), CASES)
def test_what_is_set_is_read_back_whole(kind: str, spec: Json) -> None:
    outcome = parse(document(kind, spec))
    assert not isinstance(outcome, list)
    assert plain(outcome)["spec"] == spec


@pytest.mark.guarantee("G-44")
@pytest.mark.parametrize(("kind", "spec"), CASES)
def test_an_unknown_field_is_refused_wherever_it_stands(kind: str, spec: Json) -> None:
    for path, value in [((), spec), *paths(spec)]:
        if isinstance(value, dict):
            told = parse(document(kind, replaced(spec, (*path, "surprise"), 1) if path else {**spec, "surprise": 1}))
            assert isinstance(told, list), f"{kind} took a surprise at {path}"
            assert any(problem.path == ("spec", *path, "surprise") and "unknown field" in problem.message for problem in told), (path, told)


def spoilt(node: Json, value: JsonValue) -> list[JsonValue]:
    """Values that a field of this schema must not take."""
    bad: list[JsonValue] = []
    match node.get("type"):
        case "string":
            bad += [1, 1.5, True, {}, []]
            if isinstance(longest := node.get("maxLength"), int):
                bad.append("a" * (longest + 1))
            if "enum" in node:
                bad += ["surprise", "running"]
            if node.get("pattern"):
                # Neither printable nor a word; prose alone may hold it beside something else.
                bad.append("\n" if node["pattern"] == r"\S" else "\x00\n")
        case "integer":
            bad += ["1", "4GB", 1.0, 1.5, True, {}, []]
            for bound, step in (("minimum", -1), ("maximum", 1)):
                if isinstance(limit := node.get(bound), int):
                    bad.append(limit + step)
        case "boolean":
            bad += ["true", "yes", 1, 0, {}, []]
        case "array":
            bad += ["a", {}, 1]
            if isinstance(most := node.get("maxItems"), int):
                item = value[0] if isinstance(value, list) and value else "a"
                bad.append([item] * (most + 1))
            if isinstance(value, list) and value and node.get("x-kubernetes-list-type") in ("map", "set"):
                bad.append([value[0], value[0]])
        case "object":
            bad += ["a", [], 1, True]
    return bad


@pytest.mark.guarantee("G-42")
@pytest.mark.parametrize(("kind", "spec"), CASES)
def test_a_spoilt_value_is_refused_where_it_stands(kind: str, spec: Json) -> None:
    schema = structural(BY_NAME[kind].spec)
    checked = 0
    for path, value in paths(spec):
        for bad in spoilt(node_at(schema, path), value):
            told = parse(document(kind, replaced(spec, path, bad)))
            assert isinstance(told, list), f"{kind}.{shape(path)} took {str(bad)[:60]!r}"
            assert any(problem.path[: len(path) + 1] == ("spec", *path) for problem in told), (path, bad, told)
            assert all(problem.message for problem in told)
            checked += 1
    assert checked >= len(list(paths(spec)))


@pytest.mark.parametrize(("kind", "spec"), CASES)
def test_bounds_themselves_are_accepted(kind: str, spec: Json) -> None:
    schema = structural(BY_NAME[kind].spec)
    for path, _ in paths(spec):
        node = node_at(schema, path)
        for bound in ("minimum", "maximum"):
            if isinstance(limit := node.get(bound), int):
                assert problems(kind, replaced(spec, path, limit)) == [], (path, limit)
        if isinstance(choices := node.get("enum"), list):
            told = [text for choice in choices for text in problems(kind, replaced(spec, path, choice)) if "must be one of" in text]
            assert told == []


@pytest.mark.parametrize(("kind", "spec"), CASES)
def test_required_fields_are_missed_where_they_should_stand(kind: str, spec: Json) -> None:
    schema = structural(BY_NAME[kind].spec)
    for path, value in [((), spec), *paths(spec)]:
        node = node_at(schema, path)
        required = node.get("required", [])
        assert isinstance(required, list)
        for name in required:
            assert isinstance(value, dict)
            less = {key: inner for key, inner in value.items() if key != name}
            told = parse(document(kind, replaced(spec, path, less) if path else less))
            assert isinstance(told, list)
            assert any(problem.path == ("spec", *path, name) and problem.message.startswith("required") for problem in told), (
                path,
                name,
                told,
            )


def test_null_counts_as_left_out() -> None:
    outcome = parse(document("Lieutenant", {"role": "x", "profileRef": {"name": "full"}, "mode": None, "limits": {"maxTurns": None}}))
    assert not isinstance(outcome, list)
    assert plain(outcome)["spec"] == {"role": "x", "profileRef": {"name": "full"}, "limits": {}}
    assert problems("Lieutenant", {"role": None, "profileRef": {"name": "full"}})[0].startswith("spec.role: required")


def test_unset_is_not_the_default() -> None:
    unset = load_spec("Lieutenant", {"role": "x", "profileRef": {"name": "full"}})
    written = load_spec("Lieutenant", {"role": "x", "profileRef": {"name": "full"}, "mode": "Running", "queue": {"maxPending": 50}})
    assert unset == written
    assert unset.model_fields_set == {"role", "profile_ref"}
    assert written.model_fields_set == {"role", "profile_ref", "mode", "queue"}


def test_a_tolerant_reading_ignores_what_a_later_version_added() -> None:
    spec: Json = {"role": "x", "profileRef": {"name": "full", "later": 1}, "later": {"a": 1}}
    assert load_spec("Lieutenant", spec, tolerant=True) == load_spec("Lieutenant", {"role": "x", "profileRef": {"name": "full"}})
    with pytest.raises(InvalidSpec, match=r"spec\.later: unknown field"):
        load_spec("Lieutenant", spec)
    with pytest.raises(InvalidSpec, match="Lieutenent"):
        load_spec("Lieutenent", spec)


def test_values_are_not_repeated_in_messages() -> None:
    secret = "s3cr3t-in-the-wrong-place"
    spec: Json = {"role": "x", "profileRef": {"name": secret * 9}, "env": [{"name": "A", "value": {"v": secret}}], "budget": secret}
    told = problems("Lieutenant", spec)
    assert len(told) == 3
    assert secret not in "".join(told)


@pytest.mark.parametrize("doc", [None, "text", [], 5, {"apiVersion": "fleet.vers.sh/v1alpha1"}, {"apiVersion": 1, "kind": 2}, {}])
def test_anything_else_is_told_too(doc: object) -> None:
    outcome = parse(doc)
    assert isinstance(outcome, list)
    assert all(";" in problem.message or "must be a map" in problem.message for problem in outcome)


def test_documents_are_immutable() -> None:
    outcome: Resource | list[object] = parse(document("Lieutenant", SAMPLES["Lieutenant"][0]))  # type: ignore[assignment]
    assert not isinstance(outcome, list)
    with pytest.raises(ValueError, match="frozen"):
        outcome.spec.mode = None  # type: ignore[assignment,union-attr]
