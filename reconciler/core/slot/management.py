"""managementPolicy ObserveOnly: everything is observed and reported, nothing outside is changed. Pure."""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Act, Decision, Wait


def only_observe(decision: Decision) -> Decision:
    """What is left of a decision when nothing outside may be changed. (A `Detach` under ObserveOnly is always `Leave`.)"""
    if not isinstance(decision, Act) or decision.books_only:
        return decision
    return Wait(Reason.OBSERVE_ONLY, f"managementPolicy ObserveOnly: {decision.doing} is left out")
