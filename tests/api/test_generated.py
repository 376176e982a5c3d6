"""What is made from the models: structural, bounded, described, committed, the same every time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel
from ruamel.yaml import YAML

from reconciler.api.catalogue import REASONS
from reconciler.api.conditiontypes import ConditionType
from reconciler.api.crd import crd
from reconciler.api.docs import explain, fields, status_fields
from reconciler.api.generate import DEPLOYED, check, generate_crds, generate_deploy, generate_docs, generate_schemas, write
from reconciler.api.meta import Json, JsonValue, Model
from reconciler.api.parsing import plain
from reconciler.api.registry import KINDS, Kind, kind_of
from reconciler.api.schema import for_editors, structural
from reconciler.api.stock import stock_profiles
from reconciler.errors import Terminal, UsageError

ROOT = Path(__file__).resolve().parents[2]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def nodes(node: JsonValue, where: str) -> Iterator[tuple[str, Json]]:
    """Every schema in a schema."""
    assert isinstance(node, dict)
    yield where, node
    properties = node.get("properties", {})
    assert isinstance(properties, dict)
    for name, inner in properties.items():
        yield from nodes(inner, f"{where}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from nodes(node[key], f"{where}[]")


def schema_of(kind: Kind) -> Json:
    spec = crd(kind)["spec"]
    return spec["versions"][0]["schema"]["openAPIV3Schema"]  # type: ignore[index,call-overload,return-value]


MEASURED = {"Lieutenant.status.boot.steps[].seconds"}
"""What is measured, not declared, may be a fraction."""


@kinds
def test_everything_in_a_crd_is_described_and_bounded(kind: Kind) -> None:
    for where, node in nodes(schema_of(kind), kind.name):
        inside = where.endswith("[]")
        # The API server refuses a description of `metadata` itself.
        assert inside or where == f"{kind.name}.metadata" or node.get("description"), f"{where} has no description"
        assert "type" in node, f"{where} has no type"
        match node["type"]:
            case "string":
                assert "maxLength" in node or "enum" in node, f"{where} has no longest length"
            case "integer":
                assert "minimum" in node, f"{where} has no least value"
                assert "maximum" in node or "observedGeneration" in where, f"{where} has no greatest value"
            case "array":
                assert "maxItems" in node, f"{where} may have any number of items"
            case "number":
                assert where in MEASURED, f"{where} is a fraction; money is a string, durations are whole seconds"
                assert {"minimum", "maximum"} <= set(node), f"{where} has no range"
            case "object":
                assert "additionalProperties" not in node or "maxProperties" in node, f"{where} may have any number of entries"


ALLOWED = {
    "type", "description", "properties", "required", "items", "additionalProperties", "enum", "format", "pattern", "minimum", "maximum",
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-validations", "x-kubernetes-preserve-unknown-fields",
}  # fmt: skip


@kinds
def test_a_crd_is_structural(kind: Kind) -> None:
    for where, node in nodes(schema_of(kind), kind.name):
        assert set(node) <= ALLOWED, f"{where} has {set(node) - ALLOWED}"
        assert not ("properties" in node and "additionalProperties" in node), where
        if keys := node.get("x-kubernetes-list-map-keys"):
            items = node["items"]
            assert isinstance(items, dict)
            assert isinstance(keys, list)
            assert set(map(str, keys)) <= set(map(str, items["required"])), f"{where}: keys of a list-map must be required"  # type: ignore[arg-type]
        if enum := node.get("enum"):
            assert isinstance(enum, list)
            assert node["type"] == "string", where


@kinds
def test_no_path_leads_upwards_in_a_crd_either(kind: Kind) -> None:
    for where, node in nodes(schema_of(kind), kind.name):
        if where.endswith((".path", "Dir")):
            judge = Draft202012Validator(node)
            assert [path for path in ("/a/../b", "/..", "/a//b", "", "/a/") if judge.is_valid(path)] == [], where


@kinds
def test_durations_say_their_unit_and_enums_are_words(kind: Kind) -> None:
    for field in fields(kind):
        name = field.path.removesuffix("[]").rpartition(".")[2]
        assert name[0].islower(), field.path
        assert not name.lower().endswith(("timeout", "period", "deadline", "seconds")) or name.endswith("Seconds"), field.path


@kinds
def test_columns_and_names(kind: Kind) -> None:
    spec = crd(kind)["spec"]
    assert isinstance(spec, dict)
    version = spec["versions"][0]  # type: ignore[index,call-overload]
    assert {"Ready", "Reason", "Age"} <= {column["name"] for column in version["additionalPrinterColumns"]}  # type: ignore[index,call-overload,union-attr]
    assert version["subresources"] == {"status": {}}  # type: ignore[index,call-overload]
    assert spec["names"]["categories"] == ["fleet"]  # type: ignore[index,call-overload]
    for word in (kind.name, kind.singular, kind.plural, kind.short, kind.plural.upper()):
        assert kind_of(word) is kind


def test_words_that_mean_no_kind() -> None:
    assert [kind_of(word) for word in ("", "all", "vm", "pods", "l")] == [None] * 5


@kinds
def test_rules_reach_the_cluster(kind: Kind) -> None:
    """Every rule with CEL of every model that is used stands in the CRD, where `self` is what it was written for."""
    told = {
        str(rule["rule"])
        for _, node in nodes(schema_of(kind), kind.name)
        for rule in node.get("x-kubernetes-validations", [])  # type: ignore[union-attr]
        if isinstance(rule, dict)
    }
    assert {rule.cel for rule in (*kind.model.rules, *kind.spec.rules) if rule.cel} | {one.cel for one in kind.spec.transitions} <= told
    for cel in told:
        assert cel.count("(") == cel.count(")"), cel
        assert "self" in cel


def test_what_is_committed_is_what_the_models_say() -> None:
    assert check(ROOT) == []


def test_generation_is_pure_and_check_tells_every_difference(tmp_path: Path) -> None:
    crds = generate_crds()
    made = len(crds) + len(generate_schemas()) + len(generate_docs()) + len(DEPLOYED) * len(generate_deploy(crds))
    assert len(write(tmp_path)) == made
    assert write(tmp_path) == []
    assert check(tmp_path) == []
    (tmp_path / "crds" / "tasks.yaml").write_text("old")
    (tmp_path / "docs" / "api.md").unlink()
    (tmp_path / "crds" / "gone.yaml").write_text("of a kind that is no more")
    told = check(tmp_path)
    assert [line.partition(" ")[0] for line in told] == ["crds/tasks.yaml", "docs/api.md", "crds/gone.yaml"]
    assert all(";" in line for line in told)


def test_crd_yaml_reads_back_as_it_was_meant() -> None:
    crds = generate_crds()
    for kind in KINDS:
        assert YAML(typ="safe", pure=True).load(io.StringIO(crds[f"{kind.plural}.yaml"])) == crd(kind)


@kinds
def test_editor_schemas_are_schemas_and_closed(kind: Kind) -> None:
    schema = for_editors(kind)
    Draft202012Validator.check_schema(schema)
    assert not Draft202012Validator(schema).is_valid(
        {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": kind.name, "metadata": {"name": "a"}, "spec": {}, "x": 1}
    )
    for where, node in nodes(schema, kind.name):
        if "properties" in node and not where.endswith(".status"):
            assert node.get("additionalProperties") is False, where


class Looped(Model):
    """Holds itself."""

    inner: Looped | None = None
    """Itself."""


class Mixed(Model):
    """Is two things."""

    either: int | str
    """Either."""


class Keyed(Model):
    """Knows its keys only by pattern."""

    pair: tuple[int, str]
    """A pair."""


@pytest.mark.parametrize("model", [Looped, Mixed, Keyed])
def test_what_a_crd_cannot_say_is_refused_when_it_is_made(model: type[BaseModel]) -> None:
    with pytest.raises(Terminal):
        structural(model)


# --- documentation -------------------------------------------------------------------------------------------------------------------


def test_explain_knows_every_field() -> None:
    for kind in KINDS:
        assert kind.name in explain(kind.short)
        # Each call reads the schema anew: of the large kinds the top level is enough.
        for field in fields(kind):
            if kind.name == "Task" or field.path.count(".") == 1:
                assert field.description in explain(f"{kind.singular}.{field.path}")
        assert "conditions" in explain(f"{kind.short}.status")
    assert "Its full id." in explain("lt.status.vm")
    assert explain("task.acceptance.file.path") == explain("ltask.spec.acceptance[].file.path")


@pytest.mark.parametrize(
    ("words", "told"),
    [("pod", "lieutenant"), ("lt.spec.rol", "role"), ("lt.modes", "mode"), ("lt.status.vn", "vm"), ("lt.spec.limits.x", "maxTurns")],
)
def test_explain_says_what_there_is(words: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        explain(words)


def test_the_page_names_every_field_reason_and_condition() -> None:
    page = generate_docs()["api.md"]
    for kind in KINDS:
        for field in (*fields(kind), *status_fields(kind)):
            assert f"`{field.path}`" in page
    for word in (*REASONS, *ConditionType):
        assert f"| `{word}` |" in page


def test_every_reason_says_what_it_means_and_what_to_do() -> None:
    for reason in REASONS.values():
        assert reason.meaning.endswith(".") and reason.remedy.endswith((".", "…")), reason  # noqa: PT018
        assert reason.isalnum() and reason[0].isupper(), reason  # noqa: PT018
    for condition in ConditionType:
        assert condition.meaning.endswith("."), condition


# --- stock profiles -------------------------------------------------------------------------------------------------------------------


def test_stock_profiles_are_those_of_the_bootloader() -> None:
    stock = stock_profiles()
    assert {name: (profile.spec.organs, profile.spec.capabilities) for name, profile in stock.items()} == {
        "full": (
            ("store", "cron", "lieutenant", "registry", "vm-tree", "vers-config", "docs", "installer"),
            ("vers-vm", "vers-vm-copy", "vers-swarm", "ssh"),
        ),
        "swarm": (("store", "cron"), ("vers-vm", "vers-vm-copy", "vers-swarm")),
        "lightweight": (("store",), ()),
        "infra": (("store", "cron", "docs"), ()),
    }
    for profile in stock.values():
        assert profile.spec.source is not None
        assert profile.spec.source.image == "default"
        env = {one.name: one.value for one in profile.spec.env}
        assert {"GIT_EDITOR": "true", "PAGER": "cat", "DEBIAN_FRONTEND": "noninteractive", "CI": "1"}.items() <= env.items()


@pytest.mark.guarantee("G-47")
def test_reading_a_stock_profile_changes_nothing_in_it() -> None:
    first = {name: plain(profile) for name, profile in stock_profiles().items()}
    assert first == {name: plain(profile) for name, profile in stock_profiles().items()}
