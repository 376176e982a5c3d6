"""Text of agents, platforms and files as a terminal may have it: everything that is not seen, or that a terminal obeys, is written out."""

from __future__ import annotations

import json
import re

_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef"
"""Letters and marks that show nothing, although they count as printable."""
_BLANKS = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
"""Blanks of other widths: seen as what they are."""
_ODD = re.compile(f"[^\\x20-\\x7e\\xa1-\\xac\\xae-\\u02ff{_BLANKS}]")
"""What has to be looked at more closely."""
_ALWAYS = re.compile(f"[{_INVISIBLE}]")
_BLANK = re.compile(f"[{_BLANKS}]")
_PICTURE = 0x2190
"""Arrows, and beyond them the signs and pictures whose look a selector or joiner changes."""


def visible(text: str) -> str:
    """The text, its lines kept; control characters, bidirectional controls and invisible characters as `\\x1b`, `\\u202e`. What joins or
    colours pictures (emoji) stays where it does so."""
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return _ODD.sub(lambda found: _shown(text, found.start()), text)


def one_line(text: str) -> str:
    """The same on one line: line ends and tabs become blanks."""
    return visible(re.sub(r"[\r\n\t]+", " ", text)).strip()


def in_json(text: str) -> str:
    """JSON (of one or many lines) that means the same, with such characters as JSON writes them."""
    return _ODD.sub(lambda found: json.dumps(found[0])[1:-1] if hidden(found[0]) and found[0] != "\n" else found[0], text)


def hidden(char: str) -> bool:
    """Whether a character shows nothing, or is obeyed instead of shown."""
    return not (char.isprintable() or _BLANK.match(char)) or _ALWAYS.match(char) is not None


def _shown(text: str, at: int) -> str:
    char = text[at]
    if char in "\n\t" or not hidden(char) or _joins(text, at):
        return char
    return escaped(char)


def escaped(char: str) -> str:
    """As Python and JSON write it."""
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _joins(text: str, at: int) -> bool:
    """A selector right behind a picture, or a joiner between two."""
    char, before, behind = text[at], text[at - 1 : at] if at else "", text[at + 1 : at + 2]
    if char in "\ufe0e\ufe0f":
        return _picture(before)
    return char == "\u200d" and _picture(behind) and (_picture(before) or before == "\ufe0f")


def _picture(char: str) -> bool:
    return bool(char) and ord(char) >= _PICTURE and not char.isalnum() and not hidden(char)
