"""What commands say when somebody mistyped something, or looks at the wrong place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.background import Platform
from tests.cli.conftest import Run

LT = "apiVersion: fleet.vers.sh/v1alpha1\nkind: Lieutenant\nmetadata: {name: NAME}\nspec: {role: x, profileRef: {name: full}}\n"
BROKEN = LT.replace("NAME", "bad").replace("role: x", "role: x, rolle: x")


def test_a_state_directory_that_does_not_exist_is_named(run: Run, tmp_path: Path) -> None:
    mistyped = str(tmp_path / "stat")
    assert f"note: {mistyped} does not exist yet" in run("--state", mistyped, "get", "lt").err
    assert f"{mistyped} does not exist yet; nothing was ever declared there; check --state" in run("--state", mistyped, "get", "lt/api").err
    assert not Path(mistyped).exists()
    run("apply", "-f", "-", stdin=LT.replace("NAME", "api"))
    assert "does not exist" not in run("get", "lt").err


@pytest.mark.parametrize(
    "template", ["{.status.phase", ".a}", "{range .items[*]}{.a}", "{.a}{end}", "{.a[}", "{.a.}", "{.items[?(@.a=1)]}"]
)
def test_a_template_that_can_not_be_read_is_refused_before_anything_is_looked_at(run: Run, template: str) -> None:
    result = run("get", "lt", "-o", f"jsonpath={template}")
    assert result.code == 64, result
    assert "jsonpath" in result.err


@pytest.mark.parametrize("template", ["{}", "{.}", ".status.phase", "{.a}{'\\n'}", "{range .items[*]}{.a}{'x'}{end}", "{$.a['b']}"])
def test_the_others_are_taken(run: Run, template: str) -> None:
    assert run("get", "lt", "-o", f"jsonpath={template}").code == 0


def test_waiting_for_a_task_that_is_not_there_is_said(run: Run) -> None:
    run("apply", "-f", "-", stdin=LT.replace("NAME", "api"))
    sent = run("send", "api", "hello", "--after", "nope")
    assert sent.code == 0
    assert "note: task/nope does not exist in namespace default" in sent.err
    assert "note:" not in run("send", "api", "hello", "--after", sent.out.strip()).err


def test_a_plan_of_one_folder_says_nothing_about_another_and_names_what_it_refuses(
    run: Run, stub: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stub.endpoints.environment().items():
        monkeypatch.setenv(name, value)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "lt.yaml").write_text(LT.replace("NAME", folder))
    assert run("run", "one", "--once", "--timeout", "3").code == 3
    (tmp_path / "two" / "bad.yaml").write_text(BROKEN)
    planned = run("plan", "two", "-o", "json")
    assert planned.code == 1
    assert "no longer declared" not in planned.err
    assert [(Path(one["file"]).name, one["line"]) for one in planned.json["refused"]] == [("bad.yaml", 4)]
    assert planned.json["refused"][0]["field"] == "spec.rolle"
    (tmp_path / "one" / "lt.yaml").unlink()
    assert "lieutenant/one is no longer declared" in run("plan", "one").err
