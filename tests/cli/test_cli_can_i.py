"""What an agent may do, asked beforehand; and rules of no use, told by `validate` (G-28)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

HEAD = "apiVersion: fleet.vers.sh/v1alpha1\n"
FLEET = f"""{HEAD}kind: BootProfile
metadata: {{name: own}}
spec: {{extends: {{name: lightweight}}, agent: {{permissions: {{default: Allow, deny: ["bash(rm *)"]}}}}}}
---
{HEAD}kind: Lieutenant
metadata: {{name: api}}
spec: {{role: Test, profileRef: {{name: own}}, permissions: {{default: Allow, ask: ["bash(git push*)"]}}}}
---
{HEAD}kind: Lieutenant
metadata: {{name: web}}
spec: {{role: Test, profileRef: {{name: lightweight}}}}
---
{HEAD}kind: Task
metadata: {{name: work}}
spec: {{lieutenantRef: {{name: api}}, prompt: go, permissions: {{default: Allow, deny: ["bash(npm *)"]}}}}
"""
USELESS = f"""{HEAD}kind: Lieutenant
metadata: {{name: api}}
spec:
  role: Test
  profileRef: {{name: lightweight}}
  permissions:
    tools: [read, bash]
    default: Deny
    allow: [read, "bash(git push)", grep, "bash(cd x && ls)"]
    ask: ["bash(git push)"]
    deny: [write]
"""


@pytest.mark.guarantee("G-28")
@pytest.mark.parametrize(
    ("call", "code", "told"),
    [
        ("bash(ls)", 0, "Allow: no rule names it, and this is the default\n  part: ls\n"),
        ("bash(git status && git push)", 4, "Ask: rule bash(git push*) of the Lieutenant\n  part: git push\n"),
        ("bash(ls; rm x)", 4, "Deny: rule bash(rm *) of the BootProfile\n  part: rm x\n"),
    ],
)
def test_the_answer_has_the_rule_its_level_and_the_part(run: Run, call: str, code: int, told: str) -> None:
    assert run("apply", "-f", "-", stdin=FLEET).code == 0
    said = run("auth", "can-i", "api", call)
    assert (said.code, said.out) == (code, told)
    verdict, rule = told.splitlines()[0].split(": ", 1)
    found = run("auth", "can-i", "lt/api", call, "-o", "json")
    assert (found.code, found.json["answer"]) == (code, verdict)
    assert found.json["rule"] in rule


@pytest.mark.guarantee("G-28")
def test_the_rules_of_a_task_are_added_where_it_is_named(run: Run) -> None:
    assert run("apply", "-f", "-", stdin=FLEET).code == 0
    assert run("auth", "can-i", "api", "bash(npm test)").code == 0
    said = run("auth", "can-i", "api", "bash(npm test)", "--task", "work")
    assert (said.code, said.out) == (4, "Deny: rule bash(npm *) of the Task\n  part: npm test\n")
    said = run("auth", "can-i", "api", "bash(git push)", "--task", "work")
    assert (said.code, said.out.partition(":")[0]) == (4, "Ask")


def test_a_task_of_another_agent_and_one_that_is_not_there_are_no_answer(run: Run) -> None:
    assert run("apply", "-f", "-", stdin=FLEET).code == 0
    other = run("auth", "can-i", "web", "bash(ls)", "--task", "work")
    assert (other.code, other.out) == (64, "")
    assert "task/work is for lieutenant/api" in other.err
    missing = run("auth", "can-i", "api", "bash(ls)", "--task", "nothing")
    assert (missing.code, missing.out) == (1, "")
    assert "nothing does not exist" in missing.err


def test_without_permissions_nothing_is_checked_and_that_is_said(run: Run) -> None:
    assert run("apply", "-f", "-", stdin=FLEET).code == 0
    said = run("auth", "can-i", "web", "bash(rm -rf /)")
    assert (said.code, said.out.startswith("Allow: no permissions are declared, so nothing is checked")) == (0, True)


def test_a_rule_that_can_never_decide_anything_is_a_warning(run: Run, tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_text(USELESS)
    said = run("validate", "api.yaml")
    assert said.code == 0, "it is no error"
    warned = [line for line in said.err.splitlines() if "can never match" in line]
    assert warned == [
        "warning: api.yaml:10:19: spec.permissions.allow[1]: can never match: a stricter list has the same rule",
        "warning: api.yaml:10:37: spec.permissions.allow[2]: can never match: grep is not among `tools`",
        "warning: api.yaml:10:43: spec.permissions.allow[3]: can never match: "
        "a command is taken apart before rules are asked: name each of its parts",
    ]
