"""What the loop would do from here on if everything it does succeeds: a kind's own plan, applied to its own snapshot, again and again.
Pure; `plan` prints it (G-41)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from reconciler.core.decisions import Refuse, Wait
from reconciler.core.keys import Key
from reconciler.core.plan import Plan, Step

S = TypeVar("S")

MOST_STEPS = 300


@dataclass(frozen=True, slots=True)
class Foreseen:
    """`steps`: every act to come, in order; `left`: objects that are not as declared even then, and why (G-49); `cut`: there are more
    steps than are looked at."""

    steps: tuple[Step, ...] = ()
    left: Mapping[Key, Wait | Refuse] = field(default_factory=dict)
    cut: bool = False


def forecast(snapshot: S, plan: Callable[[S], Plan], after: Callable[[S, Step], S | None]) -> Foreseen:
    """Every act from this snapshot to rest, without what changes no object (`Plan.first`), and what rests without being as declared.
    `after`: the snapshot once an act has succeeded, None where that is the end of what can be foreseen."""
    steps: list[Step] = []
    while True:
        planned = plan(snapshot)
        following = planned.next_steps()
        if not following or len(steps) >= MOST_STEPS:
            return Foreseen(tuple(steps), left_by(planned), bool(following))
        for step in following:
            if step is not planned.first:
                steps.append(step)
            then = after(snapshot, step)
            if then is None:
                return Foreseen(tuple(steps), left_by(planned))
            snapshot = then


def together(parts: Iterable[Foreseen]) -> Foreseen:
    """What is foreseen of several reconcile keys, as one."""
    every = list(parts)
    return Foreseen(
        tuple(step for part in every for step in part.steps),
        {key: rest for part in every for key, rest in part.left.items()},
        any(part.cut for part in every),
    )


def left_by(plan: Plan) -> dict[Key, Wait | Refuse]:
    """What is not as declared although nothing is to be done for it now."""
    return {key: decision for key, decision in plan.decisions.items() if isinstance(decision, Wait | Refuse)}
