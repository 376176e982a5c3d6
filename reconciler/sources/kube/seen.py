"""What the cluster shows of each object."""

from __future__ import annotations

from reconciler.core.keys import Json, Key


class Seen(dict[Key, Json]):
    """Every object as the cluster last told of it, by the watch, a list or an answer."""

    def answered(self, key: Key, before: Json | None, told: Json) -> None:
        """A write on top of `before` came to `told`, unless something newer was heard of meanwhile (that it is being deleted, say)."""
        if self.get(key) is before:
            self[key] = told
