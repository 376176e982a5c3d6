"""What the table of objects has to know of their kinds."""

from __future__ import annotations

from typing import Protocol

from reconciler.core.keys import Json, Key
from reconciler.core.records import Record


class KindIndex(Protocol):
    """What has to be known of a kind to keep its objects."""

    def record_of(self, kind: str) -> type[Record]:
        """What is remembered of its objects."""
        ...

    def reconcile_key(self, key: Key, spec: Json) -> Key:
        """Where an object is reconciled: its own key, or that of the object to whose work set it belongs."""
        ...
