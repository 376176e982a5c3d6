"""YAML as nearly all of it is, without the places of what stands in it: maps, lists and scalars that mean one thing to everybody.

Whatever else a text has (anchors, tags, merged maps, an ambiguous scalar, a key given twice, an error) is left to `yamltext`, which knows
where everything stands. That makes a folder of good documents half as expensive to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import yaml
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from reconciler.core.keys import Json, JsonValue
from reconciler.sources.documents.located import MAX_DEPTH, MAX_VALUES, Mark
from reconciler.sources.documents.yamltext import NUMBERS_BEGIN, WORDS, resolve

_PARSER = getattr(yaml, "CLoader", None)


class _Event(Protocol):
    """What events of values have. `style`: '' of a scalar that is neither quoted nor a block."""

    value: str
    style: str
    tag: str | None
    anchor: str | None


class _Parser(Protocol):
    def get_event(self) -> _Event: ...


@dataclass(frozen=True, slots=True)
class Plain:
    """The one value of a text, and where it begins. `nulls`: some of its maps have entries that are null."""

    value: JsonValue
    start: Mark
    nulls: bool


class _Unusual(Exception):
    """This text is not for us."""


def load(text: str) -> Plain | None:
    """What a text says, as `yamltext.load` reads it, where there is nothing to say about it; None where that has to be asked."""
    if _PARSER is None:
        return None
    try:
        return _Reader(_PARSER(text)).run()
    except (_Unusual, yaml.YAMLError, UnicodeEncodeError):
        return None


class _Reader:
    def __init__(self, parser: _Parser) -> None:
        self._next = parser.get_event
        self._values = 0
        self._nulls = False

    def run(self) -> Plain:
        self._expect(StreamStartEvent)
        self._expect(DocumentStartEvent)
        first = self._next()
        at = first.start_mark  # type: ignore[attr-defined]
        value = self._value(first, 0)
        if isinstance(value, str):
            raise _Unusual  # no document is one text, which is read in one more way
        self._expect(DocumentEndEvent)
        self._expect(StreamEndEvent)
        return Plain(value, Mark(at.line + 1, at.column + 1), self._nulls)

    def _expect(self, kind: type[object]) -> None:
        if type(self._next()) is not kind:
            raise _Unusual

    def _value(self, event: _Event, depth: int) -> JsonValue:
        kind = type(event)
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            raise _Unusual
        if kind is ScalarEvent:
            return self._scalar(event)
        if event.anchor or event.tag or kind not in (MappingStartEvent, SequenceStartEvent):
            raise _Unusual
        return self._map(depth + 1) if kind is MappingStartEvent else self._list(depth + 1)

    def _scalar(self, event: _Event) -> JsonValue:
        if event.anchor or event.tag:
            raise _Unusual
        return event.value if event.style else meaning(event.value)

    def _list(self, depth: int) -> list[JsonValue]:
        items: list[JsonValue] = []
        while type(event := self._next()) is not SequenceEndEvent:
            items.append(self._value(event, depth))
        return items

    def _map(self, depth: int) -> Json:
        found: Json = {}
        while type(head := self._next()) is not MappingEndEvent:
            if type(head) is not ScalarEvent or head.anchor or head.tag:
                raise _Unusual
            key = head.value
            if key in found or (not head.style and (key == "<<" or type(meaning(key)) is not str)):
                raise _Unusual
            value = found[key] = self._value(self._next(), depth)
            if value is None:
                self._nulls = True
        return found


def meaning(text: str) -> JsonValue:
    """A plain scalar that means the same to everybody."""
    if text not in WORDS and text[0] not in NUMBERS_BEGIN:
        return text
    try:
        value, trap = resolve(text)
    except ValueError as error:
        raise _Unusual from error
    if trap is not None:
        raise _Unusual
    return value
