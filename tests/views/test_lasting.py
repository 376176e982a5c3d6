"""What `approve --always` makes of a call: a rule for just that call, or a refusal that says why."""

from __future__ import annotations

import pytest

from reconciler.core.governance.permissions.decide import call, decide
from reconciler.core.keys import Json
from reconciler.errors import Refused
from reconciler.views.lasting import must_allow, rule_for, with_rules
from reconciler.views.permissions import rules_of
from tests.views.doubles import stored

WORK = stored("Task", "work", {"lieutenantRef": {"name": "here"}, "prompt": "p"})


def owner(*allowed: str, default: str = "Ask") -> Json:
    return {"role": "r", "profileRef": {"name": "full"}, "permissions": {"default": default, "allow": [*allowed]}}


def ask(made: str, part: str = "") -> Json:
    return {"call": made, "part": part or made.removeprefix("bash(").removesuffix(")")}


@pytest.mark.guarantee("G-28")
@pytest.mark.parametrize(
    "text", ["rm build/*", "touch a?", "touch [ab]", "touch $X", "touch 'a b'", 'touch "a"', "touch a\\ b", "touch `x`"]
)
def test_a_call_that_is_no_rule_word_for_word_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(Refused, match="word for word") as refused:
        rule_for(ask(f"bash({text})"), "task/work")
    assert "permissions.allow" in str(refused.value.remedy)


@pytest.mark.guarantee("G-28")
@pytest.mark.parametrize(
    ("made", "others"),
    [
        ("write(README.md)", ["write(docs/README.md)", "write(/srv/README.md)"]),
        ("write(./README.md)", ["write(docs/README.md)"]),
        ("edit(src/a.ts)", ["edit(x/src/a.ts)", "edit(src/b.ts)"]),
        ("read(/etc/hosts)", ["read(etc/hosts)", "read(/srv/etc/hosts)"]),
    ],
)
def test_a_rule_about_a_file_allows_that_file_alone(made: str, others: list[str]) -> None:
    own = stored("Lieutenant", "here", owner())
    added = [rule_for(ask(made), "task/work")]
    must_allow(own, [], WORK, [ask(made)], added, "task/work")
    rules = rules_of(stored("Lieutenant", "here", owner(*with_rules(own, added))), [])
    assert rules is not None
    assert decide(rules, *call(made)).verdict.word == "Allow"
    assert [decide(rules, *call(other)).verdict.word for other in others] == ["Ask"] * len(others)


@pytest.mark.guarantee("G-28")
@pytest.mark.parametrize(
    ("made", "part"),
    [
        ("bash(eval x)", "eval x"),  # nobody can tell what it does
        ("bash(touch one && touch two)", "touch one"),  # its other part is still asked about
        ("bash(echo x > out)", "> out"),
        ("write(../x)", ""),
        ("ls(.)", ""),
    ],
)
def test_what_the_new_rule_would_not_allow_is_refused(made: str, part: str) -> None:
    own = stored("Lieutenant", "here", owner())
    added = [rule_for(ask(made, part), "task/work")]
    with pytest.raises(Refused, match="no rule made of"):
        must_allow(own, [], WORK, [ask(made, part)], added, "task/work")


def test_two_parts_of_one_call_are_allowed_together_and_a_rule_is_added_once() -> None:
    own = stored("Lieutenant", "here", owner("bash(touch two)"))
    made = ask("bash(touch one && touch two)", "touch one")
    added = [rule_for(made, "task/work")] * 2
    must_allow(own, [], WORK, [made], added, "task/work")
    assert with_rules(own, added) == ["bash(touch two)", "bash(touch one)"]


def test_a_rule_that_asks_is_not_lifted() -> None:
    with pytest.raises(Refused, match="does not lift it"):
        rule_for({**ask("bash(touch one)"), "rule": "bash(touch *)", "level": "Lieutenant"}, "task/work")
