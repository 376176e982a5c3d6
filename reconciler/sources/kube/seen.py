"""What the cluster shows of each object."""

from __future__ import annotations

from reconciler.core.keys import Json, Key


class Seen(dict[Key, Json]):
    """Every object as the cluster last told of it, by the watch, a list or an answer."""

    def answered(self, key: Key, before: Json | None, told: Json) -> None:
        """A write on top of `before` came to `told`, unless something newer was heard of meanwhile (that it is being deleted, say)."""
        if self.get(key) is before:
            self[key] = told

    def gone(self, key: Key, before: Json | None) -> None:
        """What was seen before a call is not there any more, unless something newer was heard of meanwhile (the next one of its name)."""
        if before is not None and self.get(key) is before:
            del self[key]
