"""Objects chosen by labels or by '*': every one is acted on and told by name, and none that was not meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.catalog import GROUPS
from reconciler.engine.ports import StoredObject
from tests.cli.conftest import Run
from tests.cli.test_cli_conversation import change
from tests.cli.test_cli_several import in_file

NEED_A_KIND = ("suspend", "resume", "retry", "snapshot", "forget")
HEAD = "apiVersion: fleet.vers.sh/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, labels: {{team: {team}}}}}\n"
LT = HEAD + "spec: {{role: x, profileRef: {{name: full}}}}\n"
TASK = HEAD + "spec: {{lieutenantRef: {{name: a}}, prompt: hi}}\n"
FLEET = "---\n".join(
    [
        *(LT.format(kind="Lieutenant", name=name, team=team) for name, team in (("a", "web"), ("b", "web"), ("c", "data"))),
        *(TASK.format(kind="Task", name=name, team=team) for name, team in (("one", "web"), ("two", "data"))),
    ]
)


@pytest.fixture
def fleet(run: Run) -> Run:
    assert run("apply", "-f", "-", stdin=FLEET).code == 0
    return run


def deleting(run: Run) -> set[str]:
    """The objects whose deletion was asked for, and those that are gone."""
    items = run("get", "all", "-o", "json").json["items"]
    left = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in items if "deletionTimestamp" not in one["metadata"]}
    return {"lieutenant/a", "lieutenant/b", "lieutenant/c", "task/one", "task/two"} - left


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("lt", "-l", "team=web"), ["lieutenant/a", "lieutenant/b"]),
        (("lt", "*"), ["lieutenant/a", "lieutenant/b", "lieutenant/c"]),
        (("task/*",), ["task/one", "task/two"]),
        (("all", "-l", "team=web"), ["task/one", "lieutenant/a", "lieutenant/b"]),
        (("all", "*"), ["task/one", "task/two", "lieutenant/a", "lieutenant/b", "lieutenant/c"]),
        (("lt,task", "*", "-l", "team!=web"), ["task/two", "lieutenant/c"]),
    ],
)
def test_what_is_chosen_is_deleted_and_told_by_name(fleet: Run, words: tuple[str, ...], meant: list[str]) -> None:
    result = fleet("delete", *words)
    assert result.code == 0, result
    assert result.out.splitlines() == [f"{name} deletion asked for" for name in meant]
    assert deleting(fleet) == set(meant)


@pytest.mark.parametrize(
    "words", [("lt",), ("lt", "a", "*"), ("lt", "a", "-l", "team=web"), ("vm", "*"), ("lt", "-l", "team,,x"), ("lt", "-l", "a b")]
)
def test_what_is_not_clear_deletes_nothing(fleet: Run, words: tuple[str, ...]) -> None:
    assert fleet("delete", *words).code == 64
    assert deleting(fleet) == set()


def test_nothing_that_fits_is_no_failure(fleet: Run) -> None:
    result = fleet("delete", "lt", "-l", "team=none")
    assert (result.code, result.out) == (0, "")
    assert "nothing found" in result.err


def test_one_that_is_refused_is_told_by_name_and_keeps_none_of_the_others(fleet: Run, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(LT.format(kind="Lieutenant", name="b", team="web"))
    change(tmp_path / "state", in_file("b.yaml"))
    result = fleet("delete", "lt", "*")
    assert result.code == 4
    assert result.out.splitlines() == ["lieutenant/a deletion asked for", "lieutenant/c deletion asked for"]
    assert "lieutenant/b is declared in a file" in result.err
    assert "b.yaml:1" in result.err


def test_at_a_terminal_what_is_chosen_is_listed_and_asked_for(fleet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def no(question: str, **_: object) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", no)
    result = fleet("delete", "lt", "*")
    assert result.code == 4
    assert asked == ["delete these 3 objects?"]
    assert result.err.splitlines()[:3] == ["lieutenant/a", "lieutenant/b", "lieutenant/c"]
    assert deleting(fleet) == set()
    assert fleet("delete", "lt", "a", "b").code == 0, "named ones are not asked for"


def modes(run: Run) -> dict[str, str]:
    return {one["metadata"]["name"]: one["spec"].get("mode", "") for one in run("get", "lt", "-o", "json").json["items"]}


def test_other_commands_choose_by_labels_too(fleet: Run) -> None:
    assert fleet("suspend", "lt", "-l", "team=web").code == 0
    assert modes(fleet) == {"a": "Suspended", "b": "Suspended", "c": ""}
    assert fleet("resume", "lt", "*").code == 0
    assert modes(fleet) == {"a": "Running", "b": "Running", "c": "Running"}
    assert fleet("set", "lt", "-l", "team=data", "limits.maxTurns=3").out.startswith("lieutenant/c changed")
    assert fleet("retry", "lt", "-l", "team=web").out.splitlines() == ["lieutenant/a is tried again", "lieutenant/b is tried again"]
    assert fleet("snapshot", "lt", "a", "b").out.splitlines() == ["lieutenant/a snapshot asked for", "lieutenant/b snapshot asked for"]
    assert fleet("cancel", "-l", "team=web").out.splitlines() == ["task/one cancelled in the store"]
    assert fleet("describe", "lt", "-l", "team=web").out.count("Kind:           Lieutenant") == 2
    assert fleet("wait", "lt", "-l", "team=web", "--for", "delete", "--timeout", "0.1").code == 3
    assert fleet("wait", "lt", "-l", "team=none", "--for", "Ready").code == 1


@pytest.mark.parametrize("verb", ["suspend", "resume", "retry", "snapshot"])
def test_one_that_is_missing_keeps_no_other_from_being_acted_on(fleet: Run, verb: str) -> None:
    result = fleet(verb, "lt", "a", "missing", "c")
    assert result.code == 1
    assert [line.split()[0] for line in result.out.splitlines()] == ["lieutenant/a", "lieutenant/c"]
    assert "missing does not exist" in result.err


def test_work_is_given_to_every_lieutenant_with_the_labels(fleet: Run) -> None:
    told = fleet("send", "-l", "team=web", "tidy up").out.split()
    assert [name.rpartition("-")[0] for name in told] == ["a", "b"]
    made = {one["metadata"]["name"]: one["spec"] for one in fleet("get", "task", "-o", "json").json["items"]}
    assert {name: (made[name]["lieutenantRef"]["name"], made[name]["prompt"]) for name in told} == {
        told[0]: ("a", "tidy up"),
        told[1]: ("b", "tidy up"),
    }
    assert fleet("send", "-l", "team=web", "a", "tidy up").code == 64
    assert fleet("send", "-l", "team=web", "tidy up", "--wait").code == 64
    assert "nothing found" in fleet("send", "-l", "team=none", "tidy up").err


def test_lieutenants_with_the_labels_are_forgotten_and_no_others(fleet: Run) -> None:
    told = fleet("forget", "lt", "-l", "team=web").out.splitlines()
    assert told == ["lieutenant/a is forgotten; its VM stays", "lieutenant/b is forgotten; its VM stays"]
    assert deleting(fleet) == {"lieutenant/a", "lieutenant/b"}
    assert fleet("forget", "task", "-l", "team=web").code == 64
    assert fleet("forget", "lt", "a", "-l", "team=web").code == 64


def test_questions_of_tasks_with_the_labels_are_answered_and_no_others(fleet: Run, tmp_path: Path) -> None:
    def asking(obj: StoredObject) -> StoredObject:
        asks: Any = [{"id": f"q-{obj.key.name}", "call": f"bash rm {obj.key.name}", "since": "2026-01-01T00:00:00Z"}]
        return replace(obj, status={"phase": "AwaitingApproval", "asks": asks}) if obj.key.kind == "Task" else obj

    assert fleet("approve", "-l", "team=web").err == "nothing waits for an answer\n"
    change(tmp_path / "state", asking)
    assert fleet("approve", "-l", "team=web").out == "task/one q-one approved in the store: bash rm one\n"
    assert fleet("deny", "-l", "team=data", "--reason", "no").out == "task/two q-two denied in the store: bash rm two\n"
    assert fleet("approve", "one", "-l", "team=web").code == 64
    assert fleet("approve").code == 64


@pytest.mark.parametrize("command", [entry.name for group in GROUPS.values() for entry in group])
def test_no_command_takes_labels_and_does_not_apply_them(fleet: Run, command: str) -> None:
    """Where a selector is taken, one that is none is an error; elsewhere there is no such option."""
    words = {
        "get": ("lt",),
        "describe": ("lt",),
        "delete": ("lt",),
        "wait": ("lt", "--for", "Ready"),
        "send": ("work",),
        "set": ("lt", "mode=Running"),
    }
    told = fleet(command, *words.get(command, ("lt",) if command in NEED_A_KIND else ()), "-l", "a b")
    assert told.code == 64
    assert "no part of a selector" in told.err or "o such option" in told.err, told.err
