"""Rules across fields: one accepted and one refused document each, and what an update may not change."""

from __future__ import annotations

import pytest

from reconciler.api.bootprofile import Source
from reconciler.api.cron import expand
from reconciler.api.meta import Json, JsonValue, Model
from reconciler.api.parsing import load_spec, parse, validate_update
from reconciler.api.task import Acceptance
from reconciler.api.vmtree import cycle
from reconciler.errors import InvalidSpec
from tests.api.samples import ADOPTING, FORKING, LIEUTENANT, LOCAL, PROGRAM, SECRET, TASK, TREE, UUID, document, replaced

LT: Json = {"role": "x", "profileRef": {"name": "full"}}
T: Json = {"lieutenantRef": {"name": "api"}, "prompt": "Do it."}
P: Json = {"source": {"image": "default"}}


def names_of(choice: type[Model]) -> str:
    """All fields of a model of which exactly one is given, as messages have them: one that is added is in its rule, too."""
    return ", ".join(f"`{field.alias or name}`" for name, field in choice.model_fields.items())


def tree(*nodes: Json) -> Json:
    return {"nodes": [{"category": "Agent", "profileRef": {"name": "swarm"}, **node} for node in nodes]}


REFUSED: list[tuple[str, Json, str, str]] = [
    ("Lieutenant", {**ADOPTING, "fork": {"from": {"name": "b"}}}, "spec", "at most one of `adopt`, `fork`"),
    ("Lieutenant", {**ADOPTING, "placement": {"type": "Local"}}, "spec.adopt", "Local"),
    ("Lieutenant", {**FORKING, "placement": {"type": "Local"}}, "spec.fork", "Local"),
    ("Lieutenant", {**LT, "env": [{"name": "A"}]}, "spec.env[0]", "exactly one of `value`, `valueFrom`"),
    ("Lieutenant", {**LT, "env": [{"name": "A", "value": "", "valueFrom": SECRET}]}, "spec.env[0]", "keep one"),
    (
        "Lieutenant",
        {**LT, "env": [{"name": "A", "valueFrom": {}}]},
        "spec.env[0].valueFrom",
        "exactly one of `secretKeyRef`, `exec`, `file`",
    ),
    ("Lieutenant", {**LT, "env": [{"name": "A", "valueFrom": {**SECRET, **PROGRAM}}]}, "spec.env[0].valueFrom", "keep one"),
    ("Lieutenant", {**LT, "env": [{"name": "A", "valueFrom": {"file": {"path": "token"}}}]}, "spec.env[0].valueFrom.file.path", "absolute"),
    ("Lieutenant", {**LT, "env": [{"name": "A", "value": ""}, {"name": "A", "value": "b"}]}, "spec.env[1].name", "duplicate"),
    ("Lieutenant", {**LT, "instructions": {"files": [{"path": "a"}]}}, "spec.instructions.files[0]", "exactly one of"),
    ("Lieutenant", {**LT, "instructions": {"files": [{"path": "a/../b", "content": ""}]}}, "spec.instructions.files[0].path", "'..'"),
    ("Lieutenant", {**LT, "permissions": {"allow": ["read", "read"]}}, "spec.permissions.allow[1]", "duplicate"),
    ("Lieutenant", {**LT, "snapshots": {"schedule": "* * * *"}}, "spec.snapshots.schedule", "five fields"),
    ("Lieutenant", {**LT, "role": "  \n"}, "spec.role", "must not be empty"),
    ("BootProfile", {}, "spec.source", "required unless `extends`"),
    ("BootProfile", {"source": {}}, "spec.source", f"exactly one of {names_of(Source)}"),
    ("BootProfile", {**P, "steps": [{"name": "a", "run": "x"}, {"name": "a", "run": "y"}]}, "spec.steps[1].name", "duplicate"),
    ("BootProfile", {**P, "agent": {"workDir": "relative"}}, "spec.agent.workDir", "absolute"),
    ("BootProfile", {**P, "agent": {"workDir": "/srv/../etc"}}, "spec.agent.workDir", "'..'"),
    ("BootProfile", {**P, "verify": [{"name": "a", "command": []}]}, "spec.verify[0].command", "must not be empty"),
    ("Task", {"lieutenantRef": {"name": "api"}}, "spec", "exactly one of `prompt`, `contentFrom`"),
    ("Task", {**T, "contentFrom": SECRET}, "spec", "exactly one of `prompt`, `contentFrom`"),
    ("Task", {**T, "target": {"name": "b"}}, "spec.target", "delivery: Steer"),
    ("Task", {**T, "acceptance": [{}]}, "spec.acceptance[0]", f"exactly one of {names_of(Acceptance)}"),
    ("Task", {**T, "notBefore": "2026-01-01"}, "spec.notBefore", "RFC 3339"),
    ("Task", {**T, "notBefore": "2026-01-01T00:00:00"}, "spec.notBefore", "time zone"),
    ("VMTree", {"nodes": []}, "spec.nodes", "must not be empty"),
    ("VMTree", tree({"name": "a", "parent": "a"}), "spec.nodes[0].parent", "own parent"),
    ("VMTree", tree({"name": "a", "parent": "b"}), "spec.nodes[0].parent", "'b'"),
    (
        "VMTree",
        tree({"name": "a", "parent": "b"}, {"name": "b", "parent": "c"}, {"name": "c", "parent": "a"}),
        "spec.nodes",
        "cycle: a -> b -> c -> a",
    ),
    ("VMTree", tree({"name": "a"}, {"name": "a"}), "spec.nodes[1].name", "duplicate"),
    ("VMTree", tree({"name": "a", "from": "Parent"}), "spec.nodes[0].from", "parent"),
    ("VMTree", {"nodes": [{"name": "a", "category": "Agent"}]}, "spec.nodes[0].profileRef", "required unless"),
    ("VMTree", tree({"name": "a", "category": "Infra", "lieutenant": {}}), "spec.nodes[0].lieutenant", "no agent"),
    ("VMTree", tree({"name": "a", "adopt": {"vmId": UUID}, "replicas": 1}), "spec.nodes[0].adopt", "takes over one machine"),
    ("VMTree", tree({"name": "b"}, {"name": "a", "parent": "b", "adopt": {"vmId": UUID}, "from": "Parent"}), "spec.nodes[1].adopt", "one"),
    ("VMTree", tree({"name": "a" * 51}), "spec.nodes[0].name", "52"),
    ("VMTree", tree({"name": "a" * 49, "replicas": 11}), "spec.nodes[0].name", "52"),
]

