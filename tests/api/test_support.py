"""No field is accepted and ignored in silence."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import reconciler
from reconciler.api.catalogue import REASONS
from reconciler.api.docs import fields
from reconciler.api.governreasons import GovernReason
from reconciler.api.meta import Json
from reconciler.api.reasons import Reason
from reconciler.api.registry import KINDS, Kind
from reconciler.api.support import SUPPORT, Finding, Support, entry_of, unsupported
from reconciler.api.treereasons import TreeReason
from reconciler.core.decisions import Action
from tests.api.samples import SAMPLES

LT: Json = {"role": "x", "profileRef": {"name": "full"}}
TASK: Json = {"lieutenantRef": {"name": "api"}, "prompt": "Do it."}
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


OF_A_TREE: dict[str, bool] = {}
OF_ITS_LIEUTENANTS = {"permissions.agents": False}
TREE_FINDINGS = [
    *(Finding(f"spec.{path}", protects) for path, protects in OF_A_TREE.items()),
    *(Finding(f"spec.nodes.lieutenant.{path}", protects) for path, protects in OF_ITS_LIEUTENANTS.items()),
]


@pytest.mark.guarantee("G-44")
@kinds
def test_every_field_is_decided_about(kind: Kind) -> None:
    table = SUPPORT[kind.name]
    known = {field.path.replace("[]", "").removeprefix("spec.") for field in fields(kind)}
    leaves = {path for path in known if not any(other.startswith(f"{path}.") for other in known)}
    assert {path for path in leaves if entry_of(table, path) is None} == set()
    assert set(table) - {""} <= known, "the table names fields that do not exist"


@pytest.mark.guarantee("G-44")
@kinds
def test_what_is_set_and_not_acted_on_is_told(kind: Kind) -> None:
    told = {one.path for spec in SAMPLES[kind.name] for one in unsupported(kind.name, spec)}
    expected = {f"spec.{path}".rstrip(".") for path, support in SUPPORT[kind.name].items() if support is not Support.ACTED_ON}
    assert told == expected


@pytest.mark.guarantee("G-44")
@pytest.mark.parametrize(
    ("kind", "spec", "told"),
    [
        ("Lieutenant", LT, []),
        ("Lieutenant", {**LT, "deletionPolicy": "Delete", "placement": {"type": "VM", "outageFallback": "None"}}, []),
        ("Lieutenant", {**LT, "deletionPolicy": "Snapshot", "managementPolicy": "ObserveOnly"}, []),
        ("Lieutenant", {**LT, "limits": {"maxTurns": 0, "taskTimeoutSeconds": 5}}, []),
        ("Lieutenant", {**LT, "limits": {"maxTurns": 9, "firstArtifactSeconds": 60}}, []),
        ("Lieutenant", {**LT, "idle": {"wakeOnTask": False}}, []),
        ("Lieutenant", {**LT, "memory": {"scopes": ["Agent"], "maxLines": 5}}, []),
        ("Lieutenant", {**LT, "memory": {"extractFacts": True}}, []),
        ("Lieutenant", {**LT, "session": {"generation": 1, "onLost": "Resume"}}, []),
        ("Lieutenant", {**LT, "budget": {"maxCost": "1"}}, []),
        ("Task", TASK, []),
        ("Task", {**TASK, "escalation": ["Steer"]}, []),
        ("Task", {**TASK, "escalation": ["Steer", "Abort"], "ttlSecondsAfterFinished": 5}, []),
        ("BootProfile", {"source": {"image": "default"}, "bake": {"enabled": False}}, []),
        ("BootProfile", {"source": {"image": "default"}, "bake": {"enabled": True}}, []),
        ("VMTree", SAMPLES["VMTree"][0], TREE_FINDINGS),
    ],
)  # fmt: skip
def test_only_what_differs_from_the_default_is_told(kind: str, spec: Json, told: list[Finding]) -> None:
    assert unsupported(kind, spec) == told


# --- the catalogue of reasons covers what the core says -----------------------------------------------------------------------------

CORE = Path(reconciler.__file__).parent / "core"


def said(tree: ast.AST) -> Iterator[str]:
    """Bare strings as the reason of a decision or a condition."""
    place = {"Wait": 0, "Refuse": 0, "Unresolved": 0, "TryAgain": 0, "Finish": 1, "Condition": 2}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in place:
            arguments = node.args[place[node.func.id] : place[node.func.id] + 1]
        else:
            continue
        for argument in arguments:
            for part in ast.walk(argument) if isinstance(argument, ast.Constant | ast.IfExp) else ():
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def test_every_reason_of_the_core_is_in_the_catalogue() -> None:
    used = {reason: file.name for file in sorted(CORE.rglob("*.py")) for reason in said(ast.parse(file.read_text("utf-8")))}
    missing = {reason: file for reason, file in used.items() if reason and reason not in REASONS}
    assert missing == {}, "give each a line in reconciler/api/reasons.py or one of its siblings"
    assert {type(act.doing) for act in get_args(Action)} == {Reason, TreeReason, GovernReason}, "acts say what is being done"
