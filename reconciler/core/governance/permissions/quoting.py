"""How bash takes quotes and backslashes away."""

from __future__ import annotations

import re
from typing import Final

from reconciler.core.governance.permissions.patterns import ANY, ONE, SEGMENT, VISIBLE

_ANSI: Final = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{1,4}|U[0-9A-Fa-f]{1,8}|[0-7]{1,3}|c.|.)", re.S)
_LETTERS: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v"}


def ansi_c(text: str) -> str:
    """What stands between `$'` and `'`. What is no plain character is not known."""

    def one(found: re.Match[str]) -> str:
        told = found[1]
        if told[0] in "xuU" and len(told) > 1:
            code = int(told[1:], 16)
        elif told[0] in "01234567":
            code = int(told, 8) & 255
        elif told[0] == "c" and len(told) > 1:
            return ANY
        else:
            return _LETTERS.get(told, told)
        return chr(code) if 32 <= code < 127 else ANY

    return _ANSI.sub(one, text)


def in_double_quotes(text: str) -> str:
    return re.sub(r'\\([$`"\\]|\n)', lambda found: "" if found[1] == "\n" else found[1], text)


def unquoted(text: str, home: str) -> str:
    """A bare word: backslashes taken away, globs as unknown parts, a leading `~` as the home."""
    made, at = "", 0
    if text == "~" or text.startswith("~/"):
        made, at = home, 1
    elif text.startswith("~"):
        return ANY
    while at < len(text):
        char = text[at]
        if char == "\\":
            made += "" if text[at + 1 : at + 2] == "\n" else text[at + 1 : at + 2]
            at += 2
            continue
        if char == "[":
            end = text.find("]", at + 2)
            if end != -1:
                made, at = made + ONE, end + 1
                continue
        starts = not made or made.endswith("/")
        made += (VISIBLE + SEGMENT if starts else SEGMENT) if char == "*" else ONE if char == "?" else char
        at += 1
    outer = re.sub(r"\\.", "", text)
    if "{" in outer and ("," in outer or ".." in outer):
        return made[: made.find("{")] + ANY
    return made
