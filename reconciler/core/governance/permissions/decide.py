"""What the rules say about one call of a tool: Allow, Ask or Deny, by which rule of which level, because of which part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.core.governance.permissions.rules import Level, Rule, Rules, Verdict
from reconciler.core.governance.permissions.subjects import FILES, Hold, Real, Subject, subjects


@dataclass(frozen=True, slots=True)
class Answer:
    """`rule`: its text, or why none decided; `level`: whose it is, '' when no rule decided; `part`: the part of the call."""

    verdict: Verdict
    rule: str
    level: str
    part: str

    def told(self) -> str:
        """In one sentence."""
        by = f"rule {self.rule} of the {self.level}" if self.level else self.rule
        return f"{self.verdict.word}: {by}, because of {self.part}"


def decide(rules: Rules, tool: str, args: Mapping[str, object], real: Real = str) -> Answer:
    """The strictest answer over everything that the call does."""
    if rules.tools is not None and tool not in rules.tools:
        return Answer(Verdict.DENY, f"{tool} is not among its tools", "", tool)
    answers = [_judge(rules, subject) for subject in subjects(rules, tool, args, real)]
    return max(answers, key=lambda answer: answer.verdict)


def call(text: str) -> tuple[str, dict[str, object]]:
    """A call as people write it, such as `bash(git status)` or `write(src/a.ts)`, as tool and arguments."""
    tool, bracket, rest = text.strip().partition("(")
    argument = rest.removesuffix(")") if bracket else ""
    if tool == "bash":
        return tool, {"command": argument}
    name = "path" if tool in FILES else "argument"
    return tool, {name: argument} if argument else {}


def _judge(rules: Rules, subject: Subject) -> Answer:
    if subject.forbidden:
        return Answer(Verdict.DENY, subject.forbidden, "", subject.part)

    def answer(verdict: Verdict, rule: Rule, level: Level) -> Answer:
        return Answer(verdict, rule.text, level.name, subject.part)

    wary = max(rules.default, Verdict.ASK)
    strict: list[Answer] = []
    allowed = [
        (number, answer(Verdict.ALLOW, rule, level))
        for number, level in enumerate(rules.levels)
        for rule in level.allow
        if subject.allows(rule)
    ]
    for number, level in enumerate(rules.levels):
        lifted = level.ask_may_be_allowed and any(at > number for at, _ in allowed)
        for rule in level.deny:
            hold = subject.holds(rule)
            if hold is not Hold.NO:
                strict.append(answer(Verdict.DENY if hold is Hold.YES else wary, rule, level))
        for rule in level.ask:
            hold = subject.holds(rule)
            if hold is not Hold.NO and not lifted:
                strict.append(answer(Verdict.ASK if hold is Hold.YES else wary, rule, level))
    if strict:
        return max(strict, key=lambda one: one.verdict)
    if subject.opaque:
        return Answer(wary, subject.opaque, "", subject.part)
    if allowed:
        return allowed[0][1]
    if subject.bound:
        return Answer(rules.default, "no rule names it, and this is the default", "", subject.part)
    return Answer(Verdict.ALLOW, "nothing forbids it", "", subject.part)
