"""`NAME`, `KIND NAME` and `KIND/NAME` mean the same wherever a command takes one object; what is said of profiles of this release and
of a circle of tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.cli import names
from reconciler.core.keys import Key
from reconciler.engine.ports import StoredObject
from reconciler.errors import UsageError
from tests.cli.conftest import Run
from tests.cli.test_cli_conversation import change

HEAD = "apiVersion: fleet.vers.sh/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
LT = HEAD.format(kind="Lieutenant", name="api", spec="{role: x, profileRef: {name: full}}")
TASK = HEAD.format(kind="Task", name="one", spec="{lieutenantRef: {name: api}, prompt: hi}")
TREE = HEAD.format(kind="VMTree", name="wood", spec="{nodes: [{name: root, category: Infra, profileRef: {name: infra}}]}")
FORMS = (("{kind}/{name}",), ("{kind}", "{name}"), ("{name}",))
COMMANDS = {"cancel": ("task", "one", ()), "output": ("lt", "api", ()), "tree": ("vmtree", "wood", ()), "send": ("lt", "api", ("do it",))}


@pytest.fixture
def fleet(run: Run) -> Run:
    assert run("apply", "-f", "-", stdin="---\n".join((LT, TASK, TREE))).code == 0
    return run


@pytest.mark.parametrize("form", FORMS, ids=["KIND/NAME", "KIND NAME", "NAME"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_form_names_the_same_object(fleet: Run, command: str, form: tuple[str, ...]) -> None:
    kind, name, more = COMMANDS[command]
    done = fleet(command, *(word.format(kind=kind, name=name) for word in form), *more)
    assert done.code == 0, done.err


@pytest.mark.parametrize("words", [("lt", "api"), ("lt/api",), ("task", "one", "two"), ("nonsense", "one")])
def test_another_kind_and_several_are_wrong_usage(fleet: Run, words: tuple[str, ...]) -> None:
    done = fleet("cancel", *words)
    assert done.code == 64
    assert "Traceback" not in done.err


def test_a_name_alone_may_be_the_word_of_a_kind() -> None:
    assert names.of_kind(["task"], "Task", "web") == Key("Task", "web", "task")
    with pytest.raises(UsageError, match="name a task"):
        names.of_kind(["lt/api"], "Task", "web")


def test_profiles_of_this_release_are_shown_and_marked(fleet: Run) -> None:
    _, *rows = fleet("get", "bp").out.splitlines()
    shown = {row.split()[0]: row for row in rows}
    assert set(shown) >= {"full", "swarm", "lightweight", "infra"}
    assert all("Stock" in row for row in shown.values())
    assert fleet("get", "bootprofile", "full", "-o", "json").json["status"]["conditions"][0]["reason"] == "Stock"
    assert fleet("get", "bp", "-A").code == 0
    assert fleet("get", "bp", "nothing").code == 1
    assert fleet("get", "bp", "-o", "name").out == "", "where they can't be marked they are left out"
    assert "Stock" not in fleet("get", "all").out, "they are not declared"
    own = HEAD.format(kind="BootProfile", name="full", spec="{source: {image: default}}")
    assert fleet("apply", "-f", "-", stdin=own).code == 0
    assert fleet("get", "bp", "full", "-o", "json").json["spec"] == {"source": {"image": "default"}}
    assert [row.split()[0] for row in fleet("get", "bp").out.splitlines()].count("full") == 1


def test_a_task_in_a_circle_is_not_said_to_be_tried_again(fleet: Run, tmp_path: Path) -> None:
    def circle(obj: StoredObject) -> StoredObject:
        ready = {"type": "Ready", "status": "False", "reason": "DependencyCycle", "message": "one and two wait for each other"}
        return replace(obj, status={"phase": "Pending", "conditions": [ready]}) if obj.key.kind == "Task" else obj

    change(tmp_path / "state", circle)
    done = fleet("retry", "task", "one")
    assert done.code == 4
    assert "tried again" not in done.out + done.err
    assert "one and two wait for each other" in done.err
    assert "delete one" in done.err
