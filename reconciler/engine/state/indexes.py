"""By what else than its own key an object is found: who refers to it."""

from __future__ import annotations

from typing import TypeVar

from reconciler.core.keys import Key

N = TypeVar("N")


def noted_by(index: dict[N, dict[Key, None]], of: N, key: Key, add: bool) -> None:
    """Ordered, so that a run can be repeated; nothing is kept about what nobody refers to."""
    if add:
        index.setdefault(of, {})[key] = None
        return
    known = index.get(of, {})
    known.pop(key, None)
    if not known:
        index.pop(of, None)
