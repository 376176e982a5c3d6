"""JSON text to located documents: the grammar of RFC 8259, with positions, which the standard reader does not give."""

from __future__ import annotations

import json
import re
from bisect import bisect_right

from reconciler.core.keys import Json, JsonValue
from reconciler.sources.documents.located import MAX_DEPTH, MAX_VALUES, Flaw, Located, Mark, Path

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,39})(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,3})?(?![0-9.eE+-])")
_WORDS: dict[str, JsonValue] = {"true": True, "false": False, "null": None}


def load(text: str) -> Located:
    """One JSON document → its value with positions. Never raises: what is wrong with the text is in `flaws`."""
    found = Located()
    reader = _Reader(text, found)
    try:
        reader.run()
    except _Stop as stop:
        found.stop(Flaw(reader.mark(stop.at), stop.path, stop.message))
    return found


class _Stop(Exception):
    """The text is not JSON from offset `at` on."""

    def __init__(self, at: int, path: Path, message: str) -> None:
        super().__init__(message)
        self.at, self.path, self.message = at, path, message


class _Reader:
    def __init__(self, text: str, found: Located) -> None:
        self._text = text
        self._found = found
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self._at = 0
        self._values = 0

    def mark(self, offset: int) -> Mark:
        line = bisect_right(self._lines, offset)
        return Mark(line, offset - self._lines[line - 1] + 1)

    def run(self) -> None:
        self._skip()
        self._found.start = self.mark(self._at)
        self._found.value = self._value((), 0)
        self._skip()
        if self._at < len(self._text):
            raise _Stop(self._at, (), "is not JSON: text after the end of the document; put several into a List")

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _value(self, path: Path, depth: int) -> JsonValue:
        self._values += 1
        if depth > MAX_DEPTH:
            raise _Stop(self._at, path, f"nested deeper than {MAX_DEPTH} levels; flatten it")
        if self._values > MAX_VALUES:
            raise _Stop(self._at, path, f"more than {MAX_VALUES} values in one document; split it")
        head = self._text[self._at : self._at + 1]
        if head == "{":
            return self._map(path, depth)
        if head == "[":
            return self._list(path, depth)
        if head == '"':
            return self._string(path)
        for word, value in _WORDS.items():
            if self._text.startswith(word, self._at):
                self._at += len(word)
                return value
        if match := _NUMBER.match(self._text, self._at):
            self._at = match.end()
            return float(match[0]) if match[1] or match[2] else int(match[0])
        raise _Stop(self._at, path, f"is not JSON: a value must stand here{_tip(head)}; correct the text")

    def _string(self, path: Path) -> str:
        match = _STRING.match(self._text, self._at)
        if match is None:
            raise _Stop(self._at, path, "is not JSON: this string is not closed on its line or has a bad escape; correct it")
        self._at = match.end()
        read = json.loads(match[0])
        assert isinstance(read, str)
        return read

    def _list(self, path: Path, depth: int) -> list[JsonValue]:
        items: list[JsonValue] = []
        self._at += 1
        self._skip()
        while not self._closed("]"):
            at = (*path, len(items))
            self._found.marks[at] = self.mark(self._at)
            items.append(self._value(at, depth + 1))
            self._between("]", path)
        return items

    def _map(self, path: Path, depth: int) -> Json:
        found: Json = {}
        self._at += 1
        self._skip()
        while not self._closed("}"):
            begin = self._at
            if self._text[begin : begin + 1] != '"':
                raise _Stop(begin, path, "is not JSON: a key in double quotes must stand here; correct the text")
            key = self._string(path)
            at = (*path, key)
            self._skip()
            if self._text[self._at : self._at + 1] != ":":
                raise _Stop(self._at, at, "is not JSON: `:` must stand here; add it")
            self._at += 1
            self._skip()
            if key in found:
                text = "duplicate key, given further up in the same map already; keep one of the two"
                self._found.flaws.append(Flaw(self.mark(begin), at, text))
                self._value((*path, f"{key} (again)"), depth + 1)
            else:
                self._found.marks[at] = self.mark(begin)
                found[key] = self._value(at, depth + 1)
            self._between("}", path)
        return found

    def _closed(self, end: str) -> bool:
        if self._text[self._at : self._at + 1] == end:
            self._at += 1
            return True
        return False

    def _between(self, end: str, path: Path) -> None:
        self._skip()
        here = self._text[self._at : self._at + 1]
        if here == ",":
            self._at += 1
            self._skip()
            if self._text[self._at : self._at + 1] == end:
                raise _Stop(self._at, path, f"is not JSON: a `,` before `{end}`; remove it")
        elif here != end:
            raise _Stop(self._at, path, f"is not JSON: `,` or `{end}` must stand here; add it")


def _tip(head: str) -> str:
    return {
        "'": " (JSON strings have double quotes)",
        "": " (the text ends too early)",
        "#": " (JSON has no comments)",
        "/": " (JSON has no comments)",
    }.get(head, "")
