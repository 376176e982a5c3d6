"""What never leaves over HTTP: values of secrets, and their stand-ins in mirrors of conversations (G-60)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import orjson

from reconciler.core.keys import Json, JsonValue
from reconciler.engine.redaction import SHORTEST, stand_ins
from reconciler.visible import in_json

REDACTED = "[redacted]"


class Hiding:
    """Takes secrets out of texts and documents. `known`: the values that there are, asked each time; `more`: others that never change."""

    def __init__(self, known: Callable[[], Iterable[str]], more: Iterable[str] = ()) -> None:
        self._known, self._more = known, frozenset(more)
        self._values: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self._escaped: re.Pattern[str] | None = None

    def _now(self) -> None:
        values = frozenset(value for value in {*self._known(), *self._more} if len(value) >= SHORTEST)
        if values == self._values:
            return
        hidden = sorted({*values, *(stand_in.decode("ascii") for _, stand_in in stand_ins(values))}, key=len, reverse=True)
        escaped = {orjson.dumps(one).decode()[1:-1] for one in hidden}
        self._values = values
        self._pattern = re.compile("|".join(map(re.escape, hidden))) if hidden else None
        self._escaped = re.compile("|".join(map(re.escape, escaped))) if hidden else None

    def text(self, text: str) -> str:
        """A text without them."""
        self._now()
        return self._pattern.sub(REDACTED, text) if self._pattern is not None else text

    def json(self, document: JsonValue) -> str:
        """A document without them, as JSON that no terminal obeys."""
        self._now()
        told = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS).decode()
        if self._escaped is not None and self._escaped.search(told):
            told = orjson.dumps(self.document(document), option=orjson.OPT_NON_STR_KEYS).decode()
        return in_json(told)

    def document(self, value: JsonValue) -> JsonValue:
        """The same with every text in it cleaned, names too."""
        match value:
            case str():
                return self.text(value)
            case dict():
                cleaned: Json = {self.text(name): self.document(inner) for name, inner in value.items()}
                return cleaned
            case list():
                return [self.document(inner) for inner in value]
            case _:
                return value
