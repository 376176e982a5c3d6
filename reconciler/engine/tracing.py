"""Who wants to see what takes how long, and what belongs together: a port, None where nobody does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from reconciler.core.keys import Key


class Tracing(Protocol):
    """Neither method does I/O or raises."""

    def effect(self, name: str) -> AbstractContextManager[None]:
        """Around one external effect; an exception that comes through is its outcome."""
        ...

    def look(self, key: Key) -> AbstractContextManager[Callable[[str], None]]:
        """Around one reconciliation. Gives what is to be called with its outcome, `ok` or an error's class."""
        ...
