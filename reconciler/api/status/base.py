"""What every status has in common: how it is made, read and written, its bounds, and its conditions.

A status is made by the core, written as JSON (`dump`) to the store or a cluster, and read again (`load`) by whoever shows it or
goes on from it. Its models are the only source of the status schema of the CustomResourceDefinitions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, dataclass_transform

from pydantic import ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from reconciler.api.docstrings import descriptions
from reconciler.api.jsontype import Json, JsonValue
from reconciler.api.markers import ListAtomic, ListMap

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def section(cls: type[T]) -> type[T]:
    """A part of a status: camelCase in JSON, snake_case in Python, what is None left out of the JSON.

    Immutable for the type checker. At run time it is a plain class with slots, which is made five times faster than a frozen one:
    a status is made whenever an object is looked at."""
    made = dataclass(slots=True)(cls)
    made.__pydantic_config__ = ConfigDict(alias_generator=to_camel, defer_build=True)  # type: ignore[attr-defined]
    made.adapter = TypeAdapter(made)  # type: ignore[attr-defined]
    return made


class Section:
    """What all parts of a status can do."""

    __slots__ = ()
    adapter: ClassVar[TypeAdapter[Any]]

    @classmethod
    def build(cls) -> None:
        """Make what reads and writes it now, and not when it is first read or written: that takes up to 25 ms."""
        cls.adapter.rebuild()

    @classmethod
    def load(cls, data: JsonValue) -> Self:
        """Read it with care: unknown fields are left out, and so is what can't be read (of another release, or edited by
        somebody). It counts as never written."""
        while isinstance(data, dict):
            try:
                read: Self = cls.adapter.validate_python(data)
                return read
            except ValidationError as error:
                found = error.errors(include_url=False, include_context=False, include_input=False)
                data = _without(data, [one["loc"] for one in found])
        nothing: Self = cls.adapter.validate_python({})
        return nothing

    def dump(self) -> Json:
        """As it is written."""
        dumped: Json = self.adapter.dump_python(self, mode="json", by_alias=True, exclude_none=True)
        return dumped

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler.resolve_ref_schema(handler(schema))
        below = {to_camel(name): text for name, text in descriptions(cls).items()}
        for name, inner in found["properties"].items():
            inner["description"] = below[name]
            if inner.get("default") is not None:
                del inner["default"]  # what is not there was not observed
        return found


_GONE = object()


def _without(node: JsonValue, paths: Iterable[tuple[int | str, ...]]) -> JsonValue:
    """`node` without what stands at these paths; a map that lacks what it must have goes as a whole, then as None."""
    left = _cut(node, list(paths))
    return None if left is _GONE else left  # type: ignore[return-value]


def _cut(node: JsonValue, paths: list[tuple[int | str, ...]]) -> object:
    below: dict[int | str, list[tuple[int | str, ...]]] = {}
    for path in paths:
        if not path:
            return _GONE
        below.setdefault(path[0], []).append(path[1:])
    if isinstance(node, dict):
        if any(step not in node for step in below):
            return _GONE
        pairs = ((name, _cut(value, below[name]) if name in below else value) for name, value in node.items())
        return {name: value for name, value in pairs if value is not _GONE}
    if isinstance(node, list):
        items = (_cut(value, below[index]) if index in below else value for index, value in enumerate(node))
        return [value for value in items if value is not _GONE]
    return _GONE


# --- bounds ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AtMost:
    """The most characters, items or entries that stand there. The cluster enforces it, and who makes the status keeps to it; reading
    does not, so that what is there is not lost."""

    size: int

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler(source)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(schema)
        keyword = {"string": "maxLength", "array": "maxItems", "object": "maxProperties"}[found["type"]]
        return {**found, keyword: self.size}


@dataclass(frozen=True, slots=True)
class Keywords:
    """More keywords of the schema, for the cluster alone."""

    pairs: tuple[tuple[str, JsonValue], ...]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler(source)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), **dict(self.pairs)}


def between(least: int, most: int) -> Keywords:
    """The range of a number."""
    return Keywords((("minimum", least), ("maximum", most)))


Count = Annotated[int, between(0, 2**53 - 1)]
"""A number that is not negative and that every reader of JSON keeps exactly."""
ExitCode = Annotated[int, between(-(2**31), 2**31 - 1)]
Generation = Annotated[int, Keywords((("format", "int64"), ("minimum", 0)))]
WORD, ID, DIGEST, MESSAGE = 64, 128, 128, 1024
"""The most characters of such texts."""
Word = Annotated[str, AtMost(WORD)]
Time = Annotated[str, AtMost(64)]
"""RFC 3339."""
Id = Annotated[str, AtMost(ID)]
Message = Annotated[str, AtMost(MESSAGE)]
Digest = Annotated[str, AtMost(DIGEST)]
List = Annotated[tuple[T, ...], ListAtomic()]


def clipped(text: str, limit: int = MESSAGE) -> str:
    """The beginning of a text, as long as it may be."""
    return text[:limit]


# --- conditions --------------------------------------------------------------------------------------------------------------

Truth = Literal["True", "False", "Unknown"]

_STAMP = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
_REQUIRED: JsonValue = ["type", "status", "reason", "message", "lastTransitionTime"]


@section
class Condition(Section):
    """One aspect of an object's state (kstatus-shaped)."""

    # The core makes it of the first four; the others are filled in when it is merged with what was known (`core.conditions`).
    type: Annotated[str, AtMost(316), Keywords((("minLength", 1),))]
    """Which aspect; see the catalogue of condition types."""
    status: Truth
    """Whether it holds."""
    reason: Annotated[str, AtMost(1024)]
    """Why, as one CamelCase word of the catalogue."""
    message: Annotated[str, AtMost(32768)] = ""
    """Why, for people; full ids, no counters, no times."""
    observed_generation: Annotated[int, Keywords((("minimum", 0),))] = 0
    """The generation that this was judged for."""
    last_transition_time: Annotated[str, AtMost(64), Keywords((("pattern", _STAMP),))] = ""
    """When `status` last changed."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**Section.__get_pydantic_json_schema__.__func__(cls, schema, handler), "required": _REQUIRED}  # type: ignore[attr-defined]


@section
class Status(Section):
    """What was observed; written by the controller."""

    planned: ClassVar[frozenset[str]] = frozenset()
    """Fields that no part of this release writes, by their names in JSON; what is below them is not written either."""

    observed_generation: Generation = 0
    """The generation that this status was made for."""
    phase: Word = ""
    """One derived word for people; may gain values."""
    conditions: Annotated[tuple[Condition, ...], AtMost(32), ListMap("type")] = ()
    """Aspects of the state (kstatus)."""

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type; None when there is none."""
        return next((one for one in self.conditions if one.type == kind), None)
