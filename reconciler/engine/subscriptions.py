"""Lists of callbacks that can be left again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

L = TypeVar("L")

Unsubscribe = Callable[[], None]
"""Ends a subscription; a second call does nothing."""


def subscribed(listeners: list[L], listener: L) -> Unsubscribe:
    """Add the listener; what is returned takes it out again."""
    listeners.append(listener)
    active = True

    def end() -> None:
        nonlocal active
        if active:
            active = False
            listeners.remove(listener)

    return end
