"""The rules of one agent as data: levels of declared permissions, and what they say about one thing that a call does."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from reconciler.core.keys import Json

Word = Literal["Allow", "Ask", "Deny"]


class Verdict(IntEnum):
    """Rising strictness."""

    ALLOW = 0
    ASK = 1
    DENY = 2

    @property
    def word(self) -> Word:
        words: tuple[Word, ...] = ("Allow", "Ask", "Deny")
        return words[self]


VERDICTS = {"Allow": Verdict.ALLOW, "Ask": Verdict.ASK, "Deny": Verdict.DENY}
_RULE = re.compile(r"([^()]+?)(?:\((.*)\))?", re.S)


@dataclass(frozen=True, slots=True)
class Rule:
    """`tool`: its name, with `*`; `argument`: what stands in the brackets, None when there are none."""

    text: str
    tool: str
    argument: str | None


@dataclass(frozen=True, slots=True)
class Level:
    """What one document declares. `default`: None when it declares none."""

    name: str
    allow: tuple[Rule, ...] = ()
    ask: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()
    default: Verdict | None = None
    ask_may_be_allowed: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """All that decides about the calls of one agent. `tools`: what its model sees, None for all; paths are absolute."""

    levels: tuple[Level, ...]
    tools: tuple[str, ...] | None = None
    work_dir: str = "/root/workspace"
    home: str = "/root"
    guarded: tuple[str, ...] = ()
    """Directories of the guard itself: nothing writes there, whatever is allowed."""

    @property
    def default(self) -> Verdict:
        """For what no rule names: the strictest that is declared, Deny where none is."""
        declared = [level.default for level in self.levels if level.default is not None]
        return max(declared, default=Verdict.DENY)

    def declared(self) -> Json:
        """What is declared, as the keeper takes it; it adds the paths of its own machine."""
        levels: list[Json] = [
            {
                "name": level.name,
                "allow": [rule.text for rule in level.allow],
                "ask": [rule.text for rule in level.ask],
                "deny": [rule.text for rule in level.deny],
                **({"default": level.default.word} if level.default is not None else {}),
                **({"askMayBeAllowed": True} if level.ask_may_be_allowed else {}),
            }
            for level in self.levels
        ]
        return {"levels": [*levels], **({"tools": [*self.tools]} if self.tools is not None else {})}

    @property
    def hash(self) -> str:
        """What names exactly these declared rules."""
        return hash_of(self.declared())


def hash_of(declared: Json) -> str:
    """What names exactly these declared rules; anything else beside them is passed over."""
    named = {name: declared[name] for name in ("levels", "tools") if name in declared}
    text = json.dumps(named, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rule(text: str) -> Rule:
    """Reads `TOOL` or `TOOL(ARGUMENT)`. Raises `ValueError` for anything else."""
    found = _RULE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not TOOL or TOOL(ARGUMENT)")
    argument = found[2]
    return Rule(text.strip(), found[1].strip(), None if argument is None or argument.strip() in ("", "*") else argument.strip())


def level(
    name: str,
    allow: Iterable[str] = (),
    ask: Iterable[str] = (),
    deny: Iterable[str] = (),
    default: str | None = None,
    ask_may_be_allowed: bool = False,
) -> Level:
    """A level from texts. Raises `ValueError` for a text that is no rule."""
    made = [tuple(rule(text) for text in texts) for texts in (allow, ask, deny)]
    return Level(name, made[0], made[1], made[2], VERDICTS[default] if default else None, ask_may_be_allowed)
