"""`-l` where a command looks at several things: what does not fit is not shown, and nothing takes a selector without applying it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.core.records import LieutenantRecord, SessionRecord
from reconciler.engine.ports import AddEvent, AppendSession, Event, StoredObject
from tests.background import Platform
from tests.cli.conftest import Run
from tests.cli.test_cli_choosing import FLEET
from tests.cli.test_cli_conversation import change, line

TREE = """---
apiVersion: fleet.vers.sh/v1alpha1
kind: VMTree
metadata: {name: prod, labels: {team: data}}
spec:
  nodes:
  - {name: root, category: Infra, profileRef: {name: lightweight}}
"""


@pytest.fixture
def fleet(run: Run, tmp_path: Path) -> Run:
    """Lieutenants a and b of team web and c of team data, each with a conversation and an event."""
    assert run("apply", "-f", "-", stdin=FLEET + TREE).code == 0

    def talking(obj: StoredObject) -> StoredObject:
        if obj.key.kind != "Lieutenant":
            return obj
        return replace(obj, record=LieutenantRecord(session=SessionRecord(name=f"s-{obj.key.name}", generation=1)).dump())

    said = [AppendSession(f"s-{name}", 0, line("user", "hi") + line("assistant", f"words of {name}")) for name in "abc"]
    told = [AddEvent(Event(Key("Lieutenant", "default", name), name, "Normal", "Ready", f"event of {name}", 1.0)) for name in "abc"]
    change(tmp_path / "state", talking, *said, *told)
    return run


def test_events_of_what_has_the_labels(fleet: Run) -> None:
    shown = fleet("events", "-l", "team=web").out
    assert ("event of a" in shown, "event of b" in shown, "event of c" in shown) == (True, True, False)
    assert [one["message"] for one in fleet("events", "-l", "team=data", "-o", "json").json["items"]] == ["event of c"]
    assert fleet("events", "-l", "team=web", "--for", "lt/a").code == 64


def test_trees_and_lieutenants_that_have_the_labels(fleet: Run) -> None:
    web = fleet("tree", "-l", "team=web").out
    assert [text.split()[0] for text in web.splitlines() if not text.startswith(" ")] == ["lieutenant/a", "lieutenant/b"]
    assert "task/one" in web
    data = fleet("tree", "-l", "team=data").out
    assert [text.split()[0] for text in data.splitlines() if not text.startswith(" ")] == ["vmtree/prod", "lieutenant/c"]
    names = [f"{one['kind']}/{one['metadata']['name']}" for one in fleet("tree", "-l", "team=web", "-o", "json").json["items"]]
    assert names == ["Lieutenant/a", "Task/one", "Task/two", "Lieutenant/b"]
    assert fleet("tree", "prod", "-l", "team=web").code == 64
    assert "nothing found" in fleet("tree", "-l", "team=none").err


def test_output_of_several_lieutenants(fleet: Run) -> None:
    assert fleet("output", "-l", "team=web").out == "--- lieutenant/a ---\nwords of a\n\n--- lieutenant/b ---\nwords of b\n"
    assert fleet("output", "-l", "team=web", "--raw").out == "words of a\nwords of b\n"
    for words in (("output",), ("output", "a", "-l", "team=web"), ("output", "-l", "team=web", "--task", "one")):
        assert fleet(*words).code == 64


@pytest.mark.parametrize("command", ["events", "tree", "output", "orphans"])
def test_a_selector_that_is_none_is_an_error(fleet: Run, command: str) -> None:
    assert "no part of a selector" in fleet(command, "-l", "a b").err


@pytest.mark.parametrize("kind", ["usage", "audit", "commits"])
def test_what_has_no_labels_is_not_chosen_by_them(fleet: Run, kind: str) -> None:
    done = fleet("get", kind, "-l", "team=web")
    assert done.code == 64
    assert "have no labels" in done.err


def test_what_waits_for_a_person_is_chosen_by_labels(fleet: Run, tmp_path: Path) -> None:
    stalled = {"conditions": [{"type": "Stalled", "status": "True", "reason": "BootFailed", "message": "m"}]}
    change(tmp_path / "state", lambda obj: replace(obj, status=stalled) if obj.key.kind == "Lieutenant" else obj)
    shown = fleet("get", "attention", "-l", "team=data").out
    assert "lieutenant/c" in shown.lower() or " c " in shown
    assert "web" not in shown
    assert fleet("get", "attention", "-l", "team=none", "-o", "name").out == ""


def test_orphans_are_chosen_by_the_labels_of_their_machines(run: Run, stub: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stub.endpoints.environment().items():
        monkeypatch.setenv(name, value)
    every = run("orphans", "-o", "json").json["items"]
    assert len(every) == 1
    state = every[0]["status"]["state"]
    assert run("orphans", "-l", f"fleet.vers.sh/state={state}", "-o", "json").json["items"] == every
    assert run("orphans", "-l", "team=web", "-o", "json").json["items"] == []