ACCEPTED: list[tuple[str, Json]] = [
    ("Lieutenant", LOCAL),
    ("Lieutenant", {**LT, "env": [{"name": "A", "value": ""}]}),
    ("Lieutenant", {**LT, "instructions": {"files": [{"path": "/etc/..motd", "content": ""}, {"path": "./a.b/.c", "content": ""}]}}),
    ("Lieutenant", {**LT, "budget": {}}),
    ("BootProfile", {"extends": {"name": "full"}}),
    ("BootProfile", {"source": {"ref": "a/b:1.0"}, "extends": {"name": "full"}}),
    ("Task", {**T, "delivery": "Steer"}),
    ("Task", {**T, "notBefore": "2026-01-01T00:00:00.5+02:00"}),
    ("VMTree", tree({"name": "a"}, {"name": "b", "parent": "a"}, {"name": "c", "parent": "b"})),
    ("VMTree", tree({"name": "a" * 50})),
    ("VMTree", tree({"name": "a" * 48, "replicas": 10})),
    ("VMTree", {"nodes": [{"name": "r", "category": "Resource", "profileRef": {"name": "infra"}}]}),
]


@pytest.mark.guarantee("G-42")
@pytest.mark.parametrize(("kind", "spec", "field", "word"), REFUSED)
def test_refused(kind: str, spec: Json, field: str, word: str) -> None:
    told = parse(document(kind, spec))
    assert isinstance(told, list)
    assert [problem for problem in told if problem.field == field and word in problem.message], [str(problem) for problem in told]


