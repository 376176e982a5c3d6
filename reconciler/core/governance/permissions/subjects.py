"""The things that a call of a tool does, each as something that a rule may hold for."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from reconciler.core.governance.permissions import shell
from reconciler.core.governance.permissions.acts import Act
from reconciler.core.governance.permissions.paths import absolute, candidates, readings
from reconciler.core.governance.permissions.patterns import ANY, ONE, SEGMENT, SEP, VISIBLE, certain, of_command, of_path, possible
from reconciler.core.governance.permissions.rules import Rule, Rules
from reconciler.core.governance.permissions.variables import HARMLESS

FILES: Final = ("read", "write", "edit", "ls", "grep", "find")
Real = Callable[[str], str]
"""Where a path leads once symbolic links are followed; the path itself where nobody can look."""
_STANDARD: Final = ("/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin")
_GUARD: Final = "these files belong to the guard itself"


class Hold(Enum):
    """Whether a rule holds: `MAYBE`, when that depends on what is not known before the call runs."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """`part`: where it stands in the call. `holds`: asked for denials and asks, `allows`: for allows. `bound`: it needs an allow, or a
    default that is one. `opaque`: why nobody can tell what it does, `forbidden`: why it never runs; '' for neither."""

    part: str
    holds: Callable[[Rule], Hold]
    allows: Callable[[Rule], bool]
    bound: bool = True
    opaque: str = ""
    forbidden: str = ""


def _never(_: Rule) -> Hold:
    return Hold.NO


def _no(_: Rule) -> bool:
    return False


def _hold(sure: bool, maybe: bool) -> Hold:
    return Hold.YES if sure else Hold.MAYBE if maybe else Hold.NO


def _named(rule: Rule, tool: str) -> bool:
    return certain(rule.tool.replace("*", ANY), tool)


def subjects(rules: Rules, tool: str, args: Mapping[str, object], real: Real) -> Iterator[Subject]:
    """All that the rules are asked about; at least one."""
    if tool == "bash":
        yield from _of_bash(rules, args.get("command"), real)
    elif tool in FILES:
        yield from _of_tool(rules, tool, args, real)
    else:
        told = json.dumps(args, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        texts = [told, *(value for value in args.values() if isinstance(value, str))]

        def names(rule: Rule) -> bool:
            return _named(rule, tool) and (rule.argument is None or any(certain(rule.argument.replace("*", ANY), text) for text in texts))

        yield Subject(f"{tool}({told[:200]})", lambda rule: _hold(names(rule), False), names)


# --- commands -------------------------------------------------------------------------------------------------------------------------


def _of_bash(rules: Rules, command: object, real: Real) -> Iterator[Subject]:
    acts = shell.read(command, rules.work_dir, rules.home) if isinstance(command, str) else []
    if not acts:  # nothing, an assignment or a comment
        yield Subject(str(command)[:200], lambda rule: _hold(_named(rule, "bash") and rule.argument is None, False), _no, bound=False)
    for act in acts:
        if act.kind in ("read", "write"):
            for one in readings(act.text):
                place = absolute(one, act.cwd or rules.work_dir, rules.home)
                yield from (
                    _of_file(rules, "write", place, act.part, real)
                    if act.kind == "write"
                    else _mention(rules, place, False, act.part, real)
                )
        else:
            yield from _of_run(rules, act, real)


def _of_run(rules: Rules, act: Act, real: Real) -> Iterator[Subject]:
    name, sep, rest = act.text.partition(SEP)
    base = posixpath.basename(name)
    variants = [act.text] if base == name else [act.text, base + sep + rest]
    installed = base + sep + rest if posixpath.dirname(name) in _STANDARD else act.text
    words = act.text.split(SEP)
    inline = SEP.join(words[: act.inline]) if act.inline else ""
    foreign = any(not re.fullmatch(HARMLESS, variable) for variable in act.names)
    known = act.kind == "run" or bool(act.text)

    def holds(rule: Rule) -> Hold:
        if not _named(rule, "bash"):
            return Hold.NO
        if rule.argument is None:
            return Hold.YES
        if not known:
            return Hold.NO
        argument = rule.argument
        return _hold(any(_words(certain, argument, one) for one in variants), any(_words(possible, argument, one) for one in variants))

    def allows(rule: Rule) -> bool:
        """An allow does not look past variables that may change what runs, nor past another program of the same name; of code given as
        an argument it must name program and option."""
        if not _named(rule, "bash") or act.kind == "opaque":
            return False
        if rule.argument is None:
            return not inline
        if foreign or not _words(certain, rule.argument, installed):
            return False
        return not inline or rule.argument.split("*")[0].strip().replace(" ", SEP).startswith(inline)

    opaque = act.why if act.kind == "opaque" else ""
    if inline and not any(allows(rule) for level in rules.levels for rule in level.allow):
        opaque = f"{words[0]} runs code that is not followed"
    yield Subject(act.part, holds, allows, not act.strict, opaque)
    if any(_perhaps(place, rules) for place in _reached(act, rules)):
        yield Subject(act.part, _never, _no, bound=False, opaque=f"perhaps {_GUARD}")
    for one in dict.fromkeys(read for word in act.files for found in candidates(word) for read in readings(found)):
        yield from _mention(rules, absolute(one, act.cwd or rules.work_dir, rules.home), act.mutates, act.part, real)


def _reached(act: Act, rules: Rules) -> Iterator[str]:
    """What it may change without naming it, as far as it is known where that begins."""
    cwd = act.cwd or rules.work_dir
    for one in act.reach:
        if not one.startswith(ANY) and (one.startswith("/") or not cwd.startswith(ANY)):
            yield "/" + absolute(one, cwd, rules.home).removeprefix("/")


def _words(question: Callable[[str, str], bool], argument: str, text: str) -> bool:
    """A rule about words; a last ` *` may be nothing."""
    pattern = of_command(argument)
    return question(pattern, text) or (pattern.endswith(SEP + ANY) and question(pattern[:-2], text))


# --- files ----------------------------------------------------------------------------------------------------------------------------


def _of_tool(rules: Rules, tool: str, args: Mapping[str, object], real: Real) -> Iterator[Subject]:
    path = args.get("path", args.get("file_path"))
    place = absolute(path if isinstance(path, str) and path else ".", rules.work_dir, rules.home)
    yield from _of_file(rules, tool, place, f"{tool}({path or ''})", real)
    for name in {"grep": ("glob",), "find": ("pattern",)}.get(tool, ()):
        value = args.get(name)
        if isinstance(value, str):
            below = value.removeprefix("**/").replace("**", ANY).replace("*", SEGMENT).replace("?", ONE)
            for one in (f"{place}/{below}", f"{place}/{ANY}/{below}"):
                yield from _mention(rules, one, False, f"{tool}({value})", real)


def _of_file(rules: Rules, tool: str, place: str, part: str, real: Real) -> Iterator[Subject]:
    """A file that a tool or a redirect opens: an allow must hold for the path as written and for where it leads, a denial for one."""
    places = _both(place, rules, real)
    writes = tool in ("write", "edit")
    family = ("write", "edit") if writes else (tool, "read")

    def holds(rule: Rule) -> Hold:
        if rule.argument is None:
            return _hold(_named(rule, tool), False)
        return _path(rule, places, rules) if any(_named(rule, one) for one in family) else Hold.NO

    def allows(rule: Rule) -> bool:
        if not _named(rule, tool):
            return False
        return rule.argument is None or all(_holds(certain, rule, one, rules, anywhere=False) for one in places)

    guarded = writes and any(_guarded(certain, one, rules) for one in places)
    unsure = writes and any(_guarded(possible, _dotted(one), rules) for one in places)
    yield Subject(part, holds, allows, opaque=f"perhaps {_GUARD}" if unsure else "", forbidden=_GUARD if guarded else "")


def _mention(rules: Rules, place: str, mutates: bool, part: str, real: Real) -> Iterator[Subject]:
    """A path among the words of a command: denials and asks of the files that it names hold there too."""
    places = _both(place, rules, real)
    tools = ("read", "write", "edit") if mutates else ("read",)
    if mutates and any(_guarded(certain, one, rules) or _above(certain, one, rules) for one in places):
        yield Subject(part, _never, _no, forbidden=_GUARD)
    elif mutates and any(_perhaps(one, rules) for one in places):
        yield Subject(part, _never, _no, bound=False, opaque=f"perhaps {_GUARD}")

    def holds(rule: Rule) -> Hold:
        if rule.argument is None or not any(_named(rule, tool) for tool in tools):
            return Hold.NO
        return _path(rule, places, rules)

    if any(holds(rule) is not Hold.NO for level in rules.levels for rule in (*level.deny, *level.ask)):
        yield Subject(part, holds, _no, bound=False)


def _both(place: str, rules: Rules, real: Real) -> tuple[str, ...]:
    return tuple(dict.fromkeys((place, absolute(real(place), "/", rules.home))))


def _guarded(question: Callable[[str, str], bool], place: str, rules: Rules) -> bool:
    return any(question(one.rstrip("/") + "/" + ANY, place) or question(one, place) for one in rules.guarded)


def _above(question: Callable[[str, str], bool], place: str, rules: Rules) -> bool:
    """The place is a directory that a guarded one lies in: who moves or links it moves or links that too."""
    return any(question(one[:at] or "/", place) for one in rules.guarded for at, char in enumerate(one.rstrip("/")) if char == "/")


def _perhaps(place: str, rules: Rules) -> bool:
    """A place that is known in part, as a glob is, may be the guard's. One of which not even the start is known may be where its end is the
    guard's, as in `$X/.pi` or `$X/*`; where nothing of it is known that is not asked about."""
    place = _dotted(place)
    if not place.startswith(ANY):
        return _guarded(possible, place, rules) or _above(possible, place, rules)
    return place.startswith(f"{ANY}/") and (any(possible(one, place) for one in rules.guarded) or _above(possible, place, rules))


def _dotted(place: str) -> str:
    """With a `*` that may be a name that begins with a dot: whether it is one is up to an option of the shell (`dotglob`)."""
    return place.replace(VISIBLE, ONE)


def _path(rule: Rule, places: tuple[str, ...], rules: Rules) -> Hold:
    return _hold(
        any(_holds(certain, rule, one, rules, anywhere=True) for one in places),
        any(_holds(possible, rule, one, rules, anywhere=True) for one in places),
    )


def _holds(question: Callable[[str, str], bool], rule: Rule, place: str, rules: Rules, anywhere: bool) -> bool:
    argument = rule.argument or "**"
    return any(question(pattern, place) for pattern in of_path(argument, rules.work_dir, rules.home, anywhere))
