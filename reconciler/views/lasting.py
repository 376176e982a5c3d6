"""The rule that allows a call of a tool from now on, just as it was made: never more than that call, or none."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import replace

from reconciler.core.governance.permissions.decide import call, decide
from reconciler.core.governance.permissions.rules import Verdict
from reconciler.core.governance.permissions.subjects import FILES
from reconciler.core.keys import Json, as_map
from reconciler.engine.ports import StoredObject
from reconciler.errors import Refused
from reconciler.views.permissions import rules_of

_SIGNS = "'\"*?[$\\`"
_REMEDY = "this one call was approved; write the rule that you mean under permissions.allow"


def rule_for(ask: Json, where: str) -> str:
    """The rule for a call that waits. Raises `Refused` where a rule that asks would hold all the same, and where the text as a pattern
    would mean more than the call, or nothing."""
    if ask.get("level"):
        told = f"the rule {ask.get('rule')} of the {ask.get('level')} asks, and an allow beside it does not lift it"
        raise Refused(told, where, "this one call was approved; narrow that rule to allow the same from now on")
    made, part = str(ask.get("call", "")), str(ask.get("part", ""))
    tool, args = call(made)
    text = part if tool == "bash" else str(next(iter(args.values()), ""))
    signs = [sign for sign in _SIGNS if sign in text]
    if signs or not text.strip():
        what = (
            f"has {' and '.join(signs)} in it, which a rule can't say word for word"
            if signs
            else "names nothing that a rule could be about"
        )
        raise Refused(f"{tool}({text}) {what}", where, _REMEDY)
    return f"{tool}({_only(text) if tool in FILES else text})"


def _only(path: str) -> str:
    """The path as a pattern of this one file: a bare name would be meant at any depth."""
    normal = posixpath.normpath(path.strip())
    return normal if "/" in normal else f"./{normal}"


def with_rules(own: StoredObject, added: Sequence[str]) -> list[str]:
    """What the lieutenant allows once these rules are added."""
    allowed = as_map(own.spec.get("permissions")).get("allow")
    before = [str(one) for one in allowed] if isinstance(allowed, list) else []
    return [*before, *(rule for rule in dict.fromkeys(added) if rule not in before)]


def must_allow(
    own: StoredObject, profiles: Iterable[StoredObject], work: StoredObject, asks: Sequence[Json], added: Sequence[str], where: str
) -> None:
    """Raises `Refused` unless each of these very calls is allowed once the rules are added to the lieutenant."""
    permissions: Json = {**as_map(own.spec.get("permissions")), "allow": [*with_rules(own, added)]}
    rules = rules_of(replace(own, spec={**own.spec, "permissions": permissions}), profiles, work)
    for ask in asks:
        made = str(ask.get("call", ""))
        answer = decide(rules, *call(made)) if rules is not None else None
        if answer is not None and answer.verdict is not Verdict.ALLOW:
            raise Refused(f"no rule made of {made} would allow it: {answer.told()}", where, _REMEDY)
