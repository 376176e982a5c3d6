"""What the loop would do from here on if everything it does succeeds: a kind's own plan, applied to its own snapshot, again and again.
Pure; `plan` prints it (G-41)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from reconciler.core.plan import Plan, Step

S = TypeVar("S")

MOST_STEPS = 300


def forecast(snapshot: S, plan: Callable[[S], Plan], after: Callable[[S, Step], S | None]) -> list[Step]:
    """Every act from this snapshot to rest, in order, without what changes no object (`Plan.first`). `after`: the snapshot once an act
    has succeeded, None where that is the end of what can be foreseen."""
    steps: list[Step] = []
    while len(steps) < MOST_STEPS:
        planned = plan(snapshot)
        following = planned.next_steps()
        if not following:
            break
        for step in following:
            if step is not planned.first:
                steps.append(step)
            then = after(snapshot, step)
            if then is None:
                return steps
            snapshot = then
    return steps
