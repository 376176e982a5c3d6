"""A real API server's verdict on our kinds: it takes the CRDs, and takes and refuses the same documents as the Python check."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.meta import GROUP, VERSION, Json, JsonValue
from reconciler.api.parsing import load_spec, parse, validate_update
from reconciler.api.registry import BY_NAME, KINDS
from reconciler.api.schema import structural
from reconciler.sources.documents.reader import read
from reconciler.sources.kube import kinds
from tests.api.samples import ON_A_HOST, SAMPLES, TASK, TREE, document, paths, replaced
from tests.api.test_fields import node_at, spoilt
from tests.api.test_rules import ACCEPTED, CHANGES, LT, REFUSED
from tests.kube.assets import ROOT
from tests.kube.controlplane import ControlPlane, Namespace

pytestmark = [pytest.mark.real("kube")]

MANIFESTS = ROOT / "tests" / "manifests"
VALID = [
    *sorted((MANIFESTS / "valid").iterdir()),
    *sorted(path for path in (ROOT / "examples").rglob("*.yaml") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)),
    *sorted((ROOT / "specs" / "profiles").glob("*.yaml")),
]
INVALID = sorted((MANIFESTS / "invalid").iterdir())

LATER = {"five fields": "cron's grammar is no regular expression", "cycle: a -> b -> c -> a": "CEL can't walk"}
"""What only the controller judges, by what it says: the cluster accepts it, the object is then `Stalled`."""

KUBECTL_S_OWN = {"unknown-kind.yaml": "Lieutenent", "unknown-version.yaml": "fleet.vers.sh/v2"}
"""What kubectl refuses before it knows whose it is, by the word that its message must have."""


def review(cluster: Namespace, kind: str, doc: Json, *, name: str = "") -> tuple[int, str]:
    """The server's verdict on a document that is not kept: HTTP status and message. `name`: an update of that object."""
    base = f"/apis/{GROUP}/{VERSION}/namespaces/{cluster.name}/{BY_NAME[kind].plural}"
    query = "?dryRun=All&fieldValidation=Strict"
    status, told = cluster.plane.request("PUT" if name else "POST", f"{base}/{name}{query}" if name else base + query, doc)
    assert status in (200, 201, 400, 409, 422), told
    return status, "" if status < 300 else str(told["message"])


def server_takes(cluster: Namespace, kind: str, doc: Json, *, name: str = "") -> bool:
    status, message = review(cluster, kind, doc, name=name)
    assert status != 409, message
    return status < 300


# --- installation -------------------------------------------------------------------------------------------------------------


def test_the_server_takes_the_crds_without_a_word_of_warning(private_plane: ControlPlane) -> None:
    """Structural, names free, every CEL rule compiled and within its cost budget."""
    # As a user does it: client-side apply keeps a copy in an annotation, which may have 256 KiB.
    for word in ("created", "unchanged"):
        done = private_plane.try_kubectl("apply", "-f", str(ROOT / "crds"))
        assert (done.returncode, done.stderr, done.stdout.count(word)) == (0, "", len(KINDS)), done.stdout
    private_plane.install_crds()
    for kind in KINDS:
        found = json.loads(private_plane.kubectl("get", "crd", f"{kind.plural}.{GROUP}", "-o", "json"))
        truths = {one["type"]: one["status"] for one in found["status"]["conditions"]}
        assert truths == {"NamesAccepted": "True", "Established": "True"}, truths
        assert found["status"]["acceptedNames"]["categories"] == ["fleet"]


