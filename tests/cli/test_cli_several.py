"""Commands over several objects, waiting, and what can be asked for about what is not declared."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import reconciler
from reconciler.api import generate
from reconciler.api.conditions import CONDITIONS
from reconciler.api.phases import PHASES
from reconciler.cli.wait import ended
from reconciler.core.keys import Json, Key
from reconciler.core.records import FINISHED, TaskRecord
from reconciler.core.task.status import AWAITING
from reconciler.engine.ports import StoredObject
from tests.cli.conftest import Run
from tests.cli.test_cli_conversation import change

HEAD = "apiVersion: fleet.vers.sh/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n"
LT = HEAD + "spec: {{role: x, profileRef: {{name: full}}}}\n"
TASK = HEAD + "spec: {{lieutenantRef: {{name: a}}, prompt: hi}}\n"


def lieutenants(*names: str) -> str:
    return "---\n".join(LT.format(kind="Lieutenant", name=name) for name in names)


def in_file(name: str) -> Callable[[StoredObject], StoredObject]:
    def changed(obj: StoredObject) -> StoredObject:
        return replace(obj, source="file", origin=f"{Path(name).absolute()}:1") if obj.key.name == "b" else obj

    return changed


def test_a_name_that_is_missing_keeps_no_other_from_being_deleted(run: Run) -> None:
    run("apply", "-f", "-", stdin=lieutenants("a", "c"))
    result = run("delete", "lt", "a", "b", "c", "d")
    assert result.code == 1
    assert result.out.splitlines() == ["lieutenant/a deletion asked for", "lieutenant/c deletion asked for"]
    assert sorted(line.split()[1] for line in result.err.splitlines()) == ["lieutenant/b", "lieutenant/d"]
    assert all(line.startswith("error: ") for line in result.err.splitlines())


def test_a_name_that_is_missing_keeps_no_other_from_being_shown(run: Run) -> None:
    run("apply", "-f", "-", stdin=lieutenants("a", "c"))
    result = run("get", "lt", "a", "b", "c", "-o", "name")
    assert (result.code, result.out.split()) == (1, ["lieutenant/a", "lieutenant/c"])
    assert result.err.startswith("error: lieutenant/b does not exist")


def test_a_document_that_a_file_declares_keeps_no_other_from_being_declared(run: Run, tmp_path: Path) -> None:
    run("apply", "-f", "-", stdin=lieutenants("b"))
    (tmp_path / "b.yaml").write_text(lieutenants("b"))
    change(tmp_path / "state", in_file("b.yaml"))
    result = run("apply", "-f", "-", stdin=lieutenants("a", "b", "c"))
    assert result.code == 4, result
    assert result.out.splitlines() == ["lieutenant/a created", "lieutenant/c created"]
    assert "b.yaml" in result.err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("lt/a", "--for", "Redy"), 64, "Ready"),
        (("lt/a", "--for", "condition=Nonsense"), 64, "Stalled"),
        (("lt/a", "--for", "Ready=Maybe"), 64, "Unknown"),
        (("lt/a", "--for", "phase="), 64, "phase=Succeeded"),
        (("lt/a", "--for", "phase=idel"), 64, "never has the phase 'idel' (did you mean Idle?) (--for phase=idel): use one of"),
        (("lt/a", "--for", "phase=Succeeded"), 64, "a Lieutenant never has the phase 'Succeeded'"),
        (("lt/a", "task/b", "--for", "phase=Succeeded"), 64, "a Lieutenant never has"),
        (("task/b", "--for", "VMReady"), 64, "a Task never has the condition 'VMReady'"),
        (("bp/b", "--for", "stalld"), 64, "(did you mean Stalled?)"),
        (("lt/none", "--for", "Ready"), 3, "it does not exist"),
        (("lt/none", "--for", "phase=Idle"), 3, "it does not exist"),
        (("lt/none", "--for", "delete"), 0, ""),
    ],
)
def test_waiting_for_what_will_never_be_ends_at_once(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    run("apply", "-f", "-", stdin=lieutenants("a"))
    began = time.monotonic()
    result = run("wait", *words, "--timeout", "30")
    assert time.monotonic() - began < 10
    assert result.code == code, result
    assert told in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("get", "lt", "none"),
        ("get", "lt/none", "-o", "name"),
        ("describe", "lt", "none"),
        ("delete", "lt", "none"),
        ("delete", "Lieutenant/none"),
        ("suspend", "lieutenants", "none"),
        ("set", "lt", "none", "role=x"),
        ("retry", "lt", "none"),
        ("forget", "lt", "none"),
        ("snapshot", "lt", "none"),
        ("diff", "lt/none", "lt/a"),
        ("auth", "secrets", "none"),
    ],
)
def test_every_command_names_an_object_in_one_form(run: Run, words: tuple[str, ...]) -> None:
    """However it was named."""
    run("apply", "-f", "-", stdin=lieutenants("a"))
    told = run(*words)
    assert told.code == 1, told
    assert told.err.startswith("error: lieutenant/none does not exist (namespace default): see `reconciler get lieutenant"), told.err


def test_what_is_done_to_an_object_is_told_under_the_name_that_get_prints(run: Run) -> None:
    assert run("apply", "-f", "-", stdin=lieutenants("a")).out == "lieutenant/a created\n"
    name = run("get", "lt", "a", "-o", "name").out.strip()
    for words in (("set", "lt", "a", "role=x"), ("suspend", "lt", "a"), ("retry", "lt", "a"), ("delete", "lt", "a")):
        assert run(*words).out.startswith(f"{name} "), words


def test_every_condition_that_is_told_can_be_waited_for(run: Run) -> None:
    told = set()
    for path in Path(reconciler.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Condition" and node.args:
                first = node.args[0]
                told |= {first.value} if isinstance(first, ast.Constant) else set()
    assert told - CONDITIONS == set(), "name it in reconciler/api/conditions.py"
    assert len(told) > 5


def test_every_phase_that_is_told_can_be_waited_for() -> None:
    """Those of a task are what its record and its ends are made with; those of the other kinds are the types of what tells them."""
    told = set()
    for part in ("core", "engine"):
        for path in (Path(reconciler.__file__).parent / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "phase":
                    told |= {one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    assert {"Running", "Pending", "Delivering"} <= told
    assert told - {phase for phases in PHASES.values() for phase in phases} - {""} == set(), "name it in reconciler/api/phases.py"
    assert set(PHASES["Task"]) >= FINISHED
    assert {AWAITING, TaskRecord().phase} <= set(PHASES["Task"])


def test_a_task_has_one_name_in_what_send_prints(run: Run) -> None:
    run("apply", "-f", "-", stdin=lieutenants("a"))
    name = run("send", "a", "hello").out.strip()
    assert "/" not in name
    waited = run("send", "a", "hello", "--wait", "--timeout", "0")
    assert waited.err.splitlines()[0].startswith("a-")


def test_a_task_that_has_not_ended_is_tried_again_and_one_that_has_is_not(run: Run, tmp_path: Path) -> None:
    run("apply", "-f", "-", stdin=lieutenants("a") + "---\n" + "---\n".join(TASK.format(kind="Task", name=n) for n in ("done", "stuck")))

    def ended(obj: StoredObject) -> StoredObject:
        if obj.key.name != "done":
            return obj
        return replace(obj, status={"phase": "Failed"}, record=TaskRecord(phase="Failed").dump())

    change(tmp_path / "state", ended)
    assert run("retry", "task", "stuck").out == "task/stuck is tried again\n"
    assert "fleet.vers.sh/retry" in run("get", "task", "stuck", "-o", "json").json["metadata"]["annotations"]
    refused = run("retry", "task/done")
    assert refused.code == 4
    assert "Failed already" in refused.err


def test_how_much_is_thought_is_set_alone(run: Run, tmp_path: Path) -> None:
    run("apply", "-f", "-", stdin=lieutenants("a", "new", "none"))

    def has_model(obj: StoredObject) -> StoredObject:
        models = {"a": "acme/one/two", "none": "unknown/unknown"}
        return replace(obj, status={"agent": {"model": models[obj.key.name]}}) if obj.key.name in models else obj

    change(tmp_path / "state", has_model)
    assert run("set", "lt", "a", "model.thinking=high").code == 0
    assert run("get", "lt", "a", "-o", "json").json["spec"]["model"] == {"provider": "acme", "id": "one/two", "thinking": "high"}
    assert run("set", "lt", "a", "model.thinking=low").code == 0
    for name in ("new", "none"):
        unknown = run("set", "lt", name, "model.thinking=high")
        assert unknown.code == 64
        assert "model.provider" in unknown.err


def test_explain_lists_the_fields_of_a_kind(run: Run) -> None:
    whole = run("explain", "lieutenant").out
    for field in ("apiVersion <string>", "metadata <object>", "spec <object>", "status <object>", "profileRef <object>", "mode <string>"):
        assert f"\n  {field}" in whole
    assert "  phase <string>" in run("explain", "lt.status").out
    assert "\n      taskTimeoutSeconds <integer>" in run("explain", "lt", "--recursive").out
    assert run("explain", "lt.nonsense").code == 64


def test_a_stock_profile_can_be_described(run: Run) -> None:
    shown = run("describe", "bp", "lightweight")
    assert shown.code == 0
    assert "this release" in shown.out
    assert "source:" in shown.out
    assert run("describe", "bp", "nonsense").code == 1
    run("apply", "-f", "-", stdin=HEAD.format(kind="BootProfile", name="lightweight") + "spec: {source: {image: default}}\n")
    assert "Declared by:    api" in run("describe", "bp", "lightweight").out


def test_crds_are_checked_where_there_is_no_checkout(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("crds", "--check").code == 0, "those that are installed"
    assert run("crds", "--out", "made").code == 0
    assert run("crds", "--check", "--out", "made").code == 0, "those that were written there"
    (tmp_path / "made" / "tasks.yaml").unlink()
    lost = run("crds", "--check", "--out", "made")
    assert (lost.code, lost.out) == (1, "made/tasks.yaml is missing; run `reconciler crds --out made`\n")
    monkeypatch.setattr(generate, "generate_crds", lambda: {"lieutenants.yaml": "other"})
    differs = run("crds", "--check")
    assert differs.code == 1
    assert "install the package again" in differs.out
    (tmp_path / "crds").mkdir()
    assert "make generate" in run("crds", "--check").out, "a checkout is checked where there is one"


@pytest.mark.parametrize("selector", ["who in (a,b)", "who=x,who notin (y)", "!", "a=b=c", ",,", "=x"])
def test_a_selector_that_is_not_understood_is_refused(run: Run, selector: str) -> None:
    run("apply", "-f", "-", stdin=lieutenants("a"))
    result = run("get", "lt", "-l", selector)
    assert result.code == 64
    assert "NAME=VALUE" in result.err


def test_names_and_a_selector_are_not_given_together(run: Run) -> None:
    run("apply", "-f", "-", stdin=lieutenants("a"))
    assert run("get", "lt", "a", "-l", "who=x").code == 64
    assert run("get", "lt", "-l", "who!=x").code == 0


@pytest.mark.parametrize(
    ("phase", "generation", "over"), [("Failed", 1, True), ("Cancelled", 1, True), ("Running", 1, False), ("Failed", 2, False)]
)
def test_a_task_that_has_ended_is_not_waited_for(phase: str, generation: int, over: bool) -> None:
    status: Json = {"phase": phase, "observedGeneration": 1}
    assert ended(StoredObject(Key("Task", "default", "one"), "u", generation, 1, 0.0, {}, status=status)) is over
    assert not ended(StoredObject(Key("Lieutenant", "default", "one"), "u", 1, 1, 0.0, {}, status=status))
