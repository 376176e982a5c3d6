"""JSON as a type."""

from __future__ import annotations

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
"""What a document may hold. (Inside models it is pydantic's type of the same name.)"""
Json = dict[str, JsonValue]
