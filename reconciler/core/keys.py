"""Names of declared objects, and JSON as a type."""

from __future__ import annotations

from dataclasses import dataclass

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
Json = dict[str, JsonValue]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Names one declared object; prints as `Kind/namespace/name`."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


def lieutenant(namespace: str, name: str) -> Key:
    """The key of a Lieutenant."""
    return Key("Lieutenant", namespace, name)


def task(namespace: str, name: str) -> Key:
    """The key of a Task."""
    return Key("Task", namespace, name)


def boot_profile(namespace: str, name: str) -> Key:
    """The key of a BootProfile."""
    return Key("BootProfile", namespace, name)
