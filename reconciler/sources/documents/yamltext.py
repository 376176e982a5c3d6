"""YAML text to located documents, with scalars read as kubectl reads them and every ambiguity remembered.

The parser's events are used, not its constructors: those lose positions, let duplicate keys pass and know only one of the two
YAML versions in use.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from reconciler.api.yamlwriter import FALSE_11, TRUE_11
from reconciler.core.keys import Json, JsonValue
from reconciler.sources.documents.located import MAX_DEPTH, MAX_VALUES, Flaw, Located, Mark, Path, Trap

_BREAK = re.compile(r"^(?:---|\.\.\.)(?=\s|$)", re.MULTILINE)
_HOLLOW = re.compile(r"\A(?:[ \t\r]*(?:#.*)?(?:\n|\Z))*\Z")
_DIRECTIVE = re.compile(r"^%.*$", re.MULTILINE)

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
WORDS = _NULL | _TRUE | _FALSE | TRUE_11 | FALSE_11
NUMBERS_BEGIN = "+-.0123456789"
"""What is none of the words, and does not begin like a number, is text."""
_INT = re.compile(r"[-+]?(?:0b[01]+|0x[0-9a-fA-F]+|0o[0-7]+|[0-9]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_NOT_JSON = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")

_BREAKS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_TAG_AHEAD = re.compile(r"(?<![^\s\[{,])!\S*(?:\s|#.*\n)*\Z")
_FAST = getattr(yaml, "CLoader", None)
"""libyaml, from which kubectl's own parser was made: ten times faster, and PyYAML has it everywhere that it has wheels for."""
_TAG = "tag:yaml.org,2002:"


class _Kind(Enum):
    """What an event is, by the name that both parsers give it."""

    DOCUMENT = "DocumentStartEvent"
    ALIAS = "AliasEvent"
    SCALAR = "ScalarEvent"
    LIST, LIST_END = "SequenceStartEvent", "SequenceEndEvent"
    MAP, MAP_END = "MappingStartEvent", "MappingEndEvent"


_KINDS = {kind.value: kind for kind in _Kind}
_NODES = frozenset({_Kind.ALIAS, _Kind.SCALAR, _Kind.LIST, _Kind.MAP})


class _Event(NamedTuple):
    """One event of a parser. `plain`: a scalar that is neither quoted nor a block; `anchor`, `tag`: '' where there is none."""

    kind: _Kind
    value: str
    plain: bool
    tag: str
    anchor: str
    mark: Mark


def split(text: str) -> list[tuple[int, str]]:
    """The documents of a stream, unparsed: (lines before it, its text). A marker in the first column always ends a document,
    so one that can't be parsed never takes the next one with it. Documents of nothing but comments are left out."""
    found: list[tuple[int, str]] = []
    begin, lines = 0, 0
    for match in [*_BREAK.finditer(text), None]:
        end = match.start() if match else len(text)
        chunk = text[begin:end]
        hollow = _DIRECTIVE.sub("", chunk)
        if _HOLLOW.match(hollow[3:] if begin else hollow) is None:
            found.append((lines, chunk))
        lines += chunk.count("\n")
        begin = end
    return found


@dataclass(slots=True)
class Patience:
    """How many characters the slow parser may still read: three seconds of it are one million."""

    left: int = 1 << 20


def load(text: str, patience: Patience | None = None) -> Located:
    """One document → its value with positions. Never raises: what is wrong with the text is in `flaws`. `patience`: shared by texts that
    are read one after the other."""
    patience = patience if patience is not None else Patience()
    found = Located()
    if _FAST is not None:
        # What libyaml refuses is read once more by the parser whose messages name the place as people see it, unless that takes too long.
        try:
            read = _build(yaml.parse(text, Loader=_FAST))
            if not isinstance(read.value, str) or len(text) > patience.left:
                return read  # else all of it is one text, and of a block that is not indented libyaml takes lines for comments
        except yaml.YAMLError as error:
            if len(text) > patience.left:
                found.stop(_flaw(text, error))
                return found
        except UnicodeEncodeError:  # half of a pair of code units
            pass
    patience.left -= len(text)
    try:
        # A parser of our own per text: it keeps state.
        return _build(YAML(typ="safe", pure=True).parse(text), text)
    except YAMLError as error:
        found.stop(_flaw(text, error))
    return found