def test_the_server_serves_the_kinds_as_they_were_generated(control_plane: ControlPlane) -> None:
    """To the last field: kubectl reads YAML 1.1, to which an unquoted `off` is no string. The other way round, what is changed is named."""
    status, told = control_plane.request("GET", kinds.OPENAPI, identity=control_plane.operator)
    assert status == 200
    assert kinds.differences(told) == []
    spec = told["components"]["schemas"]["sh.vers.fleet.v1alpha1.Lieutenant"]["properties"]["spec"]["properties"]
    del spec["role"]
    spec["more"] = {"type": "string"}
    spec["model"]["properties"]["thinking"]["enum"][0] = False
    spec["env"]["items"]["properties"]["name"]["maxLength"] = 7
    assert sorted(kinds.differences(told)) == ["Lieutenant.env.name", "Lieutenant.model.thinking", "Lieutenant.more", "Lieutenant.role"]
    assert len(kinds.differences({})) >= len(KINDS)


def test_kubectl_explains_every_kind_in_our_words(control_plane: ControlPlane) -> None:
    assert "Default: Running." in control_plane.kubectl("explain", "lt.spec.mode")
    for kind in KINDS:
        assert (kind.spec.__doc__ or "").strip() in control_plane.kubectl("explain", f"{kind.singular}.spec")


# --- whole documents ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.name)
def test_valid_ones_are_taken_and_nothing_is_added_or_dropped(cluster: Namespace, file: Path) -> None:
    docs = read(file.read_text("utf-8"), file.name)
    for name in {doc.raw["metadata"].get("namespace") for doc in docs} - {None}:  # type: ignore[union-attr,attr-defined]
        cluster.plane.namespace(str(name))
    done = cluster.try_kubectl("apply", "-f", str(file))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    for doc in docs:
        metadata, spec = doc.raw["metadata"], doc.raw["spec"]
        assert isinstance(metadata, dict)
        assert isinstance(spec, dict)
        kind = str(doc.raw["kind"])
        where = Namespace(cluster.plane, str(metadata.get("namespace") or cluster.name))
        kept = where.get(kind, str(metadata["name"]))
        assert kept["spec"] == spec
        assert load_spec(kind, kept["spec"]) == load_spec(kind, spec)
        assert not isinstance(parse(kept), list)


@pytest.mark.guarantee("G-42")
@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.name)
def test_invalid_ones_are_judged_as_their_second_line_says(cluster: Namespace, file: Path) -> None:
    """And who is refused is told the field, in words that say what would be right."""
    text = file.read_text("utf-8")
    _, _, field, word = text.split("\n", 1)[0].removeprefix("# ").split(" ", 3)
    stated = re.search(r"^# cluster: (\w+)$", text, re.MULTILINE)
    done = cluster.try_kubectl("apply", "-f", str(file))
    if stated is None:  # not even YAML: kubectl says so before anybody is asked
        assert done.returncode != 0
        assert word in done.stderr, done.stderr
    elif stated[1] == "refused":
        assert done.returncode != 0, f"{file.name} was accepted"
        assert KUBECTL_S_OWN.get(file.name, field.rpartition(".")[2]) in done.stderr, done.stderr
    else:
        assert (done.returncode, stated[1] in ("accepted", "later")) == (0, True), done.stderr


def test_a_path_upwards_is_refused_in_words(cluster: Namespace) -> None:
    """The pattern alone would be two hundred characters for a person to read."""
    lieutenant = document("Lieutenant", {**LT, "instructions": {"files": [{"path": "../../etc/passwd", "content": "x"}]}})
    status, message = review(cluster, "Lieutenant", lieutenant)
    assert (status, "must not have '..' in it; name the place itself" in message) == (422, True), message
    for path in ("a..b/..c", "/a/./b.."):
        lieutenant = document("Lieutenant", {**LT, "instructions": {"files": [{"path": path, "content": "x"}]}})
        assert review(cluster, "Lieutenant", lieutenant) == (201, "")


