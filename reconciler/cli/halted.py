"""That the fleet is halted, told by the commands that show it."""

from __future__ import annotations

from reconciler.cli.output import say
from reconciler.engine.ports import Store

REMEDY = "`reconciler resume --halted` lets it go on"


async def since(store: Store) -> str:
    """Since when (RFC 3339) nothing is created or delivered, '' when the fleet is not halted."""
    from reconciler.engine.state.objects import HALTED

    return await store.meta(HALTED) or ""


async def say_when_halted(store: Store) -> None:
    """One line beside a table."""
    if at := await since(store):
        say(f"note: the fleet is halted since {at}: nothing is created and nothing is delivered; {REMEDY}")
