"""Texts that are known in part, and whether a pattern covers them.

A text is a string in which a few characters stand for what is not known before it runs: what a variable holds, which file a glob
finds. Patterns of rules use the same characters. So there are two questions: does the pattern hold for *every* text that this may
become (an allow needs that), and may it hold for *one* (a denial is wary of that)."""

from __future__ import annotations

ANY, SEGMENT, ONE, SEP, VISIBLE = "\ue000", "\ue001", "\ue002", "\ue003", "\ue004"
"""Anything at all; anything within one segment of a path; one character of a segment; the border between two words; one
character of a segment that is no dot."""
SPECIAL = frozenset((ANY, SEGMENT, ONE, SEP, VISIBLE))
_STARS = frozenset((ANY, SEGMENT))
_BORDERS = frozenset(("/", SEP))


def certain(pattern: str, text: str) -> bool:
    """The pattern holds whatever the unknown parts of the text turn out to be."""
    return _walk(pattern, text, certainly=True)


def possible(pattern: str, text: str) -> bool:
    """There is a text that this may become and that the pattern holds for."""
    return _walk(pattern, text, certainly=False)


def _walk(pattern: str, text: str, certainly: bool) -> bool:
    states = _closed(pattern, {0})
    for token in text:
        states = _step(pattern, states, token, certainly)
        if not states:
            return False
        states = _closed(pattern, states)
    return len(pattern) in states


def _closed(pattern: str, states: set[int]) -> set[int]:
    """With all states that follow by a star that holds nothing."""
    found = set(states)
    for state in states:
        at = state
        while at < len(pattern) and pattern[at] in _STARS:
            at += 1
            found.add(at)
    return found


def _step(pattern: str, states: set[int], token: str, certainly: bool) -> set[int]:
    after: set[int] = set()
    for state in states:
        if token in _STARS:
            if certainly:
                if state < len(pattern) and _takes(pattern[state], token):
                    after.add(state)
                continue
            at = state
            after.add(at)
            while at < len(pattern) and (pattern[at] in _STARS or _takes(token, pattern[at])):
                at += 1
                after.add(at)
        elif state < len(pattern):
            own = pattern[state]
            if own in _STARS and _takes(own, token):
                after.add(state)
            elif own == token or _one(own, token, certainly):
                after.add(state + 1)
    return after


def _takes(star: str, token: str) -> bool:
    return star == ANY or (star == SEGMENT and token != ANY and token not in _BORDERS)


def _one(own: str, token: str, certainly: bool) -> bool:
    if own == ONE:
        return token not in _BORDERS
    if certainly or own in _BORDERS:
        return False
    return token == ONE or (token == VISIBLE and own != ".")


def plain(text: str) -> bool:
    """Nothing of the text is unknown."""
    return not any(token in SPECIAL and token != SEP for token in text)


def shown(text: str) -> str:
    """The text for people."""
    return text.replace(ANY, "…").replace(SEGMENT, "*").replace(ONE, "?").replace(VISIBLE, "?").replace(SEP, " ")


def of_command(argument: str) -> str:
    """The pattern of a rule about words: `*` is anything, a space the border of two words, and a last ` *` may be nothing."""
    return SEP.join(argument.split()).replace("*", ANY)


def of_path(argument: str, work_dir: str, home: str, anywhere: bool) -> tuple[str, ...]:
    """The patterns of a rule about a path, in the syntax of gitignore: without a slash at any depth, else from the work dir; `/…` from
    the root, `~/…` from the home. What is below a directory that it names is meant too. `anywhere`: what is meant at any depth is meant
    outside of the work dir too."""
    text = argument.strip().rstrip("/") or "/"
    base = "" if anywhere else work_dir.rstrip("/")
    heads: tuple[str, ...]
    if text == "~" or text.startswith("~/"):
        heads, text = (home.rstrip("/") + "/",), text[2:]
    elif text.startswith("/"):
        heads, text = ("/",), text[1:]
    elif text.startswith("**/"):
        heads, text = (base + "/", base + "/" + ANY + "/"), text[3:]
    elif "/" in text:
        heads, text = (work_dir.rstrip("/") + "/",), text.removeprefix("./")
    else:
        heads = (base + "/", base + "/" + ANY + "/")
    bodies = _bodies(text)
    found = [head + body for head in heads for body in bodies] if text else [heads[0].rstrip("/") or "/"]
    return tuple(dict.fromkeys([*found, *(one.rstrip("/") + "/" + ANY for one in found if not one.endswith("/" + ANY))]))


def _bodies(text: str) -> list[str]:
    """`**` as one or no directory, `*` and `?` within a segment."""
    made = [""]
    parts = text.split("/")
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            made = [one + ANY + ("" if last else "/") for one in made] + ([] if last else made)
        else:
            piece = part.replace("*", SEGMENT).replace("?", ONE)
            made = [one + piece + ("" if last else "/") for one in made]
    return made[:64]