@pytest.mark.parametrize(("kind", "spec"), ACCEPTED)
def test_accepted(kind: str, spec: Json) -> None:
    told = parse(document(kind, spec))
    assert not isinstance(told, list), [str(problem) for problem in told]


@pytest.mark.guarantee("G-48")
@pytest.mark.parametrize(
    ("parents", "ring"),
    [
        ({"a": None, "b": "a", "c": "b"}, []),
        ({"a": "ghost"}, []),
        ({"a": "b", "b": "a"}, ["a", "b"]),
        ({"tail": "a", "a": "b", "b": "c", "c": "a"}, ["a", "b", "c"]),
        ({"a": "a"}, ["a"]),
    ],
)
def test_cycles_are_found_and_nothing_else_is(parents: dict[str, str | None], ring: list[str]) -> None:
    assert cycle(parents) == ring


@pytest.mark.guarantee("G-48")
def test_a_long_chain_is_no_cycle_and_costs_no_stack() -> None:
    assert cycle({str(index): str(index - 1) if index else None for index in range(5000)}) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("My_Agent", "lower"),
        ("-a", "lower"),
        ("a-", "lower"),
        ("a.b", "lower"),
        ("a\n", "lower"),
        ("a" * 53, "52"),
        ("", "empty"),
    ],
)
def test_bad_names(name: str, problem: str) -> None:
    told = parse(document("Lieutenant", LT, name))
    assert isinstance(told, list)
    assert told[0].field == "metadata.name"
    assert problem in told[0].message


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"labels": {"a b": "c"}}, "metadata.labels.a b"),
        ({"labels": {"a": "b c"}}, "metadata.labels.a"),
        ({"labels": {"a": 1}}, "metadata.labels.a"),
        ({"annotations": {"a": True}}, "metadata.annotations.a"),
        ({"namespace": "Up"}, "metadata.namespace"),
        ({"generateName": "x"}, "metadata.generateName"),
    ],
)
def test_bad_metadata(metadata: Json, field: str) -> None:
    told = parse({**document("Lieutenant", LT), "metadata": {"name": "a", **metadata}})
    assert isinstance(told, list)
    assert field in {problem.field for problem in told}


def test_what_a_server_fills_in_may_stand_there() -> None:
    metadata: Json = {
        "name": "a",
        "namespace": "default",
        "uid": UUID,
        "resourceVersion": "12",
        "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "finalizers": ["fleet.vers.sh/vm"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "y", "uid": "z"}],
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
    }
    told = parse({**document("Lieutenant", LT), "metadata": metadata, "status": {"phase": "Idle", "conditions": []}})
    assert not isinstance(told, list)


# --- updates -----------------------------------------------------------------------------------------------------------------------

CHANGES: list[tuple[str, Json, tuple[str | int, ...], JsonValue, str]] = [
    ("Lieutenant", ADOPTING, ("adopt", "vmId"), UUID.replace("5", "6"), "spec.adopt"),
    ("Lieutenant", FORKING, ("fork", "from", "name"), "another", "spec.fork"),
    ("Lieutenant", LIEUTENANT, ("placement", "type"), "Local", "spec.placement.type"),
    ("VMTree", TREE, ("nodes", 1, "replicas"), None, "spec.nodes[1].replicas"),
    ("VMTree", TREE, ("nodes", 0, "replicas"), 2, "spec.nodes[0].replicas"),
    ("VMTree", TREE, ("nodes", 2, "adopt", "vmId"), UUID.replace("5", "6"), "spec.nodes[2].adopt"),
    ("VMTree", TREE, ("nodes", 0, "adopt"), {"vmId": UUID}, "spec.nodes[0].adopt"),
    ("Task", TASK, ("prompt",), "Something else.", "spec.prompt"),
    ("Task", TASK, ("acceptance", 0, "file", "minBytes"), 6, "spec.acceptance"),
    ("Task", TASK, ("after",), [], "spec.after"),
    ("Task", TASK, ("delivery",), "Queue", "spec.delivery"),
]


