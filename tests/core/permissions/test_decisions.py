"""What runs, waits or never runs: the table of cases, the forms that get round rules about text, and what developers run all day."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path

import pytest

from reconciler.agent import bootstrap
from reconciler.agent.toolchain import find_toolchain
from reconciler.core.governance.permissions.decide import call, decide
from reconciler.core.governance.permissions.rules import Rules, level, rule
from reconciler.core.governance.permissions.tables import module
from reconciler.errors import Terminal
from tests.core.permissions import table

KEEPER = Path(bootstrap.__file__).parent / "keeper"


@pytest.mark.guarantee("G-28")
@pytest.mark.parametrize(("policy", "made", "expected", "by"), table.TABLE["cases"])
def test_the_strictest_match_over_all_levels_wins(policy: str, made: str, expected: str, by: str) -> None:
    answer = decide(table.rules(policy), *call(made))
    assert answer.verdict.word == expected, answer.told()
    assert by in answer.rule


@pytest.mark.guarantee("G-28")
@pytest.mark.parametrize(
    ("corpus", "policies", "what", "least"),
    [
        ("attacks", ("denylist", "careful"), "get round rules about text", 250),
        ("guard", ("denylist", "guarded"), "reach what guards the agent, whatever else is allowed", 200),
    ],
)
def test_no_form_of_what_is_forbidden_is_allowed(
    corpus: str, policies: tuple[str, ...], what: str, least: int, capsys: pytest.CaptureFixture[str]
) -> None:
    forms = table.commands(corpus)
    allowed = [form for policy in policies for form in forms if _verdict(policy, form) == "Allow"]
    with capsys.disabled():
        print(f"\n{len(forms)} forms that {what}: {len(allowed)} allowed")
    assert len(forms) >= least
    assert not allowed


@pytest.mark.guarantee("G-28")
@pytest.mark.parametrize(
    "command",
    [
        "mv src/* lib",
        "rm -rf dist/* build/*",
        "shopt -s dotglob; mv old/* new",
        "cp -r templates/* .",
        "git clean -fdx",
        "git stash -u && git checkout main",
        "tar xzf release.tgz",
        "cd /tmp && unzip -o a.zip",
        "find . -name '*.pyc' -exec rm {} +",
        "find src -type f -exec sed -i s/a/b/ {} +",
        "ls | xargs -I{} mv {} old/{}",
        "env -C sub npm test",
        "git -C sub checkout .",
    ],
)
def test_what_stays_in_the_work_dir_is_not_taken_for_what_guards_the_agent(command: str) -> None:
    assert _verdict("guarded", command) == "Allow"


@pytest.mark.guarantee("G-28")
def test_where_the_default_is_deny_nothing_is_asked_about_what_cannot_be_known() -> None:
    asked = {form for form in table.commands("attacks") if _verdict("careful", form) == "Ask"}
    assert all("push" in form or "p''ush" in form for form in asked), "only what the rules ask about is asked"


def test_what_developers_run_all_day_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    benign = table.commands("benign")
    wrong = [command for command in benign if _verdict("denylist", command) != "Allow"]
    share = 100 * len(wrong) / len(benign)
    with capsys.disabled():
        print(f"\n{len(benign)} everyday commands: {len(wrong)} asked about or denied ({share:.1f} %)")
    assert len(benign) >= 300
    assert share <= 2, wrong


@functools.cache
def _verdict(policy: str, command: str) -> str:
    return decide(table.rules(policy), "bash", {"command": command}).verdict.word


@pytest.mark.guarantee("G-28")
@pytest.mark.real("node")
def test_the_engine_beside_pi_answers_every_case_alike() -> None:
    try:
        node = find_toolchain(os.environ).node
    except Terminal as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    rules = {name: table.rules(name) for name in table.TABLE["policies"]}
    cases = [(policy, *call(made)) for policy, made, _, _ in table.TABLE["cases"]]
    corpora = [command for name in ("attacks", "guard", "benign") for command in table.commands(name)]
    cases += [(policy, "bash", {"command": command}) for policy in ("denylist", "careful", "consent", "guarded") for command in corpora]
    asked = json.dumps({"policies": {name: {**made.declared(), **_paths(made)} for name, made in rules.items()}, "cases": cases})
    program = [str(node), str(Path(__file__).parent / "answers.mjs"), str(KEEPER)]
    said = json.loads(subprocess.run(program, input=asked, capture_output=True, text=True, check=True).stdout)
    assert said["hashes"] == {name: made.hash for name, made in rules.items()}
    for (policy, tool, args), theirs in zip(cases, said["answers"], strict=True):
        ours = decide(rules[policy], tool, args)
        told = {"verdict": ours.verdict.word, "rule": ours.rule, "level": ours.level, "part": ours.part}
        assert theirs == told, (policy, tool, args)


def _paths(rules: Rules) -> dict[str, object]:
    return {"workDir": rules.work_dir, "home": rules.home, "guarded": list(rules.guarded)}


def test_the_tables_of_both_engines_are_the_same() -> None:
    assert (KEEPER / "guardtables.mjs").read_text() == module()


@pytest.mark.guarantee("G-28")
def test_a_link_is_followed_where_it_is_used() -> None:
    rules = Rules((level("Lieutenant", ["write(docs/**)"], deny=["read(/etc/**)"], default="Allow"),))
    leads = {"/root/workspace/docs/out": "/srv/elsewhere", "/root/workspace/innocent": "/etc/shadow"}

    def real(path: str) -> str:
        return leads.get(path, path)

    assert decide(rules, "bash", {"command": "cat innocent"}, real).verdict.word == "Deny"
    strict = Rules((level("Lieutenant", ["write(docs/**)"], default="Deny"),))
    assert decide(strict, "write", {"path": "docs/out"}, real).verdict.word == "Deny"
    assert decide(strict, "write", {"path": "docs/in"}, real).verdict.word == "Allow"


def test_what_is_too_long_or_too_deep_is_not_guessed_at() -> None:
    assert _verdict("denylist", "echo " + "x" * 20_000) == "Ask"
    assert _verdict("denylist", "(" * 300 + "ls" + ")" * 300) == "Ask"
    assert _verdict("careful", "echo " + "x" * 20_000) == "Deny"


@pytest.mark.parametrize("text", ["", "(x)", "bash(x", "bash)x("])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not TOOL"):
        rule(text)


def test_rules_have_one_name_whatever_their_order_of_fields_and_another_when_they_differ() -> None:
    one = Rules((level("Lieutenant", ["read"], default="Deny"),))
    assert one.hash == Rules((level("Lieutenant", ["read"], default="Deny"),)).hash
    assert one.hash != Rules((level("Lieutenant", ["read"], default="Ask"),)).hash
    assert one.hash != Rules((level("Task", ["read"], default="Deny"),)).hash
