"""Who changed what: one entry for each change that somebody declared or asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from reconciler.core.keys import Json, JsonValue, Key

Door = Literal["command", "page", "api", "file", "cluster", "tree", "controller", "agent"]

LONGEST = 200
"""Characters of one value."""
MOST = 50
"""Changes of one entry; beyond that only their number is told."""
HIDDEN = "(not shown)"
REFUSED = "refused"
WHO = 200


@dataclass(frozen=True, slots=True)
class Actor:
    """`door`: by which way it came in; `who`: the user of a command, what a request over HTTP proved, the file, the tree; '' where that is
    not known."""

    door: Door = "controller"
    who: str = ""

    def claiming(self, by: str) -> Actor:
        """The same, with whom it says to be by its own word, which nothing proves."""
        return replace(self, who=f"{self.who} (says {by})"[:WHO]) if by else self


CONTROLLER = Actor()


@dataclass(frozen=True, slots=True)
class Change:
    """One field. None: it was not there, or is not there any more."""

    path: str
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """`verb`: created, changed, deleted, cancelled, approved, denied, halted, resumed, remembered, refused, or what was asked for by
    annotation."""

    actor: Actor
    verb: str
    key: Key
    uid: str = ""
    changes: tuple[Change, ...] = ()
    at: float = 0.0


def changes(before: Json, after: Json) -> tuple[Change, ...]:
    """Every field in which two specs differ, in order of their paths; values bounded, and those that may be secret left out."""
    old, new = dict(_leaves(before, "")), dict(_leaves(after, ""))
    paths = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    found = tuple(Change(path, _shown(path, old.get(path)), _shown(path, new.get(path))) for path in paths[:MOST])
    more = len(paths) - len(found)
    return (*found, Change(f"and {more} more")) if more else found


def refused(what: str, told: str, rule: str = "", level: str = "") -> tuple[Change, ...]:
    """What was tried and not done, as an entry has it: what, and the rule with its level that refused it."""
    found = {what: told, "rule": rule, "level": level}
    return tuple(Change(name, None, value if len(value) <= LONGEST else f"{value[:LONGEST]}…") for name, value in found.items() if value)


def verb_of(before: Json, after: Json, default: str) -> str:
    """What a change means, in the words of people: `cancel` and `approvals` are a task's."""
    differ = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    if not before:
        return default
    if differ == {"cancel"} and after.get("cancel") is True:
        return "cancelled"
    if differ == {"approvals"}:
        answers = {str(one.get("decision")) for one in _new(before.get("approvals"), after.get("approvals"))}
        return "denied" if answers == {"Deny"} else "approved" if answers == {"Approve"} else "answered"
    return default


def _new(before: JsonValue, after: JsonValue) -> Iterator[Json]:
    known = before if isinstance(before, list) else []
    for one in after if isinstance(after, list) else []:
        if isinstance(one, dict) and one not in known:
            yield one


def _leaves(value: JsonValue, at: str) -> Iterator[tuple[str, str]]:
    """Every value with its path; items of lists by their name where they have one."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{at}.{name}" if at else name)
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            named = isinstance(inner, dict) and isinstance(inner.get("name"), str)
            yield from _leaves(inner, f"{at}[{inner['name'] if named and isinstance(inner, dict) else number}]")
    elif at:
        yield at, value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _shown(path: str, value: str | None) -> str | None:
    """A variable's value and the content of a file may be what should have been a secret."""
    if value is None:
        return None
    if "env[" in path or path.endswith(".content"):
        return HIDDEN
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