# --- every field and rule -----------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-44")
@pytest.mark.parametrize(("kind", "spec"), [(kind, spec) for kind, specs in SAMPLES.items() for spec in specs])
def test_specs_that_set_every_field_are_taken_whole(cluster: Namespace, kind: str, spec: Json) -> None:
    made = cluster.plane.request("POST", f"/apis/{GROUP}/{VERSION}/namespaces/{cluster.name}/{BY_NAME[kind].plural}", document(kind, spec))
    assert (made[0], made[1]["spec"]) == (201, spec)


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize(("kind", "spec"), [(kind, spec) for kind, specs in ON_A_HOST.items() for spec in specs])
def test_a_cluster_runs_no_program_and_reads_no_file_for_whoever_may_declare_something(cluster: Namespace, kind: str, spec: Json) -> None:
    assert not isinstance(parse(document(kind, spec)), list), "a file may say it"
    status, message = review(cluster, kind, document(kind, spec))
    assert status == 422
    for path, value in paths(spec):
        if isinstance(value, dict) and value.keys() in ({"exec"}, {"file"}):
            where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
            assert f"spec{where}: Invalid value" in message
    assert "in a cluster only `secretKeyRef`" in message


@pytest.mark.parametrize(("kind", "spec"), ACCEPTED)
def test_what_the_python_check_accepts_the_server_accepts(cluster: Namespace, kind: str, spec: Json) -> None:
    assert review(cluster, kind, document(kind, spec)) == (201, "")


@pytest.mark.parametrize(("kind", "spec", "field", "word"), REFUSED)
def test_what_the_python_check_refuses_the_server_refuses(cluster: Namespace, kind: str, spec: Json, field: str, word: str) -> None:
    status, message = review(cluster, kind, document(kind, spec))
    if word in LATER:
        assert (status, message) == (201, "")
        return
    assert status == 422, f"{field}: accepted, and the Python check says {word}"
    # A rule over a whole list can't point at one of its items.
    assert re.sub(r"\[\d\]\.(name|parent)$", "", field) in message, message


@pytest.mark.guarantee("G-42")
@pytest.mark.parametrize(("kind", "spec"), [(kind, spec) for kind, specs in SAMPLES.items() for spec in specs])
def test_a_spoilt_value_is_refused_by_both_or_by_neither(cluster: Namespace, kind: str, spec: Json) -> None:
    """Every field, with each value that its schema forbids."""
    schema, differ, checked = structural(BY_NAME[kind].spec), [], 0
    for path, value in paths(spec):
        for bad in spoilt(node_at(schema, path), value):
            doc = document(kind, replaced(spec, path, bad))
            ours = not isinstance(parse(doc), list)
            if isinstance(bad, float) and bad.is_integer():
                continue  # JSON has one kind of number: the server keeps 1.0 as 1, a file is asked to say 1
            if ours is not server_takes(cluster, kind, doc):
                differ.append((path, str(bad)[:40], "we accept" if ours else "the server accepts"))
            checked += 1
    assert checked >= len(list(paths(spec))) - 1
    assert differ == []


def test_a_whole_number_with_a_point_is_kept_without_it(cluster: Namespace) -> None:
    cluster.apply(json.dumps(document("Lieutenant", {**LT, "queue": {"maxPending": 7.0}}, "pointed")))
    assert cluster.kubectl("get", "lt", "pointed", "-o", "jsonpath={.spec.queue.maxPending}") == "7"


@pytest.mark.parametrize(("kind", "spec"), [(kind, specs[0]) for kind, specs in SAMPLES.items()])
def test_an_unknown_field_is_refused_by_name_wherever_it_stands(cluster: Namespace, kind: str, spec: Json) -> None:
    for path, value in [((), spec), *paths(spec)]:
        if isinstance(value, dict):
            doc = document(kind, replaced(spec, (*path, "surprise"), 1) if path else {**spec, "surprise": 1})
            status, message = review(cluster, kind, doc)
            assert (status, "surprise" in message) == (400, True), (path, message)


@pytest.mark.parametrize("name", ["My_Agent", "-a", "a-", "a.b", "a" * 53])
def test_names_are_those_that_files_may_have(cluster: Namespace, name: str) -> None:
    assert isinstance(parse(document("Lieutenant", LT, name)), list)
    status, message = review(cluster, "Lieutenant", document("Lieutenant", LT, name))
    assert (status, "metadata.name" in message) == (422, True), message


