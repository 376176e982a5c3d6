"""Changing frozen values cheaply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

V = TypeVar("V")

__all__ = ["replaced", "with_known"]

if TYPE_CHECKING:
    from dataclasses import replace as replaced
else:

    def replaced(value, /, **changes):
        """What `dataclasses.replace` returns, for a frozen dataclass of two fields or more, at a quarter of its cost: it reads all fields
        in one call and looks at none. Raises `TypeError` for a field that the class does not have."""
        names, read = _shape(value.__class__)
        values = dict(zip(names, read(value), strict=True))
        values.update(changes)
        return value.__class__(**values)


def with_known(value: V, changes: Mapping[str, Any]) -> V:
    """The same with those of the changes that its class has a field for; for a frozen dataclass of two fields or more."""
    cls: Any = value.__class__  # a class is hashable; its type does not say so
    names, read = _shape(cls)
    made: V = cls(*[changes.get(name, known) for name, known in zip(names, read(value), strict=True)])
    return made


@cache
def _shape(cls: type[Any]) -> tuple[tuple[str, ...], Callable[[object], tuple[object, ...]]]:
    names = tuple(field.name for field in fields(cls) if field.init)
    return names, attrgetter(*names)