def _build(events: Iterable[object], text: str = "") -> Located:
    """The events of one document → its value. `text`: see `_event`. They are taken one by one and no further than the first that stops the
    reading: the time a parser takes for what is nested grows with the square of its depth, which is bounded here and not by the parser."""
    found = Located()
    try:
        _Builder((one for one in (_event(event, text) for event in events) if one is not None), found).run()
    except _Stop as stop:
        found.stop(stop.flaw)
    return found


def resolve(text: str) -> tuple[JsonValue, Trap | None]:
    """A plain scalar → what kubectl sends for it, and why that may surprise. Raises ValueError for what JSON can't carry."""
    if text in _NULL:
        return None, None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE, None
    if text in TRUE_11 or text in FALSE_11:
        return text in TRUE_11, Trap.BOOLEAN
    if text[0] not in NUMBERS_BEGIN:
        return text, None
    if _NOT_JSON.match(text):
        raise ValueError(text)
    if _BASE_60.match(text):
        return text, Trap.SEXAGESIMAL
    digits = text.replace("_", "")
    trap = Trap.UNDERSCORE if digits != text else None
    if _INT.match(digits):
        bare = digits.lstrip("+-")
        if len(bare) > 1 and bare[0] == "0" and bare.isdigit():
            return (int(digits, 8) if set(bare) <= set("01234567") else int(digits)), Trap.OCTAL
        # More digits than an integer of the API can have: no need to compute with them.
        return (int(digits, 0) if len(bare) <= 40 else text), trap
    if _FLOAT.match(digits):
        number = float(digits)
        if math.isinf(number):
            raise ValueError(text)
        return number, trap
    return text, None


