"""An ordered chain of small policies over a snapshot: the first that has an opinion decides, so the order is the specification."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from reconciler.core.decisions import Decision

V = TypeVar("V", contravariant=True)

Policy: TypeAlias = Callable[[V], Decision | None]
"""Looks at a snapshot and decides, or leaves it to those that follow (None)."""


@dataclass(frozen=True, slots=True)
class Chain(Generic[V]):
    """`title` and `about` head its section in docs/states.md. A chain is itself a policy, so that chains can be put in a row; one over
    a part of a snapshot is one over the whole, which is of that type too."""

    title: str
    about: str
    policies: tuple[Policy[V] | Chain[V], ...]
    _flat: tuple[Policy[V], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_flat", tuple(self._asked()))

    def __call__(self, view: V) -> Decision | None:
        return self.evaluate(view)

    def evaluate(self, view: V) -> Decision | None:
        """The first opinion in the order of the chain; None when no policy has one."""
        for policy in self._flat:
            decision = policy(view)
            if decision is not None:
                return decision
        return None

    def _asked(self) -> Iterator[Policy[V]]:
        for policy in self.policies:
            if isinstance(policy, Chain):
                yield from policy._asked()
            else:
                yield policy

    def leaves(self) -> tuple[Policy[V], ...]:
        """Every policy in the order in which it is asked."""
        return self._flat

    def __iter__(self) -> Iterator[Policy[V] | Chain[V]]:
        return iter(self.policies)
