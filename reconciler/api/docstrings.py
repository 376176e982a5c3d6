"""The docstring below a field is its description. They are read when a schema or a message needs one: parsing the source of every
model when it is imported, or when the first status is written, would cost every command."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from pydantic import BaseModel


def descriptions(model: type) -> Mapping[str, str]:
    """Python name of a field → the docstring below it, also of inherited fields; a field without one is left out."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base is not BaseModel and inspect.get_annotations(base):
            found.update(_below_fields(base))
    return MappingProxyType(found)


@cache
def _below_fields(model: type) -> Mapping[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            found[field.target.id] = inspect.cleandoc(below.value.value)
    return found
