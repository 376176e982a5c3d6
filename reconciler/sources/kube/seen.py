"""What the cluster shows of each object."""

from __future__ import annotations

from reconciler.core.keys import Json, Key


class Seen(dict[Key, Json]):
    """Every object as the cluster last told of it, by the watch, a list or an answer."""

    def answered(self, key: Key, before: Json | None, told: Json | None) -> None:
        """A call that began when `before` was known came to `told` (None: there is no such object), unless something newer was heard of
        meanwhile: that it is being deleted, say, or that there is another one under its name."""
        if self.get(key) is not before:
            return
        if told is None:
            self.pop(key, None)
        else:
            self[key] = told