def test_the_largest_tree_is_judged(cluster: Namespace) -> None:
    """500 nodes with long names, each parent the last that is looked at: within the cost that the server allows at run time too."""
    node: Json = {"category": "Agent", "profileRef": {"name": "swarm"}}
    names = [f"{'a' * 44}{index:04}" for index in range(500)]
    nodes: list[JsonValue] = [{**node, "name": name, "parent": names[-1]} for name in names[:-1]]
    doc = document("VMTree", {"nodes": [*nodes, {**node, "name": names[-1]}]})
    assert not isinstance(parse(doc), list)
    assert review(cluster, "VMTree", doc) == (201, "")
    status, message = review(cluster, "VMTree", document("VMTree", {"nodes": nodes}))
    assert (status, "spec.nodes" in message, "must be the name of a node" in message) == (422, True, True), message


# --- updates ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "old", "path", "value", "field"), CHANGES)
def test_what_may_not_change_does_not(
    cluster: Namespace, kind: str, old: Json, path: tuple[str | int, ...], value: JsonValue, field: str
) -> None:
    new = replaced(old, path, value)
    if kind == "Task" and path == ("delivery",):
        new = {key: inner for key, inner in new.items() if key != "target"}  # type: ignore[union-attr]
    assert isinstance(new, dict)
    status, message = change(cluster, kind, old, new)
    assert (status, f"{field}: Invalid value" in message, "immutable" in message) == (422, True, True), message


def change(cluster: Namespace, kind: str, old: Json, new: Json) -> tuple[int, str]:
    """The verdict on an update of an object that has the spec `old`."""
    url = f"/apis/{GROUP}/{VERSION}/namespaces/{cluster.name}/{BY_NAME[kind].plural}"
    status, made = cluster.plane.request("POST", url, document(kind, old, "kept"))
    assert status in (201, 409), made
    _, kept = cluster.plane.request("GET", f"{url}/kept")
    assert kept["spec"] == old
    doc: Json = {**document(kind, new, "kept"), "metadata": {"name": "kept", "resourceVersion": kept["metadata"]["resourceVersion"]}}
    return review(cluster, kind, doc, name="kept")


MAY: list[tuple[str, Json, Json]] = [
    ("Lieutenant", LT, {**LT, "placement": {"type": "VM"}}),
    ("Lieutenant", LT, {**LT, "placement": {"outageFallback": "Local"}}),
    ("Lieutenant", LT, {**LT, "role": "another", "mode": "Suspended"}),
    ("VMTree", TREE, replaced(TREE, ("nodes", 1, "replicas"), 5)),  # type: ignore[list-item]
    ("VMTree", TREE, {**TREE, "nodes": TREE["nodes"][::-1]}),  # type: ignore[index,call-overload]
    ("Task", TASK, {**TASK, "cancel": False}),
    ("Task", TASK, {**TASK, "approvals": []}),
]


@pytest.mark.parametrize(("kind", "old", "new"), MAY)
def test_what_may_change_does(cluster: Namespace, kind: str, old: Json, new: Json) -> None:
    assert validate_update(kind, old, new) == []
    assert change(cluster, kind, old, new) == (200, "")


def test_every_field_of_a_task_but_three_is_immutable(cluster: Namespace) -> None:
    accepted: list[Any] = []
    for name in TASK:
        less = {key: value for key, value in TASK.items() if key != name and not (name == "delivery" and key == "target")}
        ours = not isinstance(parse(document("Task", less)), list) and validate_update("Task", TASK, less) == []
        status, message = change(cluster, "Task", TASK, less)
        assert (status == 200) is ours, (name, message)
        accepted += [name] if status == 200 else []
    assert accepted == ["budget", "cancel", "approvals"]