class _Stop(Exception):
    """The document can't be read further."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.message)
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class _Known:
    """An anchored value and how many values it holds."""

    value: JsonValue
    size: int


class _Builder:
    def __init__(self, events: Iterator[_Event], found: Located) -> None:
        self._events = events
        self._found = found
        self._anchors: dict[str, _Known] = {}
        self._values = 0

    def run(self) -> None:
        documents = 0
        for event in self._events:
            if event.kind is _Kind.DOCUMENT:
                documents += 1
            elif event.kind in _NODES and documents == 1:
                self._found.start = event.mark
                self._found.value = self._value(event, (), 0)
            elif event.kind in _NODES:
                raise self._stop(event, (), "a second document begins without a `---` line; add one")

    def _stop(self, event: _Event, path: Path, message: str) -> _Stop:
        return _Stop(Flaw(event.mark, path, message))

    def _flaw(self, event: _Event, path: Path, message: str) -> None:
        self._found.flaws.append(Flaw(event.mark, path, message))

    def _count(self, event: _Event, path: Path, size: int) -> None:
        self._values += size
        if self._values > MAX_VALUES:
            raise self._stop(event, path, f"more than {MAX_VALUES} values in one document; split it, or use fewer aliases")

    def _value(self, event: _Event, path: Path, depth: int) -> JsonValue:
        before = self._values
        self._count(event, path, 1)
        if depth > MAX_DEPTH:
            raise self._stop(event, path, f"nested deeper than {MAX_DEPTH} levels; flatten it")
        if event.kind is _Kind.ALIAS:
            known = self._anchors.get(event.anchor)
            if known is None:
                raise self._stop(event, path, f"alias *{event.anchor} has no anchor before it; write the value out")
            self._count(event, path, known.size)
            return known.value
        value: JsonValue
        if event.kind is _Kind.SCALAR:
            value = self._scalar(event, path)
        elif event.kind is _Kind.LIST:
            value = self._list(event, path, depth)
        elif event.kind is _Kind.MAP:
            value = self._map(event, path, depth)
        else:
            raise self._stop(event, path, "is not a value; correct the text")
        if event.anchor:
            self._anchors[event.anchor] = _Known(value, self._values - before)
        return value

    def _scalar(self, event: _Event, path: Path) -> JsonValue:
        tag, text = event.tag, event.value
        if tag in ("!", f"{_TAG}str"):
            return text
        if tag and tag not in (f"{_TAG}{name}" for name in ("int", "float", "bool", "null", "timestamp")):
            self._flaw(event, path, f"tag {tag} is unknown here; remove it")
            return text
        if not event.plain and not tag:
            return text
        try:
            value, trap = resolve(text)
        except ValueError:
            self._flaw(event, path, "is a number that JSON can't carry; quote it or write a finite one")
            return text
        if trap is not None:
            self._found.traps[path] = trap
        return value

    def _list(self, event: _Event, path: Path, depth: int) -> list[JsonValue]:
        self._only_known_tag(event, path, "seq")
        items: list[JsonValue] = []
        for inner in self._events:
            if inner.kind is _Kind.LIST_END:
                break
            at = (*path, len(items))
            self._found.marks[at] = inner.mark
            items.append(self._value(inner, at, depth + 1))
        return items

    def _map(self, event: _Event, path: Path, depth: int) -> Json:
        self._only_known_tag(event, path, "map")
        own: Json = {}
        merged: Json = {}
        for head in self._events:
            if head.kind is _Kind.MAP_END:
                break
            if head.kind is not _Kind.SCALAR:
                raise self._stop(head, path, "a key must be a string; write it out")
            if head.value == "<<" and head.plain:
                self._merge(head, path, depth, merged)
                continue
            key = head.value
            at = (*path, key)
            if head.plain and not head.tag and not _is_text(key):
                self._flaw(head, at, f"key {key!r} is not a string to kubectl; quote it")
            if key in own:
                self._flaw(head, at, "duplicate key, given further up in the same map already; keep one of the two")
                self._value(next(self._events), (*path, f"{key} (again)"), depth + 1)
                continue
            self._found.marks[at] = head.mark
            own[key] = self._value(next(self._events), at, depth + 1)
        return {**merged, **own}

    def _merge(self, head: _Event, path: Path, depth: int, merged: Json) -> None:
        inner = self._value(next(self._events), (*path, "<<"), depth + 1)
        for one in inner if isinstance(inner, list) else [inner]:
            if not isinstance(one, dict):
                raise self._stop(head, path, "`<<` takes a map or a list of maps; write the fields out")
            for key, value in one.items():
                merged.setdefault(key, value)

    def _only_known_tag(self, event: _Event, path: Path, name: str) -> None:
        if (tag := event.tag) not in ("", "!", f"{_TAG}{name}"):
            self._flaw(event, path, f"tag {tag} is unknown here; remove it")


def _is_text(key: str) -> bool:
    try:
        return isinstance(resolve(key)[0], str)
    except ValueError:
        return False


def _event(event: object, text: str) -> _Event | None:
    """An event of either parser; None for one that says nothing of a value. `text`: of the slow one, which says that a value with a tag and
    an anchor begins at the second of them."""
    kind = _KINDS.get(type(event).__name__)
    if kind is None:
        return None
    at = event.start_mark  # type: ignore[attr-defined]
    mark = Mark(at.line + 1, at.column + 1)
    tag, anchor = getattr(event, "tag", None), getattr(event, "anchor", None)
    if text and tag is not None and anchor is not None and (ahead := _TAG_AHEAD.search(text, 0, at.index)) is not None:
        *_, line = _BREAKS.split(text[: ahead.start()])
        mark = Mark(mark.line - len(_BREAKS.findall(ahead[0])), len(line) + 1)
    value, style = getattr(event, "value", ""), getattr(event, "style", None)
    return _Event(kind, str(value), not style, "" if tag is None else str(tag), "" if anchor is None else str(anchor), mark)


def _flaw(text: str, error: YAMLError | yaml.YAMLError) -> Flaw:
    """What either parser says of a text that it refuses."""
    if not isinstance(error, MarkedYAMLError | yaml.MarkedYAMLError):
        return Flaw(Mark(1, 1), (), f"is not YAML ({str(error).splitlines()[0]}); remove the character")
    at = error.problem_mark or error.context_mark
    line, column = (at.line, at.column) if at is not None else (0, 0)
    lines = text.split("\n")
    # The scanner may stop a line late; a tab in the indentation nearby is the likely cause.
    for number in range(min(line, len(lines) - 1), max(line - 2, -1), -1):
        indent = lines[number][: len(lines[number]) - len(lines[number].lstrip(" \t"))]
        if "\t" in indent:
            return Flaw(Mark(number + 1, indent.index("\t") + 1), (), "a tab in the indentation; YAML wants spaces")
    what = (error.problem or error.context or "can't be read").strip().rstrip(".")
    return Flaw(Mark(line + 1, column + 1), (), f"is not YAML: {what}; correct the text here or just above")
