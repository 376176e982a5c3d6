"""Names of declared objects."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.api.jsontype import Json as Json
from reconciler.api.jsontype import JsonValue as JsonValue


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Names one declared object; prints as `Kind/namespace/name`."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"
