"""The rules of an agent from what is declared, and whether the examples in a document hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from reconciler.api.permissions import Permissions
from reconciler.core.governance.permissions.rules import Level, Rules, level
from reconciler.core.keys import task

TASK_LEVEL = task("", "").kind


def level_of(name: str, declared: Permissions) -> Level:
    """One document's rules."""
    default = declared.default.value if declared.default is not None else None
    return level(name, declared.allow, declared.ask, declared.deny, default, declared.ask_may_be_allowed)


def rules_of(levels: Iterable[tuple[str, Permissions | None]], work_dir: str) -> Rules | None:
    """All levels, the highest first; None when no level declares any. Tools: what every level that names some has."""
    declared = [(name, one) for name, one in levels if one is not None and one.model_fields_set != {"agents"}]
    if not declared:
        return None
    seen: tuple[str, ...] | None = None
    for _, one in declared:
        if one.tools:
            seen = tuple(one.tools) if seen is None else tuple(tool for tool in seen if tool in one.tools)
    return Rules(tuple(level_of(name, one) for name, one in declared), seen, work_dir)


def for_task(rules: Rules | None, task: Permissions | None, work_dir: str) -> Rules | None:
    """The rules while a task is worked on; its own level is the lowest."""
    if task is None:
        return rules
    own = level_of(TASK_LEVEL, task)
    if rules is None:
        return Rules((own,), tuple(task.tools) or None, work_dir)
    seen = rules.tools if not task.tools else tuple(t for t in (rules.tools or task.tools) if t in task.tools)
    return replace(rules, levels=(*rules.levels, own), tools=seen)


def unseen(rules: Rules) -> tuple[str, ...]:
    """Tools that a rule denies whole: the model does not see them."""
    return tuple(sorted({rule.tool for level in rules.levels for rule in level.deny if rule.argument is None}))


def waits_for(levels: Iterable[Permissions | None]) -> float:
    """Seconds that a question may wait: the shortest that is declared."""
    return float(min((one.ask_timeout_seconds for one in levels if one is not None), default=600))


def wrong_examples(name: str, declared: Permissions, work_dir: str) -> Iterator[tuple[int, str]]:
    """Number and flaw of each example that the rules of this document answer otherwise."""
    if not declared.examples:
        return
    from reconciler.core.governance.permissions.decide import call, decide

    rules = Rules((level_of(name, declared),), tuple(declared.tools) or None, work_dir)
    for number, example in enumerate(declared.examples):
        answer = decide(rules, *call(example.call))
        if answer.verdict.word != example.expect.value:
            yield number, f"expected {example.expect.value}, and the rules say {answer.told()}; correct the rules or the example"


def never_matching(declared: Permissions) -> Iterator[tuple[str, int, str]]:
    """List, number and reason of each rule that can never decide anything."""
    deny = {rule.tool for rule in level_of("", declared).deny if rule.argument is None}
    named = level_of("", declared)
    lists = (("allow", named.allow), ("ask", named.ask), ("deny", named.deny))
    stricter: set[str] = set()
    for kind, rules in reversed(lists):
        for number, rule in enumerate(rules):
            if kind != "deny" and rule.tool in deny:
                yield kind, number, f"{rule.tool} is denied whole"
            elif rule.text in stricter:
                yield kind, number, "a stricter list has the same rule"
            elif declared.tools and "*" not in rule.tool and rule.tool not in declared.tools and rule.tool not in ("read", "write", "edit"):
                yield kind, number, f"{rule.tool} is not among `tools`"
            elif rule.tool == "bash" and rule.argument and any(sign in rule.argument for sign in (";", "&&", "||", " | ", "$(", "`")):
                yield kind, number, "a command is taken apart before rules are asked: name each of its parts"
        stricter |= {rule.text for rule in rules}
