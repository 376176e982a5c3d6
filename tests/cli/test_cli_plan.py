"""`plan` says "nothing to do" only where that is true: what is refused, not acted on, left out or waits is said (G-49)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.background import Platform
from tests.cli.conftest import Result, Run

API = "apiVersion: fleet.vers.sh/v1alpha1\n"
LONG = "{role: Build, instructions: {context: " + "x" * 40_000 + "}}"
"""With what its parent is told it is more than a lieutenant may be told."""
TREE = (
    API
    + f"""kind: VMTree
metadata: {{name: product}}
spec:
  nodes:
  - {{name: root, category: Infra, profileRef: {{name: full}}}}
  - {{name: lead, category: Agent, parent: root, profileRef: {{name: full}}, lieutenant: {LONG}}}
  - {{name: under, category: Agent, parent: lead, profileRef: {{name: full}}, lieutenant: {LONG}}}
"""
)
LIEUTENANT = API + "kind: Lieutenant\nmetadata: {{name: {name}}}\nspec: {{role: Build, profileRef: {{name: full}}{more}}}\n"
TASK = API + "kind: Task\nmetadata: {{name: {name}}}\nspec: {{lieutenantRef: {{name: {of}}}, prompt: hi{more}}}\n"
CIRCLE = "---\n".join(
    [
        LIEUTENANT.format(name="api", more=", mode: Suspended"),
        TASK.format(name="one", of="api", more=", after: [{name: two}]"),
        TASK.format(name="two", of="api", more=", after: [{name: one}]"),
    ]
)
CASES = {
    "a VMTree": (TREE, {("vmtree/product", "Refused", "NodeInvalid")}),
    "agents on this host": (
        LIEUTENANT.format(name="desk", more=", placement: {type: Local}"),
        {("lieutenant/desk", "Refused", "LocalNotAllowed")},
    ),
    "tasks in a circle": (CIRCLE, {("task/one", "Refused", "DependencyCycle"), ("task/two", "Refused", "DependencyCycle")}),
    "a task for nobody": (TASK.format(name="one", of="none", more=""), {("task/one", "Waiting", "LieutenantNotFound")}),
    "a profile that is missing": (
        LIEUTENANT.format(name="lost", more="").replace("name: full", "name: fulll"),
        {("lieutenant/lost", "Waiting", "ProfileNotFound")},
    ),
}


@pytest.fixture
def planned(run: Run, stub: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in stub.endpoints.environment().items():
        monkeypatch.setenv(name, value)

    def act(text: str, *words: str) -> Result:
        (tmp_path / "specs.yaml").write_text(text)
        return run("plan", "specs.yaml", *words)

    return act


@pytest.mark.guarantee("G-49")
@pytest.mark.parametrize("case", CASES)
def test_what_is_not_done_is_in_the_plan_with_its_reason(planned: Run, case: str) -> None:
    text, expected = CASES[case]
    shown = planned(text)
    assert shown.code == 2, shown
    assert "nothing to do" not in shown.out
    found = planned(text, "-o", "json").json
    pending = found["pending"]
    assert expected <= {(f"{one['kind'].lower()}/{one['name']}", one["state"], one["reason"]) for one in pending}
    for one in pending:
        assert one["message"], "a sentence says why"
        assert one["message"].splitlines()[0] in shown.out
    assert all(action["reason"] for action in found["actions"])


@pytest.mark.guarantee("G-49")
def test_a_plan_of_what_is_declared_and_true_says_so(planned: Run) -> None:
    assert planned("# nothing\n").out == "nothing to do: what is declared is true\n"
    assert planned("# nothing\n").code == 0


@pytest.mark.guarantee("G-49")
def test_what_comes_after_the_acts_is_told_beside_them(planned: Run) -> None:
    text = LIEUTENANT.format(name="api", more="") + "---\n" + TASK.format(name="never", of="api", more=", after: [{name: absent}]")
    shown = planned(text)
    assert shown.code == 2
    assert "Create" in shown.out
    assert "task/never" in shown.out.partition("not as declared even then")[2]


@pytest.mark.guarantee("G-49")
def test_a_field_that_is_ignored_is_told_by_a_plan(planned: Run) -> None:
    shown = planned(LIEUTENANT.format(name="api", more=", permissions: {agents: {maxDepth: 2}}"))
    assert "not acted on in this release" in shown.err


@pytest.mark.guarantee("G-41")
def test_a_plan_is_an_entry_for_each_object_and_v_unfolds_it(planned: Run) -> None:
    shown = planned(LIEUTENANT.format(name="api", more=""))
    assert shown.out.splitlines()[0].startswith("+   lieutenant/api   (")
    assert "why   it is declared, and there is no machine for it (CreatingVM)" in shown.out
    assert "Plan: 1 to create (" in shown.out
    steps = planned(LIEUTENANT.format(name="api", more=""), "-o", "json").json["actions"]
    unfolded = planned(LIEUTENANT.format(name="api", more=""), "-v").out.splitlines()
    assert unfolded[0].split() == ["VERB", "OBJECT", "TARGET", "REASON"]
    assert [line.split()[0] for line in unfolded[1 : 1 + len(steps)]] == [step["verb"] for step in steps]


def test_a_plan_is_folded_at_a_terminal_and_never_cut(planned: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = planned(LIEUTENANT.format(name="api", more="")).out
    monkeypatch.setattr("reconciler.cli.output.columns", lambda: 50)
    folded = planned(LIEUTENANT.format(name="api", more="")).out
    assert max(map(len, folded.splitlines())) <= 50
    assert piped.split() == folded.split()
