"""What was decided for every object of one reconcile key, and what follows from it: which acts come now, whether it is steady, when
to look again. The same for every kind; everything is read from the decisions themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeGuard

from reconciler.core.decisions import Act, Decision, Refuse, Rest, Steady, Urgency, Wait
from reconciler.core.keys import Key

SOONEST = 0.05
"""Seconds; nothing is looked at again sooner than this."""


def is_action(decision: Decision | None) -> TypeGuard[Act]:
    return isinstance(decision, Act)


def is_rest(decision: Decision | None) -> TypeGuard[Rest]:
    return isinstance(decision, Wait | Refuse | Steady)


class Step(NamedTuple):
    """One act on one object."""

    key: Key
    action: Act


class Plan(NamedTuple):
    """`key`: what was reconciled; `decisions`: one for each object that belongs to it, in the order of the objects. `first`: what must be
    durable before any of them is carried out or reported. It only writes into our own books, and no object changes by it. `beside`: about
    the object of the key too; it waits while something is done to that, and nothing waits for it."""

    key: Key
    decisions: Mapping[Key, Decision] = MappingProxyType({})
    first: Step | None = None
    beside: Decision | None = None

    @property
    def own(self) -> Decision | None:
        """The decision about the object that the key names; None when it does not exist."""
        return self.decisions.get(self.key)

    def next_steps(self) -> Sequence[Step]:
        """What to do now, in order: what must be durable first; else every act that only writes down what was observed of tasks; else the
        most urgent one."""
        if self.first is not None:
            return [self.first]
        if len(self.decisions) == 1 and self.beside is None and (own := self.own) is not None:
            return [Step(self.key, own)] if is_action(own) else []
        steps = [Step(key, decision) for key, decision in self.decisions.items() if is_action(decision)]
        if is_action(self.beside) and not (steps and is_action(self.own)):
            steps.append(Step(self.key, self.beside))
        if len(steps) < 2:
            return steps
        first = min(step.action.urgency for step in steps)
        if first is Urgency.RECORD:
            return [step for step in steps if step.action.urgency is first]
        if first is Urgency.CHECK:
            return [next(step for step in steps if step.action.urgency is first)]
        return [min((step for step in steps if step.action.urgency is first), key=lambda step: step.key)]

    def waits(self) -> Iterator[Wait]:
        return (decision for decision in (*self.decisions.values(), self.beside) if isinstance(decision, Wait))

    def steady(self) -> bool:
        """Nothing is on its way: every decision is steady, refused, or waits for a person or for another object."""
        return all(wait.reason.waiting.rests for wait in self.waits())

    def next_look(self, now: float, fallback: float, probing: bool) -> float | None:
        """Seconds until it is looked at again by itself, None: when something changes. `fallback`: for waits whose reason has no
        interval of its own, what is refused by what was read at that of its reason; `probing`: what rests is looked at again too."""
        times = [wait.reason.waiting.poll or fallback for wait in self.waits() if wait.reason.waiting.poll or not wait.reason.waiting.rests]
        refused = (rest.reason.waiting.again for rest in self.decisions.values() if isinstance(rest, Refuse))
        times += [again for again in refused if again is not None]
        until = self.wake_at(probing or any(self.waits()))
        if until is not None:
            # A time that has come and changed nothing (no sign of progress, say, in an outage) is looked at again more and more seldom.
            left = until - now
            times.append(max(SOONEST, left if left > 0 else min(-left, fallback)))
        return min(times, default=None)

    def wake_at(self, probing: bool = True) -> float | None:
        """The earliest time at which a decision could change by itself. Not `probing`: the object of the key itself is left alone."""
        decisions = (decision for key, decision in self.decisions.items() if probing or key != self.key)
        times = [d.until for d in (*decisions, self.beside) if isinstance(d, Wait | Steady) and d.until is not None]
        return min(times, default=None)
