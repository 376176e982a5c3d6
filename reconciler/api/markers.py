"""Markers: one declaration gives the Python check (file mode), the CEL rule (cluster) and the schema keyword (editors).

A marker on a field is `Annotated[..., Marker(...)]`; a rule across fields stands in the `rules` of its model. A rule that CEL
can't say cheaply has `cel=""`: the cluster accepts it and the controller reports it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

Step = str | int
"""One step of a path: a field name as written in documents, or an index."""

Told = tuple[tuple[Step, ...], str]
"""What a check tells: the path from where it stands, and the message."""

BROKEN = "broken_rule"
"""Type of the pydantic error that carries `Told`s in its context under `told`."""


class Judged(Protocol):
    """What a rule judges: a `Model`, which knows its fields by the names that documents give them."""

    @classmethod
    def attribute(cls, alias: str) -> str: ...


def broken(told: Sequence[Told]) -> PydanticCustomError:
    """The pydantic error for broken rules; `reconciler.api.parsing` turns it back into located problems."""
    return PydanticCustomError(BROKEN, "{text}", {"text": "; ".join(text for _, text in told), "told": list(told)})


def _with_remedy(text: str) -> str:
    return text if ";" in text else f"{text}; correct it"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression that Python, RE2 and ECMAScript read alike (no look-around), anchored by the writer.
    `says`: what a value must be, for people. `never`: the likely mistake in CEL and what is to be done about it; an
    API server that refuses a value would say the regex alone. It must not be true where `regex` finds."""

    regex: str
    says: str
    never: tuple[str, str] = ("", "")

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        # As RE2 reads it: `$` is the very end, classes such as \s are ASCII.
        seen = re.compile(rf"{self.regex[:-1]}\Z" if self.regex.endswith("$") else self.regex, re.ASCII)

        def check(value: str) -> str:
            if seen.search(value) is None:
                raise broken([((), _with_remedy(self.says))])
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = {**handler(schema), "pattern": self.regex}
        mistake, remedy = self.never
        return {**found, "x-kubernetes-validations": [{"rule": f"!{mistake}", "message": remedy}]} if mistake else found


@dataclass(frozen=True, slots=True)
class Checked:
    """A check that only the controller makes. `check` returns '' or what is wrong; `format` is told to editors, if given."""

    check: Callable[[str], str]
    format: str = ""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def judge(value: str) -> str:
            if wrong := self.check(value):
                raise broken([((), _with_remedy(wrong))])
            return value

        return core_schema.no_info_after_validator_function(judge, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(schema)
        return {**found, "format": self.format} if self.format else found


@dataclass(frozen=True, slots=True)
class ListMap:
    """A list of maps told apart by one field (`x-kubernetes-list-type: map`), so that server-side apply merges per item."""

    key: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(items: tuple[object, ...]) -> tuple[object, ...]:
            names = [str(getattr(item, self.key)) for item in items]
            again = [(index, name) for index, name in enumerate(names) if name in names[:index]] if len(set(names)) < len(names) else []
            if again:
                raise broken(
                    [((index, self.key), f"duplicate {self.key} {name!r} in this list; give each item its own") for index, name in again]
                )
            return items

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}


@dataclass(frozen=True, slots=True)
class ListSet:
    """A list of scalars in which each occurs once (`x-kubernetes-list-type: set`)."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(items: tuple[str, ...]) -> tuple[str, ...]:
            if len(set(items)) < len(items):
                again = [index for index, item in enumerate(items) if item in items[:index]]
                raise broken([((index,), f"duplicate item {str(items[index])!r}; name it once") for index in again])
            return items

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "x-kubernetes-list-type": "set"}


@dataclass(frozen=True, slots=True)
class ListAtomic:
    """A list whose order matters, replaced as a whole (`x-kubernetes-list-type: atomic`)."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "x-kubernetes-list-type": "atomic"}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule across the fields of one model. `cel`: over `self`, '' when only the controller judges it. `message`: for the
    cluster, and for files when `check` gives none. `check(model)` yields what is broken. `at`: the field that the cluster points
    at, as `.adopt`; '' for the model itself."""

    message: str
    cel: str
    check: Callable[[Judged], Iterable[Told]] = field(repr=False)
    at: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """A rule across two versions of one model. `check(old, new)` yields what is broken. `at`: as in `Rule`."""

    message: str
    cel: str
    check: Callable[[Judged, Judged], Iterable[Told]] = field(repr=False)
    at: str = ""


def _value(model: Judged, alias: str) -> object:
    return getattr(model, type(model).attribute(alias))


def one_of(*aliases: str, required: bool = True) -> Rule:
    """Exactly one (or, not `required`, at most one) of these optional fields is set. Broken rules stand at the model."""
    names = ", ".join(f"`{alias}`" for alias in aliases)
    count = "one" if required else "at most one"
    message = f"must have exactly one of {names}" if required else f"must have at most one of {names}"
    if len(aliases) == 2:
        left, right = (f"has(self.{alias})" for alias in aliases)
        cel = f"{left} != {right}" if required else f"!({left} && {right})"
    else:
        cel = " + ".join(f"(has(self.{alias}) ? 1 : 0)" for alias in aliases) + (" == 1" if required else " <= 1")

    def check(model: Judged) -> Iterator[Told]:
        given = [alias for alias in aliases if _value(model, alias) is not None]
        if len(given) > 1:
            yield (), f"{message}, not {' and '.join(given)}; keep {count}"
        elif required and not given:
            yield (), f"{message}; add one"

    return Rule(message, cel, check)


_ANEW = "delete the object and create it anew, or put the old value back"


def immutable(*aliases: str) -> tuple[Transition, ...]:
    """These fields never change after creation, nor do they come or go."""
    return tuple(_immutable(alias) for alias in aliases)


def _immutable(alias: str) -> Transition:
    message = f"`{alias}` is immutable"

    def check(old: Judged, new: Judged) -> Iterator[Told]:
        if _value(old, alias) != _value(new, alias):
            yield (alias,), f"{message}; {_ANEW}"

    here, there = f"has(self.{alias})", f"has(oldSelf.{alias})"
    return Transition(f"{message}; {_ANEW}", f"{here} == {there} && (!{here} || self.{alias} == oldSelf.{alias})", check, f".{alias}")


def immutable_inside(group: str, alias: str, default: str) -> Transition:
    """`group.alias` never changes; unset counts as its `default`, so writing the default down is no change."""
    message = f"`{group}.{alias}` is immutable"

    def read(model: Judged) -> object:
        inner = getattr(model, type(model).attribute(group))
        return getattr(inner, type(inner).attribute(alias))

    def check(old: Judged, new: Judged) -> Iterator[Told]:
        if read(old) != read(new):
            yield (group, alias), f"{message} (it was {read(old)}); {_ANEW}"

    def cel(name: str) -> str:
        return f"(has({name}.{group}) && has({name}.{group}.{alias}) ? {name}.{group}.{alias} : '{default}')"

    return Transition(f"{message}; {_ANEW}", f"{cel('self')} == {cel('oldSelf')}", check, f".{group}.{alias}")


def presence_immutable(alias: str) -> Transition:
    """Whether the optional field is set never changes; its value may."""
    message = f"whether `{alias}` is set is immutable; use a new name, or put it back as it was"

    def check(old: Judged, new: Judged) -> Iterator[Told]:
        if (_value(old, alias) is None) != (_value(new, alias) is None):
            yield (alias,), message

    return Transition(message, f"has(self.{alias}) == has(oldSelf.{alias})", check, f".{alias}")
