"""What the status of a lieutenant says of the provider of its model, of its budgets and of its rests."""

from __future__ import annotations

from typing import Annotated

from reconciler.api.status.base import AtMost, Message, Section, Time, Word, section

MODEL = 1024
"""Characters of what pi calls its model."""


@section
class ProviderStatus(Section):
    """The provider of its model, while that refuses or takes no requests."""

    name: Annotated[str, AtMost(256)] = ""
    """As pi names it."""
    key: Message | None = None
    """Where its key is declared."""
    reason: Word = ""
    """`ModelRefused` or `ProviderLimited`."""
    message: Message = ""
    """The provider's own words."""
    since: Time | None = None
    """Since when; not said of a key that is empty."""
    next_try: Time | None = None
    """When the next prompt may go to it; at `ModelRefused` a change is tried at once, and an empty key is not tried before."""


@section
class FallbackStatus(Section):
    """Another model that answers instead of the declared one."""

    model: Annotated[str, AtMost(MODEL)] = ""
    """Which."""
    instead_of: Annotated[str, AtMost(MODEL)] = ""
    """The declared one."""
    since: Time | None = None
    """Since when the provider of the declared one says no."""
    message: Message = ""
    """What is wrong with it, and what to do."""


@section
class BudgetStatus(Section):
    """The budgets that it spends from."""

    state: Word = ""
    """`Within`, `Warned`, `CostUnknown` or `Exceeded`: of its own and the fleet's, the worst."""
    since: Time | None = None
    """Since when; left out where that never changed."""


@section
class RestStatus(Section):
    """A rest of its machine that is not declared by `mode`."""

    reason: Word | None = None
    """`Idle` or `Budget`; left out when it does not rest."""
    since: Time | None = None
    """Since when it rests."""
    woken_at: Time | None = None
    """When it was last wanted again."""
    wake_seconds: Word | None = None
    """How long it took from then until it could work; left out until it could."""