@pytest.mark.parametrize(("kind", "old", "path", "value", "field"), CHANGES)
def test_immutable_fields_do_not_change(kind: str, old: Json, path: tuple[str | int, ...], value: JsonValue, field: str) -> None:
    new = replaced(old, path, value)
    if kind == "Task" and path == ("delivery",):
        new = {key: inner for key, inner in new.items() if key != "target"}  # type: ignore[union-attr]
    assert isinstance(new, dict)
    told = validate_update(kind, old, new)
    assert field in {problem.field for problem in told}
    assert all("immutable" in problem.message and ";" in problem.message for problem in told)
    assert validate_update(kind, old, old) == []


def test_every_field_of_a_task_but_three_is_immutable() -> None:
    for name in TASK:
        if name in ("cancel", "approvals", "budget", "lieutenantRef", "prompt"):
            continue
        less = {key: value for key, value in TASK.items() if key != name and not (name == "delivery" and key == "target")}
        assert f"spec.{name}" in {problem.field for problem in validate_update("Task", TASK, less)}, name
    for name, value in (("cancel", False), ("approvals", []), ("budget", {"maxTokens": 5})):
        assert validate_update("Task", TASK, {**TASK, name: value}) == []


def test_writing_a_default_down_is_no_change() -> None:
    assert validate_update("Lieutenant", LT, {**LT, "placement": {"type": "VM"}}) == []
    assert validate_update("Lieutenant", LT, {**LT, "placement": {"outageFallback": "Local"}}) == []
    assert validate_update("VMTree", TREE, replaced(TREE, ("nodes", 1, "replicas"), 5)) == []  # type: ignore[arg-type]


def test_nodes_are_the_same_by_name_wherever_they_stand() -> None:
    nodes = TREE["nodes"]
    assert isinstance(nodes, list)
    assert validate_update("VMTree", TREE, {**TREE, "nodes": nodes[::-1]}) == []


# --- schedules ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "minutes"),
    [("0 * * * *", {0}), ("*/20 * * * *", {0, 20, 40}), ("5-7,9 0 1 jan sun", {5, 6, 7, 9}), ("@daily", {0}), ("50/5 * * * *", {50, 55})],
)
def test_schedules(schedule: str, minutes: set[int]) -> None:
    assert expand(schedule)[0] == minutes


def test_sunday_is_0_and_7() -> None:
    assert expand("0 0 * * 7")[4] == expand("0 0 * * sun")[4] == {0}


BAD_SCHEDULES = (
    """* * * *|61 * * * *|* 24 * * *|* * 0 * *|* * * 13 *|* * * * 8|*/0 * * * *|5-1 * * * *|a * * * *|* * * * * *|1,,2 * * * *|@never|"""
)


@pytest.mark.parametrize("schedule", BAD_SCHEDULES.split("|"))
def test_bad_schedules(schedule: str) -> None:
    with pytest.raises(ValueError, match=r"must be|backwards|cron"):
        expand(schedule)


def test_a_bad_schedule_is_told_once_with_one_remedy() -> None:
    with pytest.raises(InvalidSpec) as found:
        load_spec("Lieutenant", {"role": "x", "profileRef": {"name": "p"}, "snapshots": {"schedule": "61 * * * *"}})
    problem = "spec.snapshots.schedule: a schedule's minute must be 0 to 59, not '61'"
    assert str(found.value) == f"the Lieutenant is not valid: {problem}: correct the fields named"


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize("program", ["./mint", "bin/mint", "../mint"])
def test_a_program_is_found_by_its_name_or_from_the_root_on(program: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        load_spec("Lieutenant", {**LT, "env": [{"name": "A", "valueFrom": {"exec": {"command": [program]}}}]})
    assert "env[0].valueFrom.exec.command[0]" in str(refused.value)
    assert "from the root on" in str(refused.value)
